from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from scripts.stack.image import PLAIN_TAG
from tests.notebook.containers import ENTRY, Booth, Docker

pytestmark = pytest.mark.engine
WARM = {"GREENROOM_NOTEBOOK": "n1"}
ASK = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8888/user/rehearsal/api", timeout=60).read())
"""
READ_RECORD = "print(open('/run/greenroom/record.json').read())"


@pytest.fixture
def docker(docker_host: str) -> Iterator[Docker]:
    docker = Docker(docker_host)
    yield docker
    docker.clear_away()


@pytest.fixture
def booth(docker: Docker, image: str) -> Booth:
    return Booth(docker, image)


@pytest.fixture
def lease(inside: Callable[[str], ModuleType]) -> dict[str, str]:
    """The environment that a hub gives to the rehearsal's user."""
    told = inside("rehearsal").environment("/home/jovyan", port=8888, hub_port=8081)
    return {name: value for name, value in told.items() if name.startswith("JUPYTER")}


def test_a_warm_container_has_its_port_closed_and_the_activated_one_serves_its_prefix(
    booth: Booth, lease: dict[str, str]
) -> None:
    booth.start(ENTRY, WARM)
    greeting = booth.wait_until_warm()
    port = booth.play("/inside/agent.py", "port")
    accepted, serving = booth.activate(environment=lease)
    answer = booth.play("-c", ASK)

    assert greeting["notebook"] == "n1"
    assert port == "closed\n"
    assert accepted == {"accepted": "L"}
    assert serving["serving"] == "L"
    assert "version" in answer


def test_a_container_is_activated_once_in_its_life(booth: Booth, lease: dict[str, str]) -> None:
    booth.start(ENTRY, WARM)
    booth.wait_until_warm()
    booth.activate(environment=lease)

    assert booth.play("/inside/agent.py", "activate", stdin="{}", ok=(1,)) == ""


def test_a_server_that_ends_before_it_serves_is_reported(
    booth: Booth, lease: dict[str, str]
) -> None:
    booth.start(ENTRY, WARM)
    booth.wait_until_warm()
    answers = booth.activate(environment={**lease, "JUPYTERHUB_SERVICE_URL": ""})

    assert answers[-1]["failed"] == "L"
    assert booth.exit_code() != 0


def test_a_rehearsal_records_what_needs_no_identity(docker: Docker, booth: Booth) -> None:
    booth.start(ENTRY, {**WARM, "GREENROOM_REHEARSAL": "1"})
    code = booth.exit_code()
    assert code == 0, booth.log()
    record = json.loads(booth.play("-c", READ_RECORD))
    identity = [name for name in record["modules"] if name.startswith("jupyterhub.singleuser")]

    assert {"jupyter_server.serverapp", "jupyterlab.labapp", "jupyter_client"} <= set(
        record["modules"]
    )
    assert identity == []
    assert "jupyterhub.services.auth" not in record["modules"]
    assert "__main__" not in record["modules"]


@pytest.mark.parametrize("flavour", ["demo", "plain"])
def test_hardly_a_module_is_imported_after_the_order(
    docker: Docker, image: str, lease: dict[str, str], flavour: str
) -> None:
    booth = Booth(docker, image if flavour == "demo" else PLAIN_TAG)
    booth.start(ENTRY, {**WARM, "GREENROOM_REHEARSAL": "1"})
    assert booth.exit_code() == 0, booth.log()
    booth.start(ENTRY, WARM)
    booth.wait_until_warm()
    serving = booth.activate(environment=lease)[-1]

    # The six of JupyterHub that read an identity, and room for another version's.
    assert 0 < serving["late"] <= 12, serving


def test_an_image_without_jupyterhub_singleuser_says_so(booth: Booth) -> None:
    booth.start(ENTRY, {**WARM, "PATH": "/usr/bin:/bin"}, "--entrypoint", "")

    assert booth.exit_code() == 64
    assert "this image has no jupyterhub-singleuser on PATH" in booth.log()


def test_an_image_whose_jupyterhub_singleuser_is_no_script_says_so(booth: Booth) -> None:
    make = "printf hello > /tmp/jupyterhub-singleuser; chmod +x /tmp/jupyterhub-singleuser; "
    command = ("/bin/sh", "-c", make + "PATH=/tmp:$PATH exec sh /greenroom/entry.sh")
    booth.start(command, WARM)

    assert booth.exit_code() == 65
    assert "does not begin with an interpreter line" in booth.log()


@pytest.mark.parametrize("flavour", ["demo", "plain"])
def test_the_image_keeps_nothing_of_the_machine_that_built_it(
    docker: Docker, image: str, flavour: str
) -> None:
    chosen = image if flavour == "demo" else PLAIN_TAG
    asked = 'test ! -e /trust && test ! -e /etc/pip.conf && grep -c "BEGIN" "$0"; pip config list'
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    name = docker.run(chosen, ("-c", asked, bundle), "--entrypoint", "sh", "--network", "none")

    assert docker("wait", name).strip() == "0"
    assert docker("logs", name).split()[1:] == []


def test_a_lease_that_needs_a_new_interpreter_is_served_and_says_why_it_was_slow(
    booth: Booth, lease: dict[str, str]
) -> None:
    booth.start(ENTRY, WARM)
    booth.wait_until_warm()
    answers = booth.activate(environment={**lease, "PYTHONUNBUFFERED": "1"})

    assert [next(iter(answer)) for answer in answers] == ["accepted", "serving"]
    assert answers[1]["cold"] == "PYTHONUNBUFFERED must be set before Python starts"
    assert "version" in booth.play("-c", ASK)
