"""The same person on a real DockerSpawner and on Greenroom: same image, same home."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import hubs
from scripts.stack import commands, image, processes, proof
from tests.e2e.house import House
from tests.notebook import test_parity
from tests.notebook.containers import INSIDE

pytestmark = [pytest.mark.engine, pytest.mark.hub, pytest.mark.services]

PERSON = "parity"
# Every difference, and why it is one.
DIFFERENCES = {
    **test_parity.DIFFERENCES,
    "kernel.capabilities": "none are left to gain: a pool's containers drop all of them",
    **{
        f"{process}.environment.{name}": reason
        for process in ("server", "kernel")
        for name, reason in {
            "HOSTNAME": "the container's id",
            "JPY_API_TOKEN": "a token of this start",
            "JUPYTERHUB_API_TOKEN": "a token of this start",
            "JUPYTERHUB_API_URL": "each of the two hubs has a port of its own",
            "JUPYTERHUB_ACTIVITY_URL": "the same",
        }.items()
    },
}
FACTS = (INSIDE / "of_a_process.py").read_text() + "\njson.dumps(told)"


@pytest.fixture
def docker_spawner(house: House) -> Iterator[str]:
    """The public address of a hub whose spawner is the stock DockerSpawner."""
    try:
        yield hubs.start_hub(house.stack, "dockerspawner").url
    finally:
        for name in ("hub-dockerspawner", "proxy-dockerspawner"):
            processes.stop(house.stack.place, name)


def settle_in(house: House) -> None:
    asked = "import sys; print('python%d.%d' % sys.version_info[:2])"
    python = commands.read(
        [
            "docker", "-H", house.stack.docker_host, "run", "--rm", "--network", "none",
            "--entrypoint", "python3", image.TAG, "-c", asked,
        ]
    )  # fmt: skip
    assert python
    home = house.stack.homes / PERSON
    for name, text in test_parity.home_files(python.strip()).items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    for path in (home, *home.rglob("*")):
        os.chown(path, *hubs.HOME_OWNER)


async def facts(hub: str, token: str) -> dict[str, Any]:
    """What the person's server and a kernel of theirs are like on this hub."""
    async with proof.visiting(token) as session:
        visit = proof.Visit(session, hub, PERSON, "")
        await visit.make_user()
        await visit.click()
        await visit.follow()
        async with session.get(f"{visit.of_notebook}/parity") as answer:
            assert answer.status == 200, await answer.text()
            server = json.loads(await answer.text())
        kernel = await visit.start_kernel()
        _, told = await proof.run_code(visit, kernel, FACTS, clock=proof.Stopwatch())
        await visit.stop_server()
    return test_parity.flat({"server": server, "kernel": json.loads(ast.literal_eval(told))})


async def test_a_person_who_moves_from_dockerspawner_finds_what_we_list_and_nothing_else_changed(
    house: House, docker_spawner: str
) -> None:
    settle_in(house)
    await house.warm(1)

    stock = await facts(docker_spawner, house.stack.token)
    warm = await facts(house.url, house.stack.token)

    absent = "(absent)"
    differing = {
        name: (stock.get(name, absent), warm.get(name, absent))
        for name in stock.keys() | warm.keys()
        if stock.get(name, absent) != warm.get(name, absent) and name not in DIFFERENCES
    }
    assert differing == {}
    assert stock["kernel.own"] == [stock["server.own"]]
    assert stock["server.configured_by_the_person"] == 12345678
