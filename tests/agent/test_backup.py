"""Homes of another root while the pool's own does not answer; on both engines."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from controlplane.messages import NodeInventory, RunActivated, RunRefused, WarmupReady
from controlplane.model.pool import Storage
from tests.agent.test_adoption import no_turns
from tests.agent.test_limits import until
from tests.agent.theatre import Theatre
from workers.agent import roots

WRITES = "open('/home/jovyan/new.txt', 'w').write('mine')"


@pytest.fixture
def theatre(either_theatre: Theatre) -> Theatre:
    """On both engines. Its file server is one that a busy machine waits for."""
    patient(either_theatre)
    return either_theatre


def patient(theatre: Theatre) -> None:
    theatre.agent.node.roots.seconds = 120.0


def storage_of(theatre: Theatre, **changes: Any) -> Storage:
    """A root that is not there, and a backup with alice's home in it."""
    copy = theatre.folder / "copy"
    home = copy / "alice"
    home.mkdir(parents=True)
    (home / "letter.txt").write_text("of yesterday")
    os.chown(home, 1000, 100)
    given = {"root": str(theatre.folder / "nfs"), "backup": str(copy), **changes}
    return Storage.model_validate(given)


def mend(theatre: Theatre) -> None:
    """The file server is back, with alice's home."""
    home = theatre.folder / "nfs" / "alice"
    home.mkdir(parents=True)
    (home / "letter.txt").write_text("of today")
    os.chown(home, 1000, 100)


async def warm(theatre: Theatre, storage: Storage) -> str:
    order = theatre.create_order(spec=theatre.spec(storage=storage))
    await theatre.take(order)
    await theatre.reported.wait(WarmupReady, fits=lambda r: r.notebook == order.notebook)
    return order.notebook


async def activated(theatre: Theatre, notebook: str) -> RunActivated:
    command = theatre.activate_order(notebook)
    await theatre.take(command)
    return await theatre.reported.wait(RunActivated, fits=lambda r: r.lease == command.lease)


async def refused(theatre: Theatre, notebook: str, user: str = "alice") -> RunRefused:
    command = theatre.activate_order(notebook, user)
    await theatre.take(command)
    return await theatre.reported.wait(RunRefused, fits=lambda r: r.lease == command.lease)


def home_of(theatre: Theatre, notebook: str) -> Path:
    """What is mounted where this notebook has its home."""
    return theatre.agent.node.slots.home(notebook)


def is_read_only(home: Path) -> bool:
    return bool(os.statvfs(home).f_flag & os.ST_RDONLY)


async def inside(theatre: Theatre, notebook: str, code: str) -> str:
    """What this Python says from inside the notebook, as its user."""
    container = await theatre.peek.containers.get(theatre.container_name(notebook))
    run = await container.exec(["python3", "-c", code])
    said = b""
    async with run.start(detach=False) as stream:
        while message := await stream.read_out():
            said += message.data
    return said.decode()


def given(access: str) -> float:
    name = "greenroom_activations_on_backup_total"
    return REGISTRY.get_sample_value(name, {"access": access}) or 0.0


async def test_people_get_the_backup_read_only_and_their_home_again_when_it_answers(
    theatre: Theatre,
) -> None:
    storage = storage_of(theatre)
    before = given("ro")
    notebook, later = await warm(theatre, storage), await warm(theatre, storage)

    on_backup = await activated(theatre, notebook)
    seen = (home_of(theatre, notebook) / "letter.txt").read_text()
    read_only = is_read_only(home_of(theatre, notebook))
    await theatre.settled(notebook)
    counted = given("ro") - before
    await theatre.agent.send_inventory()
    (held,) = [
        each
        for each in (await theatre.reported.wait(NodeInventory)).held
        if each.notebook == notebook
    ]
    mend(theatre)
    theatre.agent.node.roots.look_again()
    await theatre.agent.node.roots.asking(storage.root)
    home_again = await activated(theatre, later)

    assert (on_backup.home, home_again.home) == ("backup-ro", "")
    assert (seen, read_only, counted) == ("of yesterday", True, 1)
    assert (held.state, held.home) == ("serving", "backup-ro")
    assert (home_of(theatre, later) / "letter.txt").read_text() == "of today"
    assert not is_read_only(home_of(theatre, later))
    # Whoever has the backup keeps it: nothing is changed below a server that runs.
    assert (home_of(theatre, notebook) / "letter.txt").read_text() == "of yesterday"


