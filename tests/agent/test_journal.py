"""The journal: what was written holds, whatever a crash left behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.errors import BadSettings
from controlplane.model.pool import ContainerSpec
from workers.agent import epoch
from workers.agent.journal import Entry, Journal


def entry(**changes: object) -> Entry:
    spec = ContainerSpec(image="demo")
    first = {
        "notebook": "n1",
        "pool": "demo",
        "revision": 1,
        "spec_hash": spec.hash(),
        "spec": spec,
        "phase": "creating",
        "budget_ms": 1000,
    }
    return Entry.model_validate({**first, **changes})


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "journal")
    journal.open()
    return journal


def test_the_last_step_holds(journal: Journal) -> None:
    journal.write(entry())
    journal.write(entry(phase="ready", port=12345))

    assert journal.load() == ([entry(phase="ready", port=12345)], [])


@pytest.mark.parametrize("kept", range(0, 200, 7))
def test_a_torn_last_line_leaves_the_step_before_it(
    journal: Journal, tmp_path: Path, kept: int
) -> None:
    file = tmp_path / "journal" / "n1.jsonl"
    journal.write(entry())
    whole = file.read_bytes()
    journal.write(entry(phase="ready"))
    torn = file.read_bytes()[: len(whole) + kept]

    file.write_bytes(torn)
    before, _ = journal.load()
    journal.write(entry(phase="warming"))
    after, _ = journal.load()

    assert before == [entry()]
    assert after == [entry(phase="warming")]


def test_a_file_without_a_whole_line_is_named_and_loses_nobody_else(
    journal: Journal, tmp_path: Path
) -> None:
    journal.write(entry())
    torn = tmp_path / "journal" / "n2.jsonl"
    torn.write_text('{"notebook"')

    assert journal.load() == ([entry()], [torn])


def test_a_forgotten_notebook_is_not_loaded(journal: Journal) -> None:
    journal.write(entry())
    journal.forget("n1")

    assert journal.load() == ([], [])


def test_an_epoch_is_newer_than_the_last_and_than_the_clock(tmp_path: Path) -> None:
    first = epoch.next_epoch(tmp_path, 1000.5)
    with_a_clock_set_back = epoch.next_epoch(tmp_path, 10.0)
    later = epoch.next_epoch(tmp_path, 5000.0)

    assert (first, with_a_clock_set_back, later) == (1000, 1001, 5000)


def test_a_lost_or_torn_epoch_starts_from_the_clock(tmp_path: Path) -> None:
    (tmp_path / "epoch").write_text("")

    assert epoch.next_epoch(tmp_path, 77.0) == 77


def test_a_stamp_counts_up() -> None:
    stamp = epoch.Stamp("node1", 5)

    assert [stamp.next()["seq"] for _ in range(3)] == [1, 2, 3]
    assert stamp.next()["epoch"] == 5


def test_two_agents_never_share_a_state_directory(tmp_path: Path) -> None:
    first = epoch.lock(tmp_path)

    with pytest.raises(BadSettings, match="another agent"):
        epoch.lock(tmp_path)

    epoch.unlock(first)
    epoch.unlock(epoch.lock(tmp_path))
