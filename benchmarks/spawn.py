"""`scripts/bench spawn`: the same click on three hubs in turn, interleaved in one run.

Without a scene: everybody clicks at once, on as many warm notebooks and a few spare.

    --scene dry      40 people on 20 warm, beside plain bursts of 40 on the other hubs
    --scene again    a burst, another one 30 s later, and how long refill takes after that
    --scene poisson  people one by one at half of what refill can make, for ten minutes

Every run is written to runs.jsonl as soon as it is over; a benchmark that was stopped is gone
on with by the same command and --go-on, which also lets several commands share one table.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from functools import partial

from benchmarks import arrivals, bursts, hubs, report, scenes, schedule, stock
from benchmarks.bursts import Scene, Theatre
from benchmarks.hubs import Hub
from benchmarks.runs import Log
from benchmarks.schedule import KINDS, Step
from scripts.stack.demo import Demo
from scripts.stack.places import CHECKOUT

SCENES = ("burst", "dry", "again", "poisson")
# What a plan may take is more than what it should, and never without an end.
SLACK_SECONDS = 600.0


def main(arguments: Sequence[str]) -> int:
    told = _parse(arguments)
    log = Log(CHECKOUT / told.out / "runs.jsonl", go_on=told.go_on)
    steps = [step for step in _steps(told) if not log.has(step.key)]
    at_most = 60 * told.at_most if told.at_most else 2 * _seconds(steps, told) + SLACK_SECONDS
    report.say(schedule.told(steps, _seconds(steps, told), at_most))
    about = log.about(["scripts/bench", "spawn", *arguments])
    try:
        if steps:
            report.say("   services, Greenroom and the hubs are started")
            kinds = tuple(kind for kind in KINDS if any(step.hub == kind for step in steps))
            with hubs.running(warm=steps[0].warm, kinds=kinds) as (stack, started):
                asyncio.run(_all(stack, started, steps, log, told, time.monotonic() + at_most))
    finally:
        good = report.tell(log, about)
    return 0 if good and all(log.has(step.key) for step in steps) else 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench spawn",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--users", type=int, nargs="+", help="people at once (1; 40 in scenes)")
    parser.add_argument("--runs", type=int, default=5, help="repetitions on each hub")
    parser.add_argument("--docker-runs", type=int, help="repetitions on DockerSpawner's, if fewer")
    parser.add_argument("--hubs", default=",".join(KINDS), help="which, comma-separated")
    parser.add_argument("--scene", choices=SCENES, default="burst")
    parser.add_argument("--warm", type=int, help="the pool's target (dry 20, poisson 10)")
    parser.add_argument("--minutes", type=float, default=10, help="of Poisson arrivals")
    parser.add_argument("--every", type=float, help="mean seconds between arrivals, if known")
    parser.add_argument("--stay", type=float, default=30, help="mean seconds that people stay")
    parser.add_argument("--seed", type=int, default=20, help="of the arrivals")
    parser.add_argument("--settle", type=float, default=60, help="at most so long for quiet, s")
    parser.add_argument("--at-most", type=float, help="minutes after which no run is begun")
    parser.add_argument("--go-on", action="store_true", help="keep the runs that are there")
    parser.add_argument("--out", default=".greenroom/bench/out", help="directory of results")
    told = parser.parse_args(arguments)
    unknown = set(told.hubs.split(",")) - set(KINDS)
    if unknown:
        parser.error(f"--hubs {told.hubs}: there is no {', '.join(sorted(unknown))}; use {KINDS}")
    if told.docker_runs is None:
        told.docker_runs = told.runs
    return told


def _steps(told: argparse.Namespace) -> list[Step]:
    kinds = told.hubs.split(",")
    people = told.users or [40]
    match told.scene:
        case "dry":
            return schedule.dry(
                people=people[0],
                warm=told.warm or 20,
                runs=told.runs,
                docker_runs=told.docker_runs,
                kinds=kinds,
            )
        case "again":
            return schedule.again(people=people[0], runs=told.runs)
        case "poisson":
            return [schedule.poisson(number, warm=told.warm or 10) for number in range(told.runs)]
    counts = told.users or [1]
    return list(schedule.bursts(counts, runs=told.runs, docker_runs=told.docker_runs, kinds=kinds))


def _scene(told: argparse.Namespace) -> Scene:
    poisson = partial(
        arrivals.poisson,
        seconds=60 * told.minutes,
        stay=told.stay,
        seed=told.seed,
        every=told.every,
    )
    known: dict[str, Scene] = {"dry": scenes.dry, "again": scenes.again, "poisson": poisson}
    return known.get(told.scene, bursts.burst)


def _seconds(steps: Sequence[Step], told: argparse.Namespace) -> float:
    arriving: float = sum(60 * told.minutes for step in steps if step.scene == "poisson")
    return schedule.expected_seconds(steps) + arriving


async def _all(
    stack: Demo,
    started: dict[str, Hub],
    steps: Sequence[Step],
    log: Log,
    told: argparse.Namespace,
    give_up: float,
) -> None:
    async with stock.watching(stack) as held:
        theatre = Theatre(
            stack=stack, hubs=started, stock=held, say=report.say, settle_seconds=told.settle
        )
        warm = steps[0].warm
        report.say(f"   {warm} notebooks are warmed")
        await held.wait_rest(warm if "greenroom" in started else 0, seconds=bursts.REST_SECONDS)
        await bursts.warm_up(theatre, warm)
        for number, step in enumerate(steps):
            if time.monotonic() > give_up:
                report.say(f"Out of time: {len(steps) - number} runs were not begun.")
                return
            if step.warm != warm:
                warm = step.warm
                await theatre.resize(warm)
            more = 60 * told.minutes if step.scene == "poisson" else 0.0
            until = min(give_up, time.monotonic() + step.at_most_seconds(more))
            run = await bursts.guarded(theatre, step, _scene(told), until=until)
            log.add(run)
            report.say(f"{number + 1:>3}/{len(steps)} {report.line(run)}")
