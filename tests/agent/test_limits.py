"""How many at once on one node: creates are few, activations take turns, logs are short-lived."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from controlplane.messages import NotebookGone, RunActivated, WarmupReady
from tests.agent.theatre import DEADLINE_SECONDS, Theatre
from workers.agent import dead, recipe, syscalls
from workers.agent.dead import Dead

simulated = pytest.mark.parametrize("either", ["simulated"], indirect=True)


async def until(fact: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not fact():  # noqa: ASYNC110 the fact is the agent's and tells nobody
            await asyncio.sleep(0.01)


async def warmed(theatre: Theatre, count: int) -> list[str]:
    orders = [theatre.create_order() for _ in range(count)]
    for order in orders:
        await theatre.take(order)
    await theatre.reported.wait(WarmupReady, times=count)
    return [order.notebook for order in orders]


@simulated
async def test_no_more_are_made_at_once_than_the_node_allows(
    either_theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre, engine = either_theatre, either_theatre.engine
    await warmed(theatre, 1)  # with it the rehearsal
    allowed = asyncio.Event()
    made: list[str] = []
    create = engine.create

    async def slow(name: str, config: Mapping[str, Any]) -> str:
        made.append(name)
        await allowed.wait()
        return await create(name, config)

    monkeypatch.setattr(engine, "create", slow)
    orders = [theatre.create_order() for _ in range(5)]
    for order in orders:
        await theatre.take(order)
    await until(lambda: len(made) == theatre.settings.node.creates)
    # The agent has had time for something else, and for a third one.
    await theatre.take(theatre.retire_order(theatre.create_order().notebook))
    await theatre.reported.wait(NotebookGone)
    at_once = list(made)
    allowed.set()
    await theatre.reported.wait(WarmupReady, times=6)

    assert len(at_once) == theatre.settings.node.creates
    # In any order: each is written down on a thread of its own first.
    assert set(at_once) < set(made)
    assert set(made) == {theatre.container_name(order.notebook) for order in orders}


@simulated
async def test_warming_has_few_cpu_shares_and_ready_has_its_own(
    either_theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre, engine = either_theatre, either_theatre.engine
    begun: dict[str, int] = {}
    given: list[tuple[str, int, int]] = []
    create = engine.create

    async def noted(name: str, config: Mapping[str, Any]) -> str:
        container = await create(name, config)
        begun[container] = config["HostConfig"]["CpuShares"]
        return container

    async def shares(container: str, count: int) -> None:
        given.append((container, count, len(theatre.reported.of(WarmupReady))))

    monkeypatch.setattr(engine, "create", noted)
    monkeypatch.setattr(engine, "set_cpu_shares", shares)
    await warmed(theatre, 1)
    (ready,) = theatre.reported.of(WarmupReady)

    assert begun[ready.container] == recipe.WARMING_SHARES
    assert recipe.WARMING_SHARES < recipe.READY_SHARES
    # Before anybody was told that it is ready.
    assert given == [(ready.container, recipe.READY_SHARES, 0)]


@simulated
async def test_activations_take_turns_in_their_order_and_waiting_is_a_stage_of_its_own(
    either_theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre, turns = either_theatre, either_theatre.agent.node.turns
    notebooks = await warmed(theatre, 3)
    bound: list[Path] = []
    bind = syscalls.bind

    def noted(home: int, place: Path, *, read_only: bool) -> None:
        bound.append(place)
        bind(home, place, read_only=read_only)

    monkeypatch.setattr(syscalls, "bind", noted)
    while not turns.locked():
        await turns.acquire()
    for count, notebook in enumerate(notebooks, start=1):
        theatre.home_of(f"user{count}")
        await theatre.take(theatre.activate_order(notebook, f"user{count}"))
        await until(lambda queued=count: waiting(turns) == queued)  # type: ignore[misc]
    bound_without_a_turn = list(bound)
    turns.release()
    await theatre.reported.wait(RunActivated, times=3)

    assert bound_without_a_turn == []
    assert bound == [theatre.agent.node.slots.home(notebook) for notebook in notebooks]
    assert all(report.stages["turn"] > 0 for report in theatre.reported.of(RunActivated))


def waiting(turns: asyncio.Semaphore) -> int:
    return len(turns._waiters or ())


def test_of_a_dead_notebook_s_log_the_end_is_kept_for_nobody_else_to_read(tmp_path: Path) -> None:
    log = b"x" * dead.KEPT_BYTES + b"its last words"

    Dead(tmp_path / "dead").keep("n1", log)

    (file,) = (tmp_path / "dead").iterdir()
    assert file.read_bytes() == log[-64 * 1024 :]
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_dead_notebook_s_log_goes_after_seven_days(tmp_path: Path) -> None:
    kept = Dead(tmp_path)
    for name, days in (("old", 7.01), ("young", 6.99)):
        kept.keep(name, b"words")
        then = time.time() - days * 24 * 3600
        os.utime(tmp_path / f"{name}.log", (then, then))

    kept.prune()

    assert [file.name for file in tmp_path.iterdir()] == ["young.log"]
