"""Alembic versions."""

from __future__ import annotations
