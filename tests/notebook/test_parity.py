"""The same person on the stock start and on a warm start, side by side."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest

from scripts.stack.image import PLAIN_TAG
from tests.notebook.containers import ENTRY, INSIDE, Booth, Docker

pytestmark = pytest.mark.engine

# Every difference, and why it is one.
DIFFERENCES = {
    "server.command_line": "the process was started as warm_start.py before it had a person",
    "server.environment.JUPYTER_RUNTIME_DIR": "short-lived files stay in the container, not on NFS",
    "kernel.environment.JUPYTER_RUNTIME_DIR": "the same, inherited",
    "kernel.environment.JPY_PARENT_PID": "a process id",
    "server.paths.runtime": "follows JUPYTER_RUNTIME_DIR",
    "kernel.jupyter_paths.runtime": "follows JUPYTER_RUNTIME_DIR",
}

CONFIG = "c.ServerApp.max_body_size = 12345678\n"
ENABLED = {"ServerApp": {"jpserver_extensions": {"parity_probe": True}}}
UNPACK = """
import base64, io, sys, tarfile
packed = io.BytesIO(base64.b64decode(sys.stdin.read()))
tarfile.open(fileobj=packed).extractall("/home/jovyan")
"""


@pytest.fixture(scope="module")
def docker(docker_host: str) -> Iterator[Docker]:
    docker = Docker(docker_host)
    yield docker
    docker.clear_away()


@pytest.fixture
def lease(inside: Callable[[str], ModuleType]) -> dict[str, str]:
    told = inside("rehearsal").environment("/home/jovyan", port=8888, hub_port=8081)
    kept = {name: value for name, value in told.items() if name.startswith("JUPYTERHUB_")}
    return {**kept, "MEM_LIMIT": "1073741824", "OF_A_HOOK": "two words", "TZ": "Asia/Tokyo"}


def home_files(python: str) -> dict[str, str]:
    """A person's home: an extension and a package of their own, and their configuration."""
    return {
        ".jupyter/jupyter_server_config.py": CONFIG,
        ".jupyter/jupyter_server_config.d/own.json": json.dumps(ENABLED),
        f".local/lib/{python}/site-packages/parity_probe.py": (
            INSIDE / "parity_probe.py"
        ).read_text(),
    }


def home(python: str) -> str:
    """The same, packed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in home_files(python).items():
            parts = name.split("/")
            for depth in range(1, len(parts)):
                folder = tarfile.TarInfo("/".join(parts[:depth]))
                folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o755, 1000, 100
                tar.addfile(folder)
            file = tarfile.TarInfo(name)
            file.size, file.uid, file.gid = len(text.encode()), 1000, 100
            tar.addfile(file, io.BytesIO(text.encode()))
    return base64.b64encode(packed.getvalue()).decode()


def settle_in(booth: Booth) -> None:
    """The person's home appears: before a stock start, and after a warm notebook is warm."""
    asked = "import sys; print('python%d.%d' % sys.version_info[:2])"
    python = booth.play("-c", asked).strip()
    booth.play("-c", UNPACK, stdin=home(python))


def stock_facts(docker: Docker, image: str, lease: Mapping[str, str]) -> dict[str, Any]:
    booth = Booth(docker, image)
    settle_in(booth)
    booth.start(("jupyterhub-singleuser",), lease)
    return flat(json.loads(booth.play("/inside/facts.py")))


def warm_facts(docker: Docker, image: str, lease: Mapping[str, str]) -> dict[str, Any]:
    booth = Booth(docker, image)
    booth.start(ENTRY, {"GREENROOM_NOTEBOOK": "n1"})
    booth.wait_until_warm()
    settle_in(booth)
    assert booth.activate(environment=dict(lease))[-1]["serving"] == "L", booth.log()
    return flat(json.loads(booth.play("/inside/facts.py")))


def flat(told: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """{"kernel.environment.HOME": "/home/jovyan", ...}: maps are opened, lists are not."""
    found: dict[str, Any] = {}
    for key, value in told.items():
        inner = flat(value, f"{name}{key}.") if isinstance(value, dict) else {f"{name}{key}": value}
        found.update(inner)
    return found


@pytest.mark.parametrize("flavour", ["demo", "plain"])
def test_a_warm_start_differs_from_the_stock_start_only_where_we_say_why(
    docker: Docker, image: str, lease: dict[str, str], flavour: str
) -> None:
    chosen = image if flavour == "demo" else PLAIN_TAG
    stock = stock_facts(docker, chosen, lease)
    warm = warm_facts(docker, chosen, lease)
    absent = "(absent)"
    differing = {
        name: (stock.get(name, absent), warm.get(name, absent))
        for name in stock.keys() | warm.keys()
        if stock.get(name, absent) != warm.get(name, absent) and name not in DIFFERENCES
    }

    assert differing == {}
    # What is compared is there at all, and is the person's own.
    assert stock["kernel.environment.OF_A_HOOK"] == "two words"
    assert stock["kernel.own"] == [stock["server.own"]]
    assert stock["server.configured_by_the_person"] == 12345678
    assert stock["server.time_zone"][0] == ["JST", "JST"]
