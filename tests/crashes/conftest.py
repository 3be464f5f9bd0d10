"""stage   one installation for a module's tests; whatever a test leaves is mended after it"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest_asyncio
import redis
from cryptography.fernet import Fernet

from controlplane.clients.postgres.migrate import upgrade
from tests.agent.conftest import may_mount
from tests.crashes.stage import Stage
from tests.lease.conftest import _remove


@asynccontextmanager
async def playing(amqp_url: str, postgres_url: str, redis_url: str) -> AsyncIterator[Stage]:
    """A stage on these services, from an empty database on."""
    may_mount()
    upgrade(postgres_url)
    with redis.Redis.from_url(redis_url, socket_timeout=60) as mine:
        mine.flushdb()
    # Short: an address of a socket holds 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="greenroom-"))
    installation = f"t{secrets.token_hex(5)}"
    urls = {
        "GREENROOM_AMQP_URL": amqp_url,
        "GREENROOM_POSTGRES_URL": postgres_url,
        "GREENROOM_REDIS_URL": redis_url,
        "GREENROOM_SEAL_KEYS": Fernet.generate_key().decode(),
    }
    stage = Stage(folder, urls, installation)
    try:
        await stage.open()
        yield stage
    finally:
        await stage.close()
        await _remove(amqp_url, installation)
        shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(amqp_url: str, postgres_url: str, redis_database: str) -> AsyncIterator[Stage]:
    async with playing(amqp_url, postgres_url, redis_database) as stage:
        yield stage


@pytest_asyncio.fixture(loop_scope="module")
async def stage(played: Stage) -> AsyncIterator[Stage]:
    yield played
    await played.mend()
