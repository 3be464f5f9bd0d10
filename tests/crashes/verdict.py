"""What must hold whatever was killed: by Postgres, by the notebooks' and the agent's own journals,
by what is mounted, and by what answers. Names are those of the invariants: S1-S5, S7, S10, D1-D4.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.simulated import ledger
from benchmarks.simulated.ledger import Activation
from controlplane.messages import LeaseEnded, LeaseRequest, LeaseServing
from controlplane.model.phases import EndReason
from tests.crashes.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Served:
    """Somebody's notebook as their hub knows it."""

    lease: str
    user: str
    notebook: str
    url: str


async def judge(
    stage: Stage, pool: str, people: Sequence[LeaseRequest | Served], *, attempts: int = 1
) -> None:
    """Each of these people has exactly one notebook, and nobody else has any of this pool.

    `attempts`: how many notebooks a lease may have activated on the way to the one it has.
    """
    served = [await _served(stage, person) for person in people]
    given = {each.notebook: each.lease for each in served}
    assert len(given) == len(served), "S1: two people have one notebook"
    # S1-S3, D1-D3.
    assert await stage.postgres.violations() == []
    activations = doubled_nowhere(ledger.read([stage.ledger]))
    assert given.items() <= {(a.notebook, a.lease) for a in activations}, "S5: not of the lease"
    of_lease = Counter(a.lease for a in activations)
    used_up = [each.lease for each in served if of_lease[each.lease] > attempts]
    assert used_up == [], "S4: activated more notebooks than it had attempts"
    for each in served:
        await _answers(each)
        _journaled(stage.state / "journal" / f"{each.notebook}.jsonl", each)
    # S7: in each of these notebooks is the home of its person, and no other has one.
    homes = await _homes(stage, pool)
    assert homes == {each.notebook: each.user for each in served}
    # D4, D5: nothing was thrown away on the way.
    assert await stage.broker.quarantined() == []


def doubled_nowhere(activations: Sequence[Activation]) -> list[Activation]:
    """S4: nobody came to a notebook that was somebody's. The activations that count."""
    counted = Counter(a.notebook for a in activations)
    assert [n for n, times in counted.items() if times > 1] == [], "S4: activated twice"
    assert [a for a in activations if a.refused] == []
    return list(activations)


async def leaves(stage: Stage, pool: str, people: Sequence[LeaseRequest]) -> None:
    """Everybody stops, the pool is removed: nothing is left anywhere."""
    for person in people:
        ended = await stage.postgres.leases.release(person.lease, person.hub, EndReason.STOPPED)
        assert ended is not None
    await empty(stage, pool)


async def empty(stage: Stage, pool: str) -> None:
    """The pool goes, and with it every row, container, mount and journal."""
    await stage.postgres.pools.apply([], remove_missing=True)

    async def gone() -> bool:
        left = await stage.postgres.notebooks.list(pool=pool)
        containers = await stage.engine.list({"greenroom.pool": pool})
        return not left and not containers and not _journals(stage, pool)

    await stage.until(gone, f"nothing of {pool} is left")
    # S10: what is not ours was not touched.
    strangers = await stage.engine.list({"greenroom.installation": "somebody-elses"})
    assert [each.state for each in strangers] == ["running"]
    assert await stage.postgres.violations() == []


async def _served(stage: Stage, person: LeaseRequest | Served) -> Served:
    if isinstance(person, Served):
        return person
    answer = await stage.served(person)
    told = [m for m in stage.hub.all(LeaseServing) if m.lease == person.lease]
    assert len({(m.notebook, m.url) for m in told}) == 1, "D2: told of two notebooks"
    assert [m for m in stage.hub.all(LeaseEnded) if m.lease == person.lease] == []
    return Served(lease=person.lease, user=person.user, notebook=answer.notebook, url=answer.url)


async def _answers(each: Served) -> None:
    """S5: at this URL is this person's server."""
    url = f"{each.url}/user/{each.user}/api"
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
        assert answer.status == 200, url


def _journaled(file: Path, each: Served) -> None:
    """The agent's own journal: one activation, of this lease, served."""
    lines = [json.loads(line) for line in file.read_text().splitlines() if line]
    assert lines[-1]["phase"] == "serving"
    assert {line["run"]["lease"] for line in lines if line["run"]} == {each.lease}


async def _homes(stage: Stage, pool: str) -> dict[str, str]:
    """Whose home is mounted in which notebook of this pool."""
    slots = stage.state / "slots"
    mounted = (line.split()[3:5] for line in stage.nursery.mounts.splitlines())
    places = ((Path(source), Path(place)) for source, place in mounted)
    homes = {
        place.parent.name: source.name
        for source, place in places
        if place.name == "home" and place.parent.parent == slots
    }
    mine = {each.notebook for each in await stage.postgres.notebooks.list(pool=pool)}
    return {notebook: user for notebook, user in homes.items() if notebook in mine}


def _journals(stage: Stage, pool: str) -> list[Path]:
    files = (stage.state / "journal").glob("*.jsonl")
    return [file for file in files if f'"pool":"{pool}"' in _text(file)]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""  # just now
