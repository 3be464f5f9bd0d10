"""A fake."""

from __future__ import annotations
