"""`greenroom doctor` as an admin types it, on real services and a real engine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiodocker
import psycopg
import pytest
from aiohttp import web
from psycopg import sql

from controlplane.cli.doctor import allowed, line
from controlplane.clients.docker import Docker
from controlplane.clients.postgres import migrate
from controlplane.doctor import network, ward
from controlplane.doctor.finding import Finding, Level, warn
from controlplane.doctor.trials import LABEL, Trials, folder
from controlplane.doctor.wanted import Wanted
from controlplane.model import ContainerSpec, PoolSpec, Storage
from controlplane.settings import NodeSettings, Settings, load
from tests.cli.conftest import Greenroom, _logging_as_before, greenroom

__all__ = ["_logging_as_before", "greenroom"]

SECONDS = 300


def levels(found: list[Finding] | list[dict[str, Any]]) -> dict[str, str]:
    told = [vars(each) if isinstance(each, Finding) else each for each in found]
    return {str(each["check"]): str(each["level"]) for each in told}


@pytest.mark.parametrize(
    ("given", "node", "control"),
    [
        ({}, True, True),
        ({"NODE__ADDRESS": "192.0.2.7"}, True, False),
        ({"REDIS_URL": "redis://192.0.2.1"}, False, True),
        ({"NODE__ADDRESS": "192.0.2.7", "POSTGRES_URL": "postgresql://192.0.2.1"}, True, True),
    ],
)
def test_without_options_the_settings_say_what_this_machine_is(
    given: dict[str, str], node: bool, control: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("GREENROOM_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(f"GREENROOM_{name}", value)

    wanted = allowed(load(), Wanted())

    assert (wanted.node, wanted.control) == (node, control)


def test_a_line_holds_nothing_that_a_terminal_would_obey() -> None:
    assert line(warn("hub", "\x1b[31m404", fix="this")) == "hub: ?[31m404  ->  this"


def test_services_that_do_not_answer_fail_with_the_setting_to_correct(
    greenroom: Greenroom,
) -> None:
    said = greenroom("doctor", "--control", "-o", "json")

    assert said.code == 1
    assert said.data["ok"] is False
    assert set(levels(said.data["checks"]).items()) == {
        ("postgres", "fail"),
        ("schema", "fail"),
        ("redis", "fail"),
        ("rabbitmq", "fail"),
    }
    assert "GREENROOM_AMQP_URL" in said.data["checks"][-1]["fix"]


def test_a_hub_s_file_is_looked_at_without_anything_else(
    greenroom: Greenroom, tmp_path: Path
) -> None:
    file = tmp_path / "jupyterhub_config.py"
    file.write_text("raise SystemExit(3)")

    said = greenroom("doctor", "--hub-config", str(file))

    assert said.code == 0
    assert said.out.startswith("warn  hub settings: the configuration cannot be read")
    assert said.err == "0 ok, 1 warn, 0 fail\n"


def test_without_the_engine_s_client_one_line_says_what_to_install() -> None:
    # In a process of its own: nothing else has imported it there.
    program = (
        "import sys; sys.modules['aiodocker'] = None\n"
        "from controlplane.cli.app import run; sys.exit(run(['doctor', '--image', 'lab']))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert "no aiodocker here" in done.stdout
    assert "greenroom[node,cli]" in done.stdout


@pytest.fixture
def services(
    greenroom: Greenroom,
    monkeypatch: pytest.MonkeyPatch,
    postgres_url: str,
    amqp_url: str,
    redis_url: str,
    installation: str,
) -> Greenroom:
    monkeypatch.setenv("GREENROOM_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("GREENROOM_AMQP_URL", amqp_url)
    monkeypatch.setenv("GREENROOM_REDIS_URL", redis_url)
    monkeypatch.setenv("GREENROOM_INSTALLATION", installation)
    return greenroom


def test_a_bare_database_fails_and_an_upgraded_one_is_well(
    services: Greenroom, postgres_url: str
) -> None:
    before = services("doctor", "--control", "-o", "json")
    migrate.upgrade(postgres_url)
    after = services("doctor", "--control", "-o", "json")

    assert levels(before.data["checks"])["schema"] == "fail"
    assert levels(after.data["checks"])["schema"] == "ok"
    assert levels(after.data["checks"])["rabbitmq"] == "warn"
    assert after.code == 0


@pytest.fixture
def guest(postgres_url: str, installation: str) -> Iterator[str]:
    """A login that may connect and no more."""
    name = sql.Identifier(installation)
    parts = urlsplit(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True, connect_timeout=10) as postgres:
        postgres.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(name))
        postgres.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    yield urlunsplit(parts._replace(netloc=f"{installation}:x@{parts.hostname}:{parts.port}"))
    with psycopg.connect(postgres_url, autocommit=True, connect_timeout=10) as postgres:
        postgres.execute(sql.SQL("DROP ROLE {}").format(name))


def test_a_login_that_may_not_create_tables_is_told(
    services: Greenroom, monkeypatch: pytest.MonkeyPatch, guest: str
) -> None:
    monkeypatch.setenv("GREENROOM_POSTGRES_URL", guest)

    said = services("doctor", "--control", "-o", "json")

    assert said.data["checks"][0]["check"] == "postgres"
    assert "owner to" in said.data["checks"][0]["fix"]


def node_settings(docker_host: str, installation: str, state_dir: Path) -> Settings:
    node = {"address": "127.0.0.1", "docker_host": docker_host, "state_dir": str(state_dir)}
    return Settings(
        installation=installation, seal_keys="k", node=NodeSettings.model_validate(node)
    )


async def look(settings: Settings, wanted: Wanted, pools: list[PoolSpec]) -> list[Finding]:
    async with asyncio.timeout(SECONDS):
        return [each async for each in ward.findings(settings, wanted, pools)]


async def left(docker_host: str, installation: str) -> list[str]:
    """What of a doctor's is still on the engine."""
    peek = aiodocker.Docker(docker_host)
    try:
        mine = {"label": [f"{LABEL}={installation}"]}
        containers = await peek.containers.list(all=True, filters=mine)
        networks = await peek.networks.list(filters=mine)
        return [*(c.id for c in containers), *(n["Name"] for n in networks)]
    finally:
        await peek.close()


