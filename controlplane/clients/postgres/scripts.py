"""Plain SQL files for migrations, statement by statement."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from alembic import op
from sqlalchemy import text


def run(path: str) -> None:
    """Execute a file below `clients/sql` in the running migration."""
    for statement in statements(files("controlplane.clients.sql").joinpath(path).read_text()):
        # A colon is SQL here, never the mark of a parameter.
        op.execute(text(statement.replace(":", r"\:")))


def statements(script: str) -> Iterator[str]:
    """A statement ends with a semicolon at the end of a line, outside of $$ quotes."""
    lines: list[str] = []
    quoted = False
    for line in script.splitlines():
        lines.append(line)
        quoted ^= line.count("$$") % 2 == 1
        if not quoted and line.rstrip().endswith(";"):
            yield "\n".join(lines).strip()
            lines.clear()
