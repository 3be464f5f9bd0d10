"""Alembic's environment: it runs inside `alembic`, started by `clients/postgres/migrate.py`."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool

url = context.config.get_main_option("sqlalchemy.url")

if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(
        url,
        poolclass=pool.NullPool,
        # Rather an error than a queue of everybody behind a migration that waits for a lock.
        connect_args={"connect_timeout": 5, "options": "-c lock_timeout=5s"},
    )
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
