"""A fake library that ends its process."""

from __future__ import annotations

raise SystemExit(9)