async def test_a_root_that_hangs_holds_one_thread_and_nobody_up(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_of(theatre)
    mend(theatre)
    answers = threading.Event()
    asked: list[str] = []

    def look(root: str) -> str:
        asked.append(root)
        if root == storage.root:
            answers.wait()
        return roots.look(root)

    node = theatre.agent.node
    monkeypatch.setattr(node.roots, "_look_at", look)
    try:
        node.roots.seconds = 0.05
        await node.roots.trouble(storage.root)
        patient(theatre)
        first = await activated(theatre, await warm(theatre, storage))
        second = await activated(theatre, await warm(theatre, storage))
    finally:
        answers.set()

    assert (first.home, second.home) == ("backup-ro", "backup-ro")
    assert asked.count(storage.root) == 1


async def test_a_backup_to_write_in_is_written_in_and_a_missing_home_made_there(
    theatre: Theatre,
) -> None:
    storage = storage_of(theatre, backup_access="rw", create_missing=True)
    os.rename(theatre.folder / "copy" / "alice", theatre.folder / "copy" / "bob")
    notebook = await warm(theatre, storage)

    on_backup = await activated(theatre, notebook)

    assert on_backup.home == "backup-rw"
    assert not is_read_only(home_of(theatre, notebook))
    assert (theatre.folder / "copy" / "alice").stat().st_mode & 0o777 == 0o700


async def test_a_home_that_is_missing_on_a_root_that_answers_is_no_reason_for_the_backup(
    theatre: Theatre,
) -> None:
    storage = storage_of(theatre)
    (theatre.folder / "nfs").mkdir()
    notebook = await warm(theatre, storage)

    said = await refused(theatre, notebook)

    assert (said.reason, said.terminal) == ("home_missing", True)
    assert str(theatre.folder / "nfs" / "alice") in said.detail


async def test_a_home_that_the_backup_has_not_may_be_tried_on_another_node_and_is_never_made(
    theatre: Theatre,
) -> None:
    storage = storage_of(theatre, create_missing=True)
    notebook = await warm(theatre, storage)

    said = await refused(theatre, notebook, "bob")

    assert (said.reason, said.terminal) == ("home_unreachable", False)
    assert f"{storage.root} does not answer" in said.detail
    assert str(theatre.folder / "copy" / "bob") in said.detail
    assert os.listdir(theatre.folder / "copy") == ["alice"]


async def test_a_root_that_goes_away_while_its_home_is_opened_gives_the_backup(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_of(theatre)
    notebook = await warm(theatre, storage)
    said = iter(("",))
    # It answers once; it is not there when it is opened.
    monkeypatch.setattr(
        theatre.agent.node.roots, "_look_at", lambda root: next(said, roots.look(root))
    )

    on_backup = await activated(theatre, notebook)

    assert on_backup.home == "backup-ro"


async def test_a_notebook_that_an_earlier_agent_meant_for_the_backup_stays_on_it(
    theatre: Theatre,
) -> None:
    storage = storage_of(theatre)
    notebook = await warm(theatre, storage)
    order = theatre.activate_order(notebook)
    item = theatre.agent.node.registry.get(notebook)
    assert item is not None
    async with no_turns(theatre):
        await theatre.take(order)
        await until(lambda: item.entry.run is not None and item.entry.run.home != "")
        mend(theatre)
        await theatre.restart()
    patient(theatre)

    await theatre.take(order)
    on_backup = await theatre.reported.wait(RunActivated)

    assert on_backup.home == "backup-ro"
    assert (home_of(theatre, notebook) / "letter.txt").read_text() == "of yesterday"


@pytest.mark.parametrize(
    "either", [pytest.param("docker", marks=pytest.mark.engine)], indirect=True
)
async def test_a_server_serves_on_a_backup_that_refuses_to_be_written_from_inside(
    theatre: Theatre,
) -> None:
    notebook = await warm(theatre, storage_of(theatre))

    await activated(theatre, notebook)
    said = await inside(theatre, notebook, WRITES)
    letter = await inside(theatre, notebook, "print(open('/home/jovyan/letter.txt').read())")

    assert "Read-only file system: '/home/jovyan/new.txt'" in said
    assert letter.strip() == "of yesterday"
    assert os.listdir(theatre.folder / "copy" / "alice") == ["letter.txt"]
