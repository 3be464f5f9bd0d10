"""Where the files are that run inside a container.

In a checkout they are the room `notebook/`; in an installed package they are beside this file,
because a top-level package of that name would overwrite Jupyter's own `notebook`.
"""

from __future__ import annotations

from pathlib import Path

PACKAGED = Path(__file__).resolve().parent / "notebook"
ROOM = Path(__file__).resolve().parents[2] / "notebook"


def folder() -> Path:
    """The directory that notebooks see at /greenroom."""
    return PACKAGED if PACKAGED.is_dir() else ROOM
