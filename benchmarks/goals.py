"""What these scenes must reach, and whether they did. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.runs import Run, middle, quantile

HIT_SHARE = 0.99
REFILL_SECONDS = 90.0
MEMORY_GROWTH = 1.05


@dataclass(frozen=True, kw_only=True)
class Goal:
    """`reached` is None where a figure that it needs was not measured."""

    what: str
    goal: str
    measured: str
    reached: bool | None

    @property
    def verdict(self) -> str:
        """A word for people."""
        return {True: "reached", False: "MISSED", None: "not measured"}[self.reached]


def judge(runs: Sequence[Run]) -> list[Goal]:
    """Every goal that these runs have something to say about."""
    return [
        *_plain(runs),
        *_dry(runs),
        *_after(runs),
        *_poisson(runs),
        *_endure(runs),
        *_nobody_fails(runs),
    ]


def _plain(runs: Sequence[Run]) -> Iterator[Goal]:
    bursts = [run for run in runs if run.scene == "burst" and not run.kernels]
    for users in dict.fromkeys(run.users for run in bursts):
        floor, docker, ours = (
            [r for r in bursts if r.users == users and r.hub == hub]
            for hub in ("floor", "dockerspawner", "greenroom")
        )
        if not ours:
            continue
        if users == 40:
            yield _ratio(f"p50 of {users} / floor", 1.5, _p(ours, 0.5), _p(floor, 0.5))
        if users in (40, 100):
            yield _ratio(f"p95 of {users} / floor", 2.0, _p(ours, 0.95), _p(floor, 0.95))
        if users == 40:
            yield _times(f"DockerSpawner's p95 of {users} / ours", 18, docker, ours)


def _dry(runs: Sequence[Run]) -> Iterator[Goal]:
    dry = [run for run in runs if run.scene == "dry"]
    if not dry:
        return
    users, warm = dry[0].users, dry[0].warm or 0
    beside = [r for r in runs if r.scene == "burst" and r.users == users and not r.kernels]
    floor = [r for r in beside if r.hub == "floor"]
    docker = [r for r in beside if r.hub == "dockerspawner"]
    first = [run.ready()[:warm] for run in dry]
    for share, most in ((0.5, 1.5), (0.95, 2.0)):
        mine = middle(quantile(each, share) for each in first)
        what = f"first {warm} of {users}, dry: p{share * 100:.0f} / floor's of {users}"
        yield _ratio(what, most, mine, _p(floor, share))
    used, theirs = _cpu(dry), _cpu(docker)
    yield _ratio(f"CPU of {users} on {warm} warm / DockerSpawner's", 1 / 3, used, theirs, unit="s")


def _after(runs: Sequence[Run]) -> Iterator[Goal]:
    known = [r for r in runs if r.refill_seconds is not None and r.scene == "burst"]
    for users in dict.fromkeys(run.users for run in known):
        seconds = middle(r.refill_seconds or 0.0 for r in known if r.users == users)
        if users == 40:
            yield Goal(
                what=f"back at target after a burst of {users}, from the click",
                goal=f"{REFILL_SECONDS:.0f} s",
                measured=f"{seconds:.0f} s",
                reached=seconds <= REFILL_SECONDS,
            )
    again = [run for run in runs if run.scene == "again" and run.seen]
    if again:
        halves = [(run.seen[: run.users], run.seen[run.users :]) for run in again]
        early, late = (
            middle(
                middle(s.ready_ms for s in half[at] if s.ready_ms is not None) for half in halves
            )
            for at in (0, 1)
        )
        yield _ratio("p50 of a second burst 30 s later / first's", 1.5, late, early)


def _poisson(runs: Sequence[Run]) -> Iterator[Goal]:
    for run in runs:
        if run.scene != "poisson" or not run.seen:
            continue
        hits = 1 - run.cold / len(run.seen)
        waited = sum(seen.stood_in_line for seen in run.seen)
        yield Goal(
            what=f"{len(run.seen)} arrivals on {run.warm}: hit ratio",
            goal=f"{HIT_SHARE:.0%}",
            measured=f"{hits:.1%} ({run.cold} cold, {waited} stood in line)",
            reached=hits >= HIT_SHARE,
        )
        p99 = quantile(run.ready(), 0.99)
        yield Goal(
            what="p99 of arrivals, refill beside them",
            goal="1,000 ms",
            measured=f"{p99:,.0f} ms",
            reached=p99 < 1000,
        )


def _endure(runs: Sequence[Run]) -> Iterator[Goal]:
    for run in runs:
        if run.scene != "endure" or not run.seen:
            continue
        wrong = {name: len(run.facts.get(name, ())) for name in ("doubled", "lost", "broken")}
        yield Goal(
            what=f"{len(run.seen)} leases on Docker",
            goal="0 doubled, 0 lost",
            measured=", ".join(f"{count} {name}" for name, count in wrong.items()),
            reached=not any(wrong.values()) and not run.problem,
        )
        drift = run.facts.get("memory") or {}
        ours = {k: v for k, v in drift.items() if k in ("agent", "lease", "refill", "liveness")}
        worst = max(ours, key=lambda name: abs(ours[name]["ratio"] - 1), default="")
        yield Goal(
            what="memory of agent and workers, last hundred / second hundred",
            goal="within 5 %",
            measured=f"{worst} {ours[worst]['ratio']:.3f}" if worst else "-",
            reached=all(v["ratio"] <= MEMORY_GROWTH for v in ours.values()) if worst else None,
        )


def _nobody_fails(runs: Sequence[Run]) -> Iterator[Goal]:
    people = sum(len(run.seen) for run in runs)
    failed = sum(run.failed for run in runs)
    spoilt = sum(1 for run in runs if run.problem)
    yield Goal(
        what=f"{people} starts in {len(runs)} runs",
        goal="nobody fails",
        measured=f"{failed} failed, {spoilt} runs in trouble",
        reached=failed == 0 and spoilt == 0,
    )


def _p(runs: Sequence[Run], share: float) -> float:
    """The median over runs of each one's quantile; nan when there are none."""
    figures = (middle(r.ready()) if share == 0.5 else quantile(r.ready(), share) for r in runs)
    return middle(figures)


def _cpu(runs: Sequence[Run]) -> float:
    return middle(1000 * (run.cpu_seconds - run.idle_cpu_seconds) for run in runs)


def _ratio(what: str, most: float, ours: float, beside: float, *, unit: str = "ms") -> Goal:
    known = ours == ours and beside == beside and beside > 0
    scale, digits = (1, 0) if unit == "ms" else (1000, 1)
    figures = " / ".join(f"{each / scale:,.{digits}f}" for each in (ours, beside))
    return Goal(
        what=what,
        goal=f"{most:.2g} x",
        measured=f"{ours / beside:.2f} x ({figures} {unit})" if known else "-",
        reached=ours <= most * beside if known else None,
    )


def _times(what: str, least: float, theirs: Sequence[Run], ours: Sequence[Run]) -> Goal:
    slow, quick = _p(theirs, 0.95), _p(ours, 0.95)
    known = slow == slow and quick == quick and quick > 0
    return Goal(
        what=what,
        goal=f"{least:g} x",
        measured=f"{slow / quick:.1f} x ({slow:,.0f} / {quick:,.0f} ms)" if known else "-",
        reached=slow >= least * quick if known else None,
    )
