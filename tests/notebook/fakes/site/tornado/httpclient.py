"""A fake: what the guess without a record imports."""

from __future__ import annotations

import tornado.tcpserver  # noqa: F401
