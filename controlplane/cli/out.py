"""How answers look: tables for people, JSON for programs, on stdout; talk on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# A table that goes into a file or a pipe is not cut to some terminal's width.
WIDE = 500


class Shape(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


def say(text: str) -> None:
    """Talk, on stderr."""
    sys.stderr.write(f"{text}\n")


def show_json(value: Any) -> None:
    """Any value that JSON knows; times become RFC 3339."""
    sys.stdout.write(json.dumps(value, indent=2, default=_text) + "\n")


def show(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], shape: Shape, *, empty: str
) -> None:
    """These columns of the rows as a table, or all of every row as a JSON list.

    `empty` is said on stderr when a table would have no rows.
    """
    if shape is Shape.JSON:
        return show_json(list(rows))
    if not rows:
        return say(empty)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = all(isinstance(row.get(column), int | float) for row in rows)
        # Only the last column is prose, which may take more lines.
        table.add_column(
            column.replace("_", " "),
            justify="right" if right else "left",
            no_wrap=column != columns[-1],
            overflow="fold",
        )
    for row in rows:
        # Text, not markup: names may hold brackets and control characters.
        table.add_row(*(Text(_clean(row.get(column))) for column in columns))
    console().print(table)


def console() -> Console:
    """Where tables go; plain text when nobody looks."""
    width = None if sys.stdout.isatty() else WIDE
    return Console(file=sys.stdout, width=width, highlight=False)


def _clean(value: Any) -> str:
    text = "-" if value is None or value == "" else _text(value)
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split("\n")))


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return str(value)
