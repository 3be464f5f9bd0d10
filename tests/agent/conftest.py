"""One agent on a real engine, with its reports kept instead of sent."""

from __future__ import annotations

import asyncio
import shutil
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


@pytest.fixture(scope="session")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of rehearsals: one serves every test, as it serves every notebook."""
    return tmp_path_factory.mktemp("records")


@pytest.fixture
async def theatre(
    engine: Docker, docker_host: str, image: str, installation: str, rehearsed: Path, tmp_path: Path
) -> AsyncIterator[Theatre]:
    """A node with an agent of an installation of its own; nothing of it is left afterwards."""
    theatre = Theatre(engine, docker_host, image, installation=installation, folder=tmp_path)
    shutil.copytree(rehearsed, theatre.records)
    try:
        async with asyncio.timeout(600):
            await theatre.open()
            yield theatre
    finally:
        await theatre.close()
        shutil.copytree(theatre.records, rehearsed, dirs_exist_ok=True)
