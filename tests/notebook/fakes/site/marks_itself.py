"""A fake library that shows that it was imported."""

from __future__ import annotations

import os

with open(os.environ["FAKE_MARKS"], "a", encoding="utf-8") as _marks:
    _marks.write("marks_itself imported\n")
