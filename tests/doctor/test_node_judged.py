from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.clients.docker import Facts
from controlplane.doctor import image, mounts, network, node
from controlplane.doctor.finding import Level
from controlplane.doctor.mounts import Mounts
from controlplane.doctor.network import Neighbours
from controlplane.settings import NodeSettings, Settings

ENGINE = Facts(
    version="27.1.1", cpus=8, cpu_quota=True, rootless=False, cgroup="systemd v2", live_restore=True
)
APART = Neighbours(listens=True, direct=False, published=False, agents=True)


def settings(address: str | None = "192.0.2.7", keys: str = "k") -> Settings:
    told = {"name": "node7", "address": address}
    return Settings(node=NodeSettings.model_validate(told), seal_keys=keys)


def test_a_node_s_settings_that_fit_are_one_line() -> None:
    (found,) = node.judge_settings(settings(), root=True, unbindable="")

    assert found.level is Level.OK
    assert "node7 at 192.0.2.7" in found.seen


@pytest.mark.parametrize(
    ("given", "root", "unbindable", "level", "fix"),
    [
        (settings(None), True, "", Level.FAIL, "GREENROOM_NODE__ADDRESS"),
        (settings(), True, "not here", Level.FAIL, "ip -brief address"),
        (settings(keys=""), True, "", Level.FAIL, "greenroom keys new"),
        (settings(), False, "", Level.WARN, "sudo"),
        (settings("127.0.0.1"), True, "", Level.WARN, "node.address"),
        (settings("::1"), True, "", Level.WARN, "node.address"),
    ],
)
def test_what_an_agent_would_stumble_over_is_told(
    given: Settings, root: bool, unbindable: str, level: Level, fix: str
) -> None:
    (found,) = node.judge_settings(given, root=root, unbindable=unbindable)

    assert found.level is level
    assert fix in found.fix


@pytest.mark.parametrize(
    ("release", "level"),
    [
        ("6.1.0-21-amd64", Level.OK),
        ("5.12.0", Level.OK),
        ("5.10.0-28", Level.FAIL),
        ("4.19", Level.FAIL),
    ],
)
def test_a_kernel_is_judged(release: str, level: Level) -> None:
    assert node.judge_kernel(release).level is level


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, Level.OK),
        ({"version": "20.10.24+dfsg1"}, Level.OK),
        ({"rootless": True}, Level.WARN),
        ({"cpu_quota": False}, Level.WARN),
        ({"version": "19.03.5"}, Level.WARN),
    ],
)
def test_an_engine_is_judged(change: dict[str, Any], level: Level) -> None:
    (found,) = node.judge_engine(replace(ENGINE, **change))

    assert found.level is level


@pytest.mark.parametrize(
    ("seen", "level"),
    [
        (Mounts(place="/var/lib", seen=True), Level.OK),
        (Mounts(place="/var/lib", seen=False), Level.FAIL),
        (Mounts(place="/var/lib", refused="Operation not permitted"), Level.FAIL),
    ],
)
def test_mounts_are_judged(seen: Mounts, level: Level) -> None:
    assert mounts.judge(seen).level is level


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, Level.OK),
        ({"published": None}, Level.OK),
        ({"agents": False, "published": None}, Level.OK),
        ({"direct": True}, Level.FAIL),
        ({"published": True}, Level.FAIL),
        ({"listens": False}, Level.FAIL),
    ],
)
def test_neighbours_that_reach_each_other_fail(change: dict[str, Any], level: Level) -> None:
    assert network.judge_neighbours(replace(APART, **change)).level is level


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        ({"status": 200, "body": '{"version": "6.1.1"}'}, Level.OK),
        ({"status": 200, "body": "<html>"}, Level.WARN),
        ({"status": 200, "body": "[]"}, Level.WARN),
        ({"status": 404, "body": ""}, Level.WARN),
        ({"error": "timed out"}, Level.FAIL),
    ],
)
def test_what_answers_a_container_in_the_hub_s_place_is_judged(
    answer: dict[str, Any], level: Level
) -> None:
    assert network.judge_hub("http://192.0.2.10:8081/hub/api", answer).level is level


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("192.0.2.10:8081", "http://192.0.2.10:8081/hub/api"),
        ("http://192.0.2.10:8081/", "http://192.0.2.10:8081/hub/api"),
        ("http://192.0.2.10:8081/hub/", "http://192.0.2.10:8081/hub/api"),
        ("https://hub.example/base/hub/api", "https://hub.example/base/hub/api"),
    ],
)
def test_a_hub_s_url_may_be_given_short(given: str, url: str) -> None:
    assert network.api_url(given) == url


def examined(**change: Any) -> dict[str, Any]:
    part = {"name": "jupyter_server.serverapp", "wall_s": 2.0, "cpu_s": 1.5, "error": ""}
    versions = {"jupyterhub": "6.1.1", "jupyter_server": "2.21.1", "jupyterlab": None}
    extension = {"name": "jupyterlab", "wall_s": 0.2, "cpu_s": 0.2, "error": ""}
    found = {
        "python": "3.11.2",
        "uid": 1000,
        "versions": versions,
        "compiled": True,
        "parts": [part],
        "extensions": [extension],
    }
    return found | change


def extension(**change: Any) -> dict[str, Any]:
    return {"name": "sleepy", "wall_s": 0.1, "cpu_s": 0.1, "error": ""} | change


def test_a_good_image_is_three_lines() -> None:
    found = image.judge("lab", examined())

    assert [each.level for each in found] == [Level.OK] * 3


@pytest.mark.parametrize(
    ("change", "level", "fix"),
    [
        ({"python": "3.8.10"}, Level.FAIL, "Python 3.9"),
        ({"uid": 0}, Level.WARN, "USER 1000"),
        ({"compiled": False}, Level.WARN, "compileall"),
        ({"versions": {"jupyterhub": "3.1.1"}}, Level.WARN, "pip install jupyterhub"),
        ({"parts": [extension(error="ImportError: no")]}, Level.FAIL, "pip install"),
        ({"parts": [extension(cpu_s=9.0)]}, Level.WARN, "extension list"),
        ({"extensions": [extension(cpu_s=0.8)]}, Level.WARN, "disable --sys-prefix sleepy"),
        ({"extensions": [extension(error="KeyError: 'A'")]}, Level.WARN, "disable"),
    ],
)
def test_an_image_that_warms_badly_is_told_why(
    change: dict[str, Any], level: Level, fix: str
) -> None:
    bad = [e for e in image.judge("lab", examined(**change)) if e.level is not Level.OK]

    assert [each.level for each in bad] == [level]
    assert fix in bad[0].fix


def test_an_image_without_jupyter_is_told_what_to_add() -> None:
    words = "the container ended with 64: this image has no jupyterhub-singleuser on PATH"

    assert "pip install jupyterhub jupyterlab" in image.judge_end("lab", words).fix
