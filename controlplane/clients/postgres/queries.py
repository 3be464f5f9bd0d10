"""Named queries from `clients/sql/queries/*.sql`: `-- name: words` begins each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def query(name: str) -> str:
    """The text of the query with this name; `KeyError` when no file has it."""
    return _all()[name]


@cache
def _all() -> dict[str, str]:
    folder = files("controlplane.clients.sql").joinpath("queries")
    texts = [file.read_text() for file in folder.iterdir() if file.name.endswith(".sql")]
    named = [part for text in texts for part in text.split("-- name: ")[1:]]
    return {name.strip(): body.strip() for name, _, body in (n.partition("\n") for n in named)}
