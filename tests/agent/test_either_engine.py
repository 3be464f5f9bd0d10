"""What an agent may rely on, held against a Docker engine and against the simulated one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from controlplane.clients.docker import Happening
from controlplane.errors import Conflict, Refused
from tests.agent.conftest import Place

DEADLINE_SECONDS = 120


class Sleeper:
    """One container that does nothing, under this test's own name and label."""

    def __init__(self, place: Place, installation: str) -> None:
        self.engine = place.engine
        self.name = installation
        self.labels = {"greenroom.installation": installation}
        # A shell as the first process ignores SIGTERM on no engine: it is killed.
        self.config: dict[str, Any] = {
            "Image": place.image,
            "Entrypoint": ["sleep", "600"],
            "Labels": self.labels,
        }

    async def create(self, **more: Any) -> str:
        return await self.engine.create(self.name, {**self.config, **more})


@pytest.fixture
async def sleeper(either: Place, installation: str) -> AsyncIterator[Sleeper]:
    sleeper = Sleeper(either, installation)
    yield sleeper
    await sleeper.engine.remove(installation)
    await sleeper.engine.remove(f"{installation}-other")


async def test_a_container_is_what_it_was_told_to_be(sleeper: Sleeper) -> None:
    engine = sleeper.engine
    container = await sleeper.create()
    made = await engine.inspect(container)
    await engine.start(container)
    await engine.start(container)
    running = await engine.inspect(sleeper.name)
    listed = await engine.list(sleeper.labels)
    await engine.set_cpu_shares(container, 64)
    await engine.stop(container, seconds=0)
    ended = await engine.inspect(container)
    await engine.remove(container)

    assert made is not None
    assert (made.state, made.exit_code) == ("created", None)
    assert running is not None
    assert (running.id, running.state, running.exit_code) == (container, "running", None)
    assert running.labels.items() >= sleeper.labels.items()
    assert [(line.id, line.state) for line in listed] == [(container, "running")]
    assert listed[0].labels.items() >= sleeper.labels.items()
    assert ended is not None
    assert (ended.state, ended.exit_code) == ("exited", 137)
    assert await engine.inspect(container) is None
    assert await engine.list(sleeper.labels) == []


async def test_a_name_has_one_container(sleeper: Sleeper) -> None:
    await sleeper.create()

    with pytest.raises(Conflict):
        await sleeper.create()


async def test_what_is_not_there_is_an_absence(either: Place, installation: str) -> None:
    engine = either.engine

    assert await engine.inspect(installation) is None
    assert await engine.image(f"{installation}-no-such-image:1") is None
    assert await engine.log_tail(installation, lines=5) == b""
    assert await engine.list({"greenroom.installation": installation}) == []
    await engine.stop(installation, seconds=0)
    await engine.remove(installation)
    await engine.set_cpu_shares(installation, 64)
    await engine.remove_network(installation)
    with pytest.raises(Refused):
        await engine.start(installation)


async def test_an_image_that_is_there_has_an_id_which_makes_containers(sleeper: Sleeper) -> None:
    image = await sleeper.engine.image(sleeper.config["Image"])
    assert image is not None

    container = await sleeper.create(Image=image.id)

    assert image.id.startswith("sha256:")
    assert image.directory.startswith("/")
    assert container


async def test_an_image_that_is_missing_is_refused(sleeper: Sleeper) -> None:
    with pytest.raises(Refused):
        await sleeper.create(Image="greenroom-no-such-image:1")


async def test_a_bind_of_nothing_is_refused(sleeper: Sleeper, tmp_path: Any) -> None:
    mount = {"Type": "bind", "Source": str(tmp_path / "missing"), "Target": "/data"}

    with pytest.raises(Refused):
        await sleeper.create(HostConfig={"Mounts": [mount]})


async def test_a_published_port_of_another_process_is_a_conflict(sleeper: Sleeper) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        binding = {"HostIp": "127.0.0.1", "HostPort": str(taken.getsockname()[1])}
        container = await sleeper.create(
            ExposedPorts={"8888/tcp": {}}, HostConfig={"PortBindings": {"8888/tcp": [binding]}}
        )

        with pytest.raises(Conflict):
            await sleeper.engine.start(container)
        seen = await sleeper.engine.inspect(container)

    assert seen is not None
    assert seen.state != "running"


async def test_a_network_of_somebody_else_is_refused(either: Place, installation: str) -> None:
    ours = {"Driver": "bridge", "Labels": {"greenroom.installation": installation}}
    theirs = {"Driver": "bridge", "Labels": {"greenroom.installation": "another"}}
    try:
        await either.engine.ensure_network(installation, ours)
        await either.engine.ensure_network(installation, ours)
        with pytest.raises(Refused, match="is not Greenroom's"):
            await either.engine.ensure_network(installation, theirs)
    finally:
        await either.engine.remove_network(installation)


async def test_the_stream_tells_of_ends_and_begins_where_it_is_asked_to(sleeper: Sleeper) -> None:
    engine = sleeper.engine
    container = await sleeper.create()
    other = await engine.create(
        f"{sleeper.name}-other", {**sleeper.config, "Labels": {"greenroom.installation": "other"}}
    )
    await engine.start(container)
    (started,) = await _events(sleeper, "start", since=0)
    await engine.start(other)
    await engine.stop(other, seconds=0)
    await engine.stop(container, seconds=0)
    (died,) = await _events(sleeper, "die", since=started.at + 1)
    await engine.remove(container)
    (destroyed,) = await _events(sleeper, "destroy", since=died.at + 1)

    assert {e.container for e in (started, died, destroyed)} == {container}
    assert died.labels.items() >= sleeper.labels.items()
    assert started.at < died.at < destroyed.at


async def _events(sleeper: Sleeper, action: str, *, since: int) -> list[Happening]:
    """The first of this kind from there on; the stream itself never ends."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        async with aclosing(sleeper.engine.events(sleeper.labels, since=since)) as events:
            async for event in events:
                if event.action == action:
                    return [event]
    return []
