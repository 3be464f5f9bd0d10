"""One agent on a real engine, with its reports kept instead of sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.clients.docker import Docker
from tests.agent.theatre import Theatre


@pytest.fixture
async def engine(docker_host: str) -> AsyncIterator[Docker]:
    engine = Docker(docker_host, seconds=60, slow_seconds=120)
    yield engine
    await engine.close()


@pytest.fixture
async def theatre(
    engine: Docker, docker_host: str, image: str, installation: str, tmp_path: Path
) -> AsyncIterator[Theatre]:
    """A node with an agent of an installation of its own; nothing of it is left afterwards."""
    theatre = Theatre(engine, docker_host, image, installation, tmp_path)
    try:
        async with asyncio.timeout(300):
            await theatre.open()
            yield theatre
    finally:
        await theatre.close()
