from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from controlplane.doctor import hub
from controlplane.doctor.finding import Level
from controlplane.doctor.hub import Hub

GOOD = {"spawner_class": "greenroom", "hub_ip": "192.0.2.10", "concurrent_spawn_limit": 0}


def hub_with(
    *, jupyterhub: dict[str, Any] | None = None, version: str | None = "6.1.1", **spawner: Any
) -> Hub:
    return Hub(
        python="/opt/hub/bin/python3",
        versions={"jupyterhub": version, "greenroom": "0.1"},
        config={"JupyterHub": GOOD | (jupyterhub or {}), "Spawner": spawner},
    )


def test_a_hub_as_the_docs_have_it_is_well() -> None:
    (found,) = hub.judge(hub_with())

    assert found.level is Level.OK


@pytest.mark.parametrize(
    ("jupyterhub", "spawner", "level", "fix"),
    [
        ({"concurrent_spawn_limit": 100}, {}, Level.WARN, "concurrent_spawn_limit = 0"),
        ({"spawner_class": "dockerspawner.DockerSpawner"}, {}, Level.WARN, '= "greenroom"'),
        ({"internal_ssl": True}, {}, Level.FAIL, "internal_ssl = False"),
        ({"hub_ip": "127.0.0.1"}, {}, Level.FAIL, "hub_ip"),
        ({"hub_ip": "0.0.0.0"}, {}, Level.WARN, "hub_connect_url"),
        ({"hub_ip": ""}, {}, Level.WARN, "hub_connect_url"),
        ({"hub_bind_url": "unix+http://%2Frun%2Fhub"}, {}, Level.FAIL, "hub_ip"),
        ({"hub_bind_url": "http://localhost:8081"}, {}, Level.FAIL, "hub_ip"),
        ({}, {"consecutive_failure_limit": 5}, Level.WARN, "consecutive_failure_limit = 0"),
        ({}, {"start_timeout": 60}, Level.WARN, "start_timeout = 600"),
        ({}, {"http_timeout": 300}, Level.WARN, "http_timeout = 30"),
        ({}, {"http_timeout": 1}, Level.WARN, "http_timeout = 30"),
    ],
)
def test_a_setting_that_spoils_warm_starts_is_told_with_its_cure(
    jupyterhub: dict[str, Any], spawner: dict[str, Any], level: Level, fix: str
) -> None:
    (found,) = hub.judge(hub_with(jupyterhub=jupyterhub, **spawner))

    assert found.level is level
    assert fix in found.fix


def test_the_limit_that_a_hub_has_by_default_is_told() -> None:
    bare = Hub(
        python="python3",
        versions={"jupyterhub": "5.3.0", "greenroom": "0.1"},
        config={"JupyterHub": {"spawner_class": "greenroom", "hub_ip": "192.0.2.10"}},
    )

    (found,) = hub.judge(bare)

    assert "concurrent_spawn_limit is 100" in found.seen


@pytest.mark.parametrize(
    ("version", "level"), [("4.1.6", Level.FAIL), ("5.2.1", Level.FAIL), (None, Level.WARN)]
)
def test_a_hub_that_is_too_old_or_absent_is_told(version: str | None, level: Level) -> None:
    (found,) = hub.judge(hub_with(version=version))

    assert found.level is level


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ({}, "http://127.0.0.1:8081/hub/"),
        ({"hub_ip": "192.0.2.1"}, "http://192.0.2.1:8081/hub/"),
        ({"hub_ip": "0.0.0.0", "hub_connect_ip": "hub.example"}, "http://hub.example:8081/hub/"),
        ({"hub_bind_url": "http://192.0.2.2:9000"}, "http://192.0.2.2:9000/hub/"),
        ({"hub_connect_url": "http://hub.example"}, "http://hub.example"),
        ({"hub_ip": "2001:db8::1"}, "http://[2001:db8::1]:8081/hub/"),
    ],
)
def test_the_api_s_url_is_worked_out_as_jupyterhub_does(config: dict[str, Any], url: str) -> None:
    assert hub.api_url(Hub(python="python3", config={"JupyterHub": config})) == url


async def test_a_configuration_is_read_as_the_program_that_it_is(tmp_path: Path) -> None:
    file = tmp_path / "jupyterhub_config.py"
    file.write_text(
        "print('hello')\n"
        "limit = 40 + 2\n"
        "c = get_config()\n"
        "c.JupyterHub.concurrent_spawn_limit = limit\n"
        "c.Spawner.pre_spawn_hook = lambda spawner: None\n"
    )

    read = await hub.read(str(file), sys.executable)

    assert read.error == ""
    assert read.get("concurrent_spawn_limit", 100) == 42
    assert read.spawner("pre_spawn_hook", None) == "<function>"


async def test_a_configuration_that_fails_is_a_warning_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "jupyterhub_config.py"
    file.write_text("import no_such_authenticator\n")

    (found,) = await hub.look(file, None)

    assert found.level is Level.WARN
    assert "no_such_authenticator" in found.seen


async def test_a_hub_s_python_that_is_not_there_is_told(tmp_path: Path) -> None:
    file = tmp_path / "jupyterhub_config.py"
    file.touch()

    (found,) = await hub.look(file, str(tmp_path / "python3"))

    assert found.level is Level.WARN
    assert "--hub-python" in found.fix


async def test_a_configuration_that_is_not_there_fails(tmp_path: Path) -> None:
    (found,) = await hub.look(tmp_path / "none.py", None)

    assert found.level is Level.FAIL
