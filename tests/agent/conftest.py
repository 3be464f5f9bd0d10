"""One agent on an engine, real or simulated, with its reports kept instead of sent."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.simulated import Ledger, SimulatedEngine
from controlplane.clients.docker import Docker, Engine
from tests.agent.theatre import Theatre

SIMULATED_IMAGE = "simulated"


@dataclass(frozen=True, kw_only=True)
class Place:
    """An engine, and the image of notebooks that is on it."""

    engine: Engine
    docker_host: str
    image: str


@pytest.fixture
async def engine(docker_host: str) -> AsyncIterator[Docker]:
    engine = Docker(docker_host, seconds=60, slow_seconds=120)
    yield engine
    await engine.close()


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.engine), "simulated"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Each test twice: the simulated engine is worth what it has in common with Docker."""
    if request.param == "simulated":
        engine = SimulatedEngine((SIMULATED_IMAGE,), ledger=Ledger())
        yield Place(engine=engine, docker_host="unix:///nowhere", image=SIMULATED_IMAGE)
        return
    host, image = request.getfixturevalue("docker_host"), request.getfixturevalue("image")
    docker = Docker(host, seconds=60, slow_seconds=120)
    yield Place(engine=docker, docker_host=host, image=image)
    await docker.close()


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
    async for opened in _opened(theatre, rehearsed):
        yield opened


@pytest.fixture
async def either_theatre(
    either: Place,
    installation: str,
    rehearsed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Theatre]:
    """The same on both engines."""
    kind = Theatre
    if isinstance(either.engine, SimulatedEngine):
        may_mount()
        # No iptables, so no rule of this machine: there is no bridge that it could be about.
        monkeypatch.setenv("PATH", "")
        kind = SimulatedTheatre
    theatre = kind(
        either.engine, either.docker_host, either.image, installation=installation, folder=tmp_path
    )
    async for opened in _opened(theatre, rehearsed):
        yield opened


class SimulatedTheatre(Theatre):
    """Its notebooks are in this process, and so is their hub."""

    async def gateway(self) -> str:
        return "127.0.0.1"


async def _opened(theatre: Theatre, rehearsed: Path) -> AsyncIterator[Theatre]:
    shutil.copytree(rehearsed, theatre.records)
    try:
        async with asyncio.timeout(600):
            await theatre.open()
            yield theatre
    finally:
        await theatre.close()
        shutil.copytree(theatre.records, rehearsed, dirs_exist_ok=True)


def may_mount() -> None:
    """An agent mounts: without the right to, a skip on a laptop and a failure in CI."""
    tried = subprocess.run(
        ["unshare", "--mount", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if tried.returncode == 0:
        return
    if os.environ.get("CI"):
        pytest.fail("the agent's tests mount, so CI runs them as root, where root may mount")
    pytest.skip("the agent mounts, and this process may not: run this test as root")
