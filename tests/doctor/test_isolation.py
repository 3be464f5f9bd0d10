"""The doctor's two containers on an agent's network, with and without what keeps them apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiodocker
import pytest

from controlplane.clients.docker import Docker
from controlplane.doctor import network
from controlplane.doctor.finding import Level
from controlplane.doctor.network import Neighbours
from controlplane.doctor.trials import Trials, folder
from controlplane.model import ContainerSpec
from controlplane.settings import NodeSettings, Settings
from tests.agent.conftest import engine, rehearsed
from tests.agent.test_isolation import exposed
from tests.agent.theatre import Theatre
from workers.agent.node import network_name

__all__ = ["engine", "exposed", "rehearsed"]

pytestmark = pytest.mark.engine
SECONDS = 600


async def look(engine: Docker, settings: Settings, image: str) -> Neighbours:
    async with asyncio.timeout(SECONDS):
        with folder() as place:
            trials = Trials(engine, installation=settings.installation, folder=place)
            spec = ContainerSpec(image=image)
            return await network.look_at_neighbours(trials, spec, settings)


async def test_an_agent_s_rules_hold_by_every_way(exposed: Theatre, image: str) -> None:
    seen = await look(exposed.engine, exposed.settings, image)

    assert seen == Neighbours(listens=True, direct=False, published=False, agents=True)


@pytest.fixture
async def unruled(
    docker_host: str, installation: str, tmp_path: Path
) -> AsyncIterator[tuple[aiodocker.Docker, Settings]]:
    """A node whose address its containers reach, with nobody who sets rules."""
    peek = aiodocker.Docker(docker_host)
    bridge = await peek.networks.create({"Name": f"{installation}-address", "Driver": "bridge"})
    address = (await bridge.show())["IPAM"]["Config"][0]["Gateway"]
    # Away from where kernels take ports for outgoing connections.
    node = {"address": address, "first_port": 12_000, "last_port": 19_999}
    settings = Settings(installation=installation, node=NodeSettings.model_validate(node))
    try:
        yield peek, settings
    finally:
        await bridge.delete()
        await peek.close()


@pytest.mark.parametrize(
    ("between", "direct", "fix"),
    [("true", True, '"iptables": true'), ("false", False, "greenroom-agent")],
)
async def test_what_nobody_keeps_apart_is_found_to_be_together(
    unruled: tuple[aiodocker.Docker, Settings],
    engine: Docker,
    image: str,
    between: str,
    direct: bool,
    fix: str,
) -> None:
    peek, settings = unruled
    options = {"com.docker.network.bridge.enable_icc": between}
    like = {"Name": network_name(settings), "Driver": "bridge", "Options": options}
    agents = await peek.networks.create(like)
    try:
        seen = await look(engine, settings, image)
    finally:
        await agents.delete()

    judged = network.judge_neighbours(seen)
    assert seen.direct is direct
    assert judged.level is Level.FAIL
    assert fix in judged.fix
