"""The first process of a notebook that will run as its person, in real containers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import pytest

from tests.notebook.containers import ENTRY, Booth, Docker

pytestmark = pytest.mark.engine
STOCK = ("tini", "-g", "--", "start.sh")
ANN = {"uid": 2001, "gid": 3001, "groups": [100, 5001], "name": "ann", "home": "/home/jovyan"}
CAPABILITIES = ("SETUID", "SETGID", "SETPCAP")
OWN_HOME = """
import os
os.chown("/home/jovyan", 2001, 3001)
os.chmod("/home/jovyan", 0o700)
"""

# A module of an image that leaves a thread behind when it is imported.
THREADED = """
import json, sys
with open("/run/greenroom/leaves_a_thread.py", "w") as file:
    file.write("import threading\\n"
               "threading.Thread(target=threading.Event().wait, daemon=True).start()")
essential = ["jupyterhub.log", "jupyter_server.serverapp", "tornado.httpclient"]
with open("/run/greenroom/record.json", "w") as file:
    json.dump({"modules": ["leaves_a_thread", *essential]}, file)
"""
TASKS = """
import glob
for path in glob.glob("/proc/[0-9]*/task/*/status"):
    told = dict(line.split(":", 1) for line in open(path))
    ids = [told[name].split()[1] for name in ("Uid", "Gid")]
    print(path.split("/")[2], *ids, told["CapPrm"].strip())
"""


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
    told = inside("rehearsal").environment("/home/jovyan", port=8888, hub_port=8081)
    return {name: value for name, value in told.items() if name.startswith("JUPYTERHUB_")}


def begin(
    booth: Booth,
    *,
    entry_point: Sequence[str] = STOCK,
    user: str = "1000",
    capabilities: Sequence[str] = CAPABILITIES,
    **more: str,
) -> None:
    """As the agent's recipe does it."""
    first = json.dumps({"entrypoint": list(entry_point), "user": user})
    able = [word for name in capabilities for word in ("--cap-add", name)]
    environment = {"GREENROOM_NOTEBOOK": "n1", "GREENROOM_FIRST": first, **more}
    booth.start(
        ENTRY[1:], environment, "--user", "0:0", "--cap-drop", "ALL", *able,
        "--security-opt", "no-new-privileges", "--entrypoint", ENTRY[0],
    )  # fmt: skip


def test_a_person_has_a_terminal_of_their_own_in_a_home_that_is_closed_to_root(
    booth: Booth, lease: dict[str, str]
) -> None:
    begin(booth)
    booth.wait_until_warm()
    booth.play("-c", OWN_HOME)
    answers = booth.activate(environment=lease, identity=ANN)
    assert answers[-1].get("serving") == "L", booth.log()
    shown = json.loads(booth.play("/inside/terminal.py"))

    assert shown == [
        "uid=2001(ann) gid=3001(ann) groups=3001(ann),100(users),5001(g5001)",
        "ann",
        "/home/jovyan",
        "/home/jovyan",
        "ann users g5001",
    ]


def test_a_person_whose_packages_need_a_new_interpreter_is_still_themselves(
    booth: Booth, lease: dict[str, str]
) -> None:
    begin(booth)
    booth.wait_until_warm()
    booth.play("-c", OWN_HOME)
    answers = booth.activate(environment={**lease, "PYTHONUNBUFFERED": "1"}, identity=ANN)
    shown = json.loads(booth.play("/inside/terminal.py"))

    assert answers[-1].get("cold"), booth.log()
    assert shown[1:3] == ["ann", "/home/jovyan"]


def test_threads_of_the_image_become_the_person_too(booth: Booth, lease: dict[str, str]) -> None:
    booth.play("-c", THREADED)
    begin(booth, PYTHONPATH="/run/greenroom")
    booth.wait_until_warm()
    booth.play("-c", OWN_HOME)
    answers = booth.activate(environment=lease, identity=ANN)
    assert answers[-1].get("serving") == "L", booth.log()
    tasks = booth.docker("exec", "--user", "2001", booth.notebook, "python3", "-c", TASKS)

    held = [line.split() for line in tasks.splitlines()]
    assert len(held) > len({process for process, *_ in held})
    assert {tuple(rest) for _, *rest in held} == {("2001", "3001", "0000000000000000")}


def test_without_the_capabilities_it_says_which_are_missing(booth: Booth) -> None:
    begin(booth, capabilities=("SETUID", "SETGID"))

    assert booth.exit_code() == 71
    assert "SETPCAP" in booth.log()


@pytest.mark.parametrize(
    ("entry_point", "code", "said"),
    [
        (("true",), 72, "did not run its command"),
        (("sh", "-c", "echo no; exit 9"), 9, "no"),
        (("no-such-program",), 71, "FileNotFoundError"),
    ],
)
def test_an_entry_point_that_does_not_come_to_its_end_says_so(
    booth: Booth, entry_point: Sequence[str], code: int, said: str
) -> None:
    begin(booth, entry_point=entry_point)

    assert booth.exit_code() == code
    assert said in booth.log()


def test_the_entry_point_of_an_image_that_begins_as_root_gets_nothing_of_roots(
    booth: Booth,
) -> None:
    check = 'id; grep -h ^Cap /proc/self/status; exec "$@"'
    begin(booth, entry_point=("sh", "-c", check, "sh"), user="root")
    booth.wait_until_warm()
    log = booth.log()

    # The image names its user in NB_UID, and no first word of tini's comes before.
    assert log.splitlines()[0] == "uid=1000(jovyan) gid=100(users) groups=100(users)"
    assert log.count("0000000000000000") == 5
