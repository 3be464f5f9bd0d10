"""`scripts/bench endure`: hundreds of leases on real Docker, one after the other.

A few people at a time start, look whether the home that they find is their own, and leave,
until so many leases were had. At the end: was a notebook given twice, was anybody lost, and
does the memory of agent and workers still lie where it lay.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import bursts, hubs, memory, report, stock
from benchmarks.bursts import Theatre
from benchmarks.people import Crowd, Seen
from benchmarks.runs import Log, Run
from benchmarks.schedule import Step
from scripts.stack import demo
from scripts.stack.places import CHECKOUT
from scripts.stack.proof import Stopwatch, exactly

MARK = "whose.txt"
SAMPLE_EVERY = 10
# On two cores a lease costs a warm-up, an activation and a removal.
SECONDS_EACH = 1.7
LEAST_SECONDS = 600.0


def main(arguments: Sequence[str]) -> int:
    told = _parse(arguments)
    step = Step(hub="greenroom", users=told.leases, number=0, warm=told.warm, scene="endure")
    expected = 120 + 1.4 * told.warm + SECONDS_EACH * told.leases
    print(
        f"{told.leases} leases, {told.people} people at a time on {told.warm} warm: "
        f"about {expected / 60:.0f} minutes, never more than {_at_most(told) / 60:.0f}"
    )
    log = Log(CHECKOUT / told.out / "runs.jsonl", go_on=told.go_on)
    about = log.about(["scripts/bench", "endure", *arguments])
    try:
        with hubs.running(warm=told.warm, kinds=("greenroom",)) as (stack, started):
            log.add(asyncio.run(_all(stack, started, step, told)))
    finally:
        good = report.tell(log, about)
    return 0 if good else 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench endure", description=__doc__)
    parser.add_argument("--leases", type=int, default=500, help="in all")
    parser.add_argument("--people", type=int, default=4, help="at a time")
    parser.add_argument("--warm", type=int, default=12, help="the pool's target")
    parser.add_argument("--out", default=".greenroom/bench/out", help="directory of results")
    parser.add_argument("--go-on", action="store_true", help="add to the results that are there")
    parser.add_argument("--at-most", type=float, help="minutes after which it stops")
    return parser.parse_args(arguments)


def _at_most(told: argparse.Namespace) -> float:
    given: float | None = told.at_most
    return 60 * given if given else LEAST_SECONDS + 2 * SECONDS_EACH * int(told.leases)


async def _all(
    stack: demo.Demo, started: dict[str, hubs.Hub], step: Step, told: argparse.Namespace
) -> Run:
    async with stock.watching(stack) as held:
        theatre = Theatre(stack=stack, hubs=started, stock=held, say=report.say)
        report.say(f"   {step.warm} notebooks are warmed")
        await held.wait_ready(step.warm, seconds=bursts.REST_SECONDS)
        await bursts.warm_up(theatre, step.warm)
        house = House(theatre, step)
        try:
            async with asyncio.timeout(_at_most(told)):
                await house.fill(told.people)
        except bursts.TROUBLES as error:
            house.problem = f"{type(error).__name__}: {error}"
        return await house.judged()


class House:
    """Leases as they come, and what was seen of memory meanwhile."""

    def __init__(self, theatre: Theatre, step: Step) -> None:
        self.problem = ""
        self._theatre = theatre
        self._step = step
        self._seen: list[Seen] = []
        self._series: dict[str, list[tuple[float, float]]] = {}
        self._coming = iter(theatre.people(step.users))

    async def fill(self, people: int) -> None:
        """So many people at a time, until everybody was there once."""
        clock = Stopwatch()
        await asyncio.gather(*(self._one_after_the_other(clock) for _ in range(people)))
        await self._theatre.stock.wait_rest(self._step.warm, seconds=bursts.REST_SECONDS)

    async def judged(self) -> Run:
        """The run, with whatever is wrong at the end: doubled, lost, broken."""
        held = self._theatre.stock
        users = [seen.user for seen in self._seen]
        facts = {
            "doubled": sorted({*await held.doubled(), *_activated_twice(self._theatre)}),
            "lost": await held.open_leases(),
            "broken": await held.broken(),
            "memory": memory.drift(self._series),
        }
        return Run(
            hub="greenroom",
            users=self._step.users,
            scene="endure",
            seen=tuple(self._seen),
            stages=self._theatre.stages(users),
            warm=self._step.warm,
            cold=await held.cold(users),
            series=self._series,
            facts=facts,
            problem=self.problem,
        )

    async def _one_after_the_other(self, clock: Stopwatch) -> None:
        for user in self._coming:
            mark = secrets.token_hex(16)
            (self._theatre.stack.homes / user / MARK).write_text(mark)
            async with self._theatre.crowd("greenroom", [user]) as crowd:
                self._seen.append(await self._visit(crowd, user, mark, clock))
            if len(self._seen) % SAMPLE_EVERY == 0:
                self._look(clock)

    async def _visit(self, crowd: Crowd, user: str, mark: str, clock: Stopwatch) -> Seen:
        try:
            await crowd.register()
            seen = await crowd.start(user, clock)
            if not seen.problem and (found := await _whose(crowd, user)) != mark:
                seen = replace(seen, problem=f"{user} found another's home: {found[:60]}")
        except bursts.TROUBLES as error:
            seen = Seen(user=user, ready_ms=None, problem=str(error)[:300] or repr(error))
        finally:
            left = await crowd.stop(user)
        return replace(seen, problem=left) if left and not seen.problem else seen

    def _look(self, clock: Stopwatch) -> None:
        done = len(self._seen)
        for name, mib in memory.of(bursts.control_plane(self._theatre.stack)).items():
            self._series.setdefault(name, []).append((done, mib))
        if done % 50 == 0:
            failed = sum(1 for seen in self._seen if seen.problem)
            minutes = clock() / 60000
            self._theatre.say(f"   {done} leases after {minutes:.1f} minutes, {failed} failed")


async def _whose(crowd: Crowd, user: str) -> str:
    """What the notebook shows as the mark in its home."""
    visit = crowd.visits[user]
    url = exactly(f"{visit.of_notebook}/api/contents/{MARK}?content=1")
    async with visit.session.get(url) as answer:
        if answer.status != 200:
            return f"status {answer.status}: {(await answer.text())[:200]}"
        return str((await answer.json())["content"])


def _activated_twice(theatre: Theatre) -> list[str]:
    """Notebooks that took two orders, by what the agent said when it handed them over."""
    return memory.twice(Path(theatre.stack.place.log / "agent.log"), "notebook.activated")
