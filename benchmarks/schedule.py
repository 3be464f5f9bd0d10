"""Which run comes when, how long it should take, and how long it may. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.runs import Key

KINDS = ("floor", "dockerspawner", "greenroom")
SPARE = 4
# Many kernels at once measure kernels; one shows what was pushed past ready.
KERNELS_UP_TO = 1

# Seconds on two cores: every run has an idle look, a look after it, and a pause before it.
AROUND_SECONDS = 18.0
SETUP_SECONDS = 75.0
PER_PERSON = {"floor": 0.15, "dockerspawner": 3.6, "greenroom": 1.9}
PER_WARM_UP = 1.4
# A busy or slow machine is no reason to give a run up, a hung one is.
PATIENCE = 5.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One run that is to be made; `warm` is the pool's target meanwhile."""

    hub: str
    users: int
    number: int
    warm: int
    scene: str = "burst"
    kernels: bool = False

    @property
    def key(self) -> Key:
        return self.scene, self.hub, self.users, self.kernels, self.number

    @property
    def seconds(self) -> float:
        """What it should take, leaving and the refill after it included."""
        people = self.users * PER_PERSON[self.hub]
        rounds = 2 if self.scene == "again" else 1
        refill = max(0, self.warm - self.users) * PER_WARM_UP if self.scene == "dry" else 0.0
        return AROUND_SECONDS + rounds * people + refill

    def at_most_seconds(self, more: float = 0.0) -> float:
        """When it is given up; `more` is what it is told to take."""
        return 240.0 + more + PATIENCE * self.seconds

    def __str__(self) -> str:
        kernels = " with kernels" if self.kernels else ""
        return f"{self.scene}: {self.users} x {self.hub}{kernels}, run {self.number + 1}"


def bursts(
    users: Sequence[int], *, runs: int, docker_runs: int, kinds: Sequence[str]
) -> Iterator[Step]:
    """Hubs take turns, and another one is first each time: none profits from its neighbour."""
    for count in users:
        for number in range(max(runs, docker_runs)):
            for kind in rotated(kinds, number):
                if number >= (docker_runs if kind == "dockerspawner" else runs):
                    continue
                for kernels in _with_kernels(kind, count):
                    yield Step(
                        hub=kind,
                        users=count,
                        number=number,
                        warm=count + SPARE,
                        kernels=kernels,
                    )


def dry(*, people: int, warm: int, runs: int, docker_runs: int, kinds: Sequence[str]) -> list[Step]:
    """`people` on `warm`, beside plain bursts of as many on the other hubs."""
    steps = []
    for step in bursts([people], runs=runs, docker_runs=docker_runs, kinds=kinds):
        ours = step.hub == "greenroom"
        steps.append(
            Step(
                hub=step.hub,
                users=people,
                number=step.number,
                warm=warm,
                scene="dry" if ours else "burst",
            )
        )
    return steps


def again(*, people: int, runs: int) -> list[Step]:
    """A burst until refill is done, then two bursts one after the other."""
    return [
        Step(hub="greenroom", users=people, number=n, warm=people + SPARE, scene="again")
        for n in range(runs)
    ]


def poisson(number: int, *, warm: int) -> Step:
    """People one by one; how long it takes is the caller's choice."""
    return Step(hub="greenroom", users=1, number=number, warm=warm, scene="poisson")


def rotated(kinds: Sequence[str], by: int) -> list[str]:
    """The same hubs, another one first."""
    return [kinds[(at + by) % len(kinds)] for at in range(len(kinds))]


def expected_seconds(steps: Sequence[Step]) -> float:
    """Of all of them, with what is started before and warmed in between."""
    warmed = sum(abs(b - a) for a, b in pairwise([0, *(step.warm for step in steps)]))
    if not any(step.hub == "greenroom" for step in steps):
        warmed = 0
    return SETUP_SECONDS + warmed * PER_WARM_UP + sum(step.seconds for step in steps)


def told(steps: Sequence[Step], expected: float, at_most: float) -> str:
    """For people, before anything is started: what, how long, never longer than. In seconds."""
    counted = Counter((step.scene, step.users, step.hub) for step in steps)
    lines = [f"   {n} x {scene} of {users} on {hub}" for (scene, users, hub), n in counted.items()]
    title = (
        f"{len(steps)} runs, about {expected / 60:.0f} minutes, never more than {at_most / 60:.0f}:"
    )
    return "\n".join([title, *lines])


def _with_kernels(kind: str, count: int) -> tuple[bool, ...]:
    """Starts and their CPU are measured without kernels, what follows a start with them."""
    return (False, True) if count <= KERNELS_UP_TO and kind != "floor" else (False,)
