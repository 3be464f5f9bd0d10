"""Every failpoint in the code is known, has a story in which it kills, and a row in the docs."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import failpoints
from controlplane.errors import BadSettings
from tests.crashes.stories import STORIES

ROOT = Path(__file__).parents[2]
ROOMS = ("controlplane", "workers", "notebook")
ALLOWED = {failpoints.SWITCH: "yes"}


def reached() -> Iterator[str]:
    """The name in each call of `reach`; a name that is not written there cannot be counted."""
    files = (file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reach":
                name = node.args[0]
                assert isinstance(name, ast.Constant), f"{file}: {ast.unparse(node)}"
                yield str(name.value)


@pytest.fixture(autouse=True)
def _unarmed() -> Iterator[None]:
    yield
    failpoints.arm({})


def test_each_failpoint_is_in_the_code_once_and_none_is_there_unknown() -> None:
    assert Counter(reached()) == dict.fromkeys(failpoints.POINTS, 1)


def test_each_failpoint_has_a_story_that_kills_there() -> None:
    assert set(STORIES) == {where for where, _ in failpoints.cases()}


def test_each_failpoint_has_its_row_in_the_docs_and_every_row_a_failpoint() -> None:
    text = (ROOT / "docs" / "failpoints.md").read_text()
    rows = re.findall(
        r"^\| `([a-z_.\[\]]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", text, re.M
    )

    told = [(name, rows_, processes, says) for name, rows_, processes, says in rows]

    assert told == [
        (where, point.rows, ", ".join(processes), point.says)
        for name, point in failpoints.POINTS.items()
        for where, processes in whose(name, point)
    ]


def whose(name: str, point: failpoints.Point) -> Iterator[tuple[str, tuple[str, ...]]]:
    for kind, processes in point.reached.items():
        yield (f"{name}[{kind}]" if kind else name), processes


@pytest.mark.parametrize("name", ["lease", "refill", "liveness", "suspect", "agent", "hub"])
def test_every_process_is_killed_somewhere(name: str) -> None:
    assert name in {process for _, process in failpoints.cases()}


def test_nothing_happens_where_nothing_is_armed() -> None:
    failpoints.arm({})

    for name in failpoints.POINTS:
        failpoints.reach(name)


def test_it_is_refused_without_the_switch_for_tests() -> None:
    with pytest.raises(BadSettings, match="for tests only: unset it"):
        failpoints.arm({failpoints.VARIABLE: "lease.request.popped"})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lease.request.popped:explode", "kill|hang|raise"),
        ("lease.request.popped@0", "kill|hang|raise"),
        ("lease.request.eaten", "no such name"),
        ("message.acked", "no such name"),
        ("message.acked[lease.nothing]", "no such name"),
        ("", "kill|hang|raise"),
    ],
)
def test_what_cannot_be_armed_is_refused(spec: str, said: str) -> None:
    with pytest.raises(BadSettings, match=re.escape(said)):
        failpoints.arm({failpoints.VARIABLE: spec, **ALLOWED})


def test_it_strikes_at_the_nth_time_and_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    failpoints.arm({failpoints.VARIABLE: "lease.request.popped:raise@2", **ALLOWED})

    failpoints.reach("lease.request.popped")
    failpoints.reach("lease.request.received")
    with pytest.raises(failpoints.Reached, match=re.escape("lease.request.popped")):
        failpoints.reach("lease.request.popped")
    failpoints.reach("lease.request.popped")

    said = capfd.readouterr().err
    assert "failpoint.armed" in said
    assert "failpoint.reached: raise at lease.request.popped" in said


def test_a_kind_of_message_is_told_from_another() -> None:
    failpoints.arm({failpoints.VARIABLE: "message.acked[lease.request]:raise", **ALLOWED})

    failpoints.reach("message.acked", "lease.release.v1")
    with pytest.raises(failpoints.Reached):
        failpoints.reach("message.acked", "lease.request.v1")
