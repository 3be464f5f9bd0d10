"""Who a notebook becomes: what is no identity, and which names its container gets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.agent.peoples import be_root
from tests.notebook.conftest import NOTEBOOK, PYTHON

ANN = {"uid": 2001, "gid": 3001, "groups": [100, 5001], "name": "ann", "home": "/home/jovyan"}
PASSWD = [
    "root:x:0:0:root:/root:/bin/bash",
    "games:x:5:60:games:/usr/games:/usr/sbin/nologin",
    "jovyan:x:1000:100::/home/jovyan:/bin/bash",
]
# Nothing is imported once the interpreter's own files may be out of reach.
SWITCH = """
import os, sys
sys.path.insert(0, sys.argv[1])
import identity
identity.confine()
identity.set_capabilities(identity.SETUID, identity.SETGID)
sys.path.clear()
identity.switch({"uid": 2001, "gid": 3001, "groups": [5001, 3001]})
try:
    back = os.setuid(0)
except PermissionError:
    back = "no"
print(os.getuid(), os.getgid(), os.getgroups(), back)
"""
GROUP = ["root:x:0:", "users:x:100:", "ann:x:42:"]


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (None, "needs an identity"),
        ({**ANN, "uid": 0}, "root's"),
        ({**ANN, "groups": [0]}, "root's"),
        ({**ANN, "gid": "3001"}, "no number"),
        ({**ANN, "groups": list(range(1, 67))}, "more than 64 groups"),
        ({**ANN, "name": "ann:x:0:0::/:/bin/sh\nroot"}, "no name"),
        ({**ANN, "home": "/home/jovyan\nroot::0:0"}, "no home"),
    ],
)
def test_an_identity_that_would_be_root_or_more_than_one_entry_is_no_activation(
    inside: Callable[[str], ModuleType], identity: dict[str, Any] | None, said: str
) -> None:
    module = inside("identity")
    module.leader = object()

    assert said in module.complaint({"identity": identity} if identity else {})
    assert module.complaint({"identity": ANN}) == ""


def test_a_notebook_of_the_images_user_refuses_to_become_anybody(
    inside: Callable[[str], ModuleType],
) -> None:
    assert "image's user" in inside("identity").complaint({"identity": ANN})


def test_who_cannot_prove_to_be_the_person_ends_here() -> None:
    # This process may still gain rights, so it is not what an activation promises.
    command = "import os, identity; identity.prove(os.getuid(), os.getgid())"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=NOTEBOOK, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 71
    assert "still holds" in done.stderr


def test_a_person_who_may_not_read_the_interpreter_any_more_is_still_proven() -> None:
    be_root()
    done = subprocess.run(
        [PYTHON, "-I", "-S", "-B", "-c", SWITCH, str(NOTEBOOK)],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout.split() == ["2001", "3001", "[5001]", "no"], done.stderr


@pytest.mark.parametrize(
    ("changed", "kept", "entry"),
    [
        ({}, PASSWD, "ann:x:2001:3001::/home/jovyan:/bin/bash"),
        # As start.sh of docker-stacks does it: the image's user makes room.
        ({"uid": 1000}, PASSWD[:2], "ann:x:1000:3001::/home/jovyan:/bin/bash"),
        ({"name": "jovyan"}, PASSWD[:2], "jovyan:x:2001:3001::/home/jovyan:/bin/bash"),
        # Nobody takes a system account's name.
        ({"name": "root"}, PASSWD, "u2001:x:2001:3001::/home/jovyan:/bin/bash"),
        ({"name": "games"}, PASSWD, "u2001:x:2001:3001::/home/jovyan:/bin/bash"),
    ],
)
def test_a_person_has_one_entry_and_nobody_elses_name_or_number(
    inside: Callable[[str], ModuleType], changed: dict[str, Any], kept: list[str], entry: str
) -> None:
    made = inside("identity").with_person(PASSWD, {**ANN, **changed}, "/bin/bash")

    assert made == [*kept, entry]


def test_every_group_has_a_name_and_none_has_two_numbers(
    inside: Callable[[str], ModuleType],
) -> None:
    module = inside("identity")

    assert module.with_groups(GROUP, ANN) == [*GROUP, "g3001:x:3001:", "g5001:x:5001:"]
    assert module.with_groups(GROUP[:2], ANN)[2:] == ["ann:x:3001:", "g5001:x:5001:"]


def test_a_lease_may_say_where_home_is_and_the_rest_is_true(
    inside: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = inside("identity")
    for name, value in {"NB_USER": "jovyan", "NB_UID": "1000", "HOME": "/data/ann"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NB_GID", "USER", "LOGNAME"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("NB_GID")

    module.tell_environment(ANN, {"HOME": "/data/ann", "NB_UID": "1000"})

    names = ("HOME", "USER", "LOGNAME", "NB_USER", "NB_UID", "NB_GID")
    seen = [module.os.environ.get(name) for name in names]
    assert seen == ["/data/ann", "ann", "ann", "ann", "2001", None]