@pytest.mark.engine
async def test_a_good_node_passes_and_nothing_stays_of_what_was_tried(
    docker_host: str, image: str, installation: str, tmp_path: Path
) -> None:
    homes, state = tmp_path / "homes", tmp_path / "state"
    (homes / "ann").mkdir(parents=True)
    state.mkdir()
    os.chown(homes / "ann", 1000, 100)
    container = ContainerSpec(image=image, storage=Storage(root=str(homes)))
    pool = PoolSpec(name="lab", container=container, warm=1)
    settings = node_settings(docker_host, installation, state)

    found = levels(await look(settings, Wanted(node=True), [pool]))

    assert {check: level for check, level in found.items() if level == "fail"} == {}
    assert found["mounts"] == found["isolation"] == found["homes of lab"] == "ok"
    assert found[f"image {image}"] == "ok"
    assert await left(docker_host, installation) == []
    assert [*state.iterdir(), *homes.iterdir()] == [homes / "ann"]


@pytest.mark.engine
async def test_homes_of_somebody_else_are_told_with_their_owner(
    docker_host: str, image: str, installation: str, tmp_path: Path
) -> None:
    (tmp_path / "ben").mkdir(mode=0o700)
    os.chown(tmp_path / "ben", 2001, 2001)
    container = ContainerSpec(image=image, storage=Storage(root=str(tmp_path)))
    pool = PoolSpec(name="lab", container=container, warm=1)

    async with asyncio.timeout(SECONDS):
        engine = Docker(docker_host, seconds=60, slow_seconds=120)
        with folder() as place:
            trials = Trials(engine, installation=installation, folder=place)
            found = await ward.storage.look(trials, pool.name, pool.container)
        await engine.close()

    assert levels(found)["homes of lab"] == "warn"
    assert "2001:2001 0700" in found[-1].seen


@pytest.mark.engine
async def test_an_image_that_is_not_there_fails_with_its_pull(
    docker_host: str, installation: str, tmp_path: Path
) -> None:
    settings = node_settings(docker_host, installation, tmp_path)
    name = f"{installation}-none:latest"

    *_, found = await look(settings, Wanted(image=name), [])

    assert (found.level, found.fix) == (Level.FAIL, f"docker pull {name}")


@pytest.mark.engine
async def test_a_hub_s_api_is_asked_from_inside_a_container(
    docker_host: str, image: str, installation: str, tmp_path: Path
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"version": "6.1.1"})

    settings = node_settings(docker_host, installation, tmp_path)
    peek = aiodocker.Docker(docker_host)
    # A bridge of its own gives this machine one more address, wherever this runs.
    bridge = await peek.networks.create({"Name": f"{installation}-address", "Driver": "bridge"})
    gateway = (await bridge.show())["IPAM"]["Config"][0]["Gateway"]
    app = web.Application()
    app.router.add_get("/hub/api", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, gateway, 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        hubs = (f"http://{host}:{port}", "http://127.0.0.1:8081")
        found = await look(settings, Wanted(image=image, hubs=hubs), [])
    finally:
        await runner.cleanup()
        await bridge.delete()
        await peek.close()

    asked, loopback = found[-2:]
    assert asked.seen == "JupyterHub 6.1.1 answers a container"
    assert loopback.level is Level.FAIL
    assert network.api_url(hubs[0]).endswith("/hub/api")


@pytest.mark.engine
async def test_a_doctor_that_is_told_to_stop_undoes_what_it_tried(
    docker_host: str, image: str, installation: str
) -> None:
    given = {"INSTALLATION": installation, "NODE__DOCKER_HOST": docker_host}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from controlplane.cli import main; main()",
        "doctor",
        "--image",
        image,
        env={**os.environ, **{f"GREENROOM_{name}": value for name, value in given.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        while not await left(docker_host, installation):
            assert process.returncode is None
            await asyncio.sleep(0.05)
        process.terminate()
        _, talk = await process.communicate()

    assert process.returncode == 143, talk
    assert b"undone" in talk
    assert await left(docker_host, installation) == []
