"""A fake that does the one thing which matters: it reads an identity when it is imported."""

from __future__ import annotations

import os

TOKEN = os.environ.get("JUPYTERHUB_API_TOKEN", "nobody")
with open(os.environ["FAKE_MARKS"], "a", encoding="utf-8") as _marks:
    _marks.write(f"auth imported for {TOKEN}\n")
