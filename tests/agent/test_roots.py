"""A pool's own root, its backup, or nothing: decided purely, and asked without hanging."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.model.pool import Storage
from workers.agent.homes import HomeUnreachable
from workers.agent.roots import Choice, Roots, choose, look

DEADLINE_SECONDS = 60.0


@pytest.mark.parametrize(
    ("primary", "backup", "chosen"),
    [
        ("", "", "primary"),
        ("", "no answer in 2 s", "primary"),
        ("no answer in 2 s", "", "backup"),
        ("Stale file handle", "No such file or directory", "refuse"),
    ],
)
def test_the_backup_is_for_when_the_primary_does_not_answer_and_it_does(
    primary: str, backup: str, chosen: Choice
) -> None:
    assert choose(primary, backup) == chosen


class Farm:
    """Roots of which some hang until they are let go; who asked what is remembered."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken: dict[str, str] = {}
        self.hung: dict[str, threading.Event] = {}

    def hang(self, root: str) -> None:
        self.hung[root] = threading.Event()

    def let_go(self, root: str) -> None:
        self.hung.pop(root).set()

    def look(self, root: str) -> str:
        self.asked.append(root)
        if root in self.hung:
            self.hung[root].wait()
        return self.broken.get(root, "")


@pytest.fixture
def farm() -> Iterator[Farm]:
    farm = Farm()
    yield farm
    for root in list(farm.hung):
        farm.let_go(root)


@pytest.fixture
def roots(farm: Farm) -> Roots:
    """As patient as a busy machine needs; who waits for what hangs says how long."""
    roots = Roots(farm.look)
    roots.seconds = DEADLINE_SECONDS
    return roots


async def hangs(farm: Farm, roots: Roots, root: str) -> str:
    """What is said of a root that hangs from now on."""
    farm.hang(root)
    roots.seconds = 0.05
    said = await roots.trouble(root)
    roots.seconds = DEADLINE_SECONDS
    return said


STORAGE = Storage(root="/nfs", backup="/copy")


async def test_a_primary_that_answers_is_taken_and_its_backup_not_asked(
    farm: Farm, roots: Roots
) -> None:
    root = await roots.where(STORAGE)

    assert (root.storage, root.kind) == (STORAGE, "")
    assert farm.asked == ["/nfs"]


async def test_a_primary_that_fails_gives_its_people_to_the_backup(
    farm: Farm, roots: Roots
) -> None:
    farm.broken["/nfs"] = "Stale file handle"

    root = await roots.where(STORAGE)

    assert (root.storage.root, root.storage.read_only, root.kind) == ("/copy", True, "backup-ro")
    assert "/nfs does not answer on this node (Stale file handle)" in root.why


async def test_without_an_answer_of_either_nobody_gets_a_home_and_both_reasons_are_said(
    farm: Farm, roots: Roots
) -> None:
    farm.broken |= {"/nfs": "Stale file handle", "/copy": "No such file or directory"}

    with pytest.raises(HomeUnreachable, match=r"Stale file handle.*/copy \(No such file"):
        await roots.where(STORAGE)


async def test_a_root_that_hangs_is_given_up_and_not_asked_again_while_it_hangs(
    farm: Farm, roots: Roots
) -> None:
    said = await hangs(farm, roots, "/nfs")

    async with asyncio.timeout(DEADLINE_SECONDS / 2):
        everybody = await asyncio.gather(*(roots.where(STORAGE) for _ in range(40)))
    roots.look_again()
    roots.look_again()

    assert said == "no answer in 0.05 s"
    assert {root.kind for root in everybody} == {"backup-ro"}
    assert farm.asked.count("/nfs") == 1


async def test_a_burst_asks_a_root_that_hangs_once(farm: Farm, roots: Roots) -> None:
    farm.hang("/nfs")
    roots.seconds = 0.05

    await asyncio.gather(*(roots.trouble("/nfs") for _ in range(40)))

    assert farm.asked == ["/nfs"]


async def test_a_primary_that_answers_again_is_taken_again_by_itself(
    farm: Farm, roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.agent.roots.AGAIN_SECONDS", 0.01)
    farm.broken["/nfs"] = "Stale file handle"
    before = await roots.where(STORAGE)
    looking = asyncio.create_task(roots.keep_looking())
    farm.broken.clear()

    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await roots.where(STORAGE)).kind:
            await roots.asking("/nfs")
    looking.cancel()

    assert before.kind == "backup-ro"


async def test_an_answer_that_came_too_late_is_no_answer_and_the_next_one_is(
    farm: Farm, roots: Roots
) -> None:
    await hangs(farm, roots, "/nfs")
    looking = roots.asking("/nfs")
    farm.let_go("/nfs")
    await looking
    late = await roots.where(STORAGE)

    roots.look_again()
    await roots.asking("/nfs")
    now = await roots.where(STORAGE)

    assert (late.kind, now.kind) == ("backup-ro", "")


async def test_a_look_that_nobody_waits_for_any_more_does_not_end_with_its_person(
    farm: Farm, roots: Roots
) -> None:
    farm.hang("/nfs")
    cancelled = asyncio.create_task(roots.trouble("/nfs"))
    await asyncio.sleep(0)
    waits = asyncio.create_task(roots.trouble("/nfs"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    farm.let_go("/nfs")

    assert await waits == ""
    assert farm.asked == ["/nfs"]


async def test_a_node_without_a_thread_to_ask_with_asks_again_later(
    farm: Farm, roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("workers.agent.roots.threading.Thread.start", start)
        async with asyncio.timeout(DEADLINE_SECONDS / 2):
            without = await roots.trouble("/nfs")

    roots.look_again()
    await roots.asking("/nfs")

    assert (without, await roots.trouble("/nfs")) == ("can't start new thread", "")


def test_a_directory_answers_and_what_is_none_or_missing_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    said = [look(str(tmp_path / name)) for name in (".", "file", "missing")]

    assert said == ["", "Not a directory", "No such file or directory"]
