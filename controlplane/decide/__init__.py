"""Snapshot in, plan out. Pure: no driver, no clock, no chance; `now` is an argument."""

from __future__ import annotations
