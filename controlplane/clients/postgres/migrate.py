"""`greenroom db upgrade | status`: the schema, and how far this one is.

Migrations are alembic versions in plain SQL below `clients/sql`. They expand before they
contract, so workers of the version before run beside ours.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from controlplane.errors import Terminal, Unavailable


@dataclass(frozen=True, kw_only=True)
class Status:
    """`current` is the database's version, None before the first; `newest` is ours."""

    current: str | None
    newest: str

    @property
    def up_to_date(self) -> bool:
        """Nothing is left to do."""
        return self.current == self.newest


def upgrade(url: str) -> Status:
    """Bring the database to our version; doing it again changes nothing. Blocking."""
    with _translated():
        command.upgrade(_config(url), "head")
    return status(url)


def sql(url: str = "postgresql://") -> str:
    """Everything that `upgrade` would execute on an empty database, for a person to review."""
    printed = io.StringIO()
    config = _config(url)
    config.output_buffer = printed
    command.upgrade(config, "head", sql=True)
    return printed.getvalue()


def status(url: str) -> Status:
    """How far the database is. Blocking."""
    newest = ScriptDirectory.from_config(_config(url)).get_current_head()
    engine = create_engine(_driver(url), poolclass=NullPool, connect_args={"connect_timeout": 5})
    with _translated(), engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return Status(current=current, newest=newest or "")


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("controlplane.clients.sql")))
    # Alembic reads its options with %-interpolation, and a password may have one.
    config.set_main_option("sqlalchemy.url", _driver(url).replace("%", "%%"))
    return config


def _driver(url: str) -> str:
    return str(make_url(url).set(drivername="postgresql+psycopg").render_as_string(False))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        kind = Unavailable if isinstance(error, OperationalError) else Terminal
        raise kind(f"the migration stopped: {error.orig}") from error
    except CommandError as error:
        raise Terminal(
            f"{error}: this database was upgraded by a newer greenroom; install that one"
        ) from error
