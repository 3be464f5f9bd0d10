"""Limits per user and group: who is refused, who is counted, and that nobody slips through."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from controlplane.clients.postgres import Granted, Postgres
from controlplane.messages import LeaseRequest
from controlplane.model import EndReason, LeasePhase, Limits
from tests.truth import stage
from tests.truth.conftest import Owner

pytestmark = pytest.mark.services

STUDENTS = ("students",)


async def offered(postgres: Postgres, limits: Limits | None = None, **changes: Any) -> None:
    """Pools `demo`, which has these limits, and `other`, and limits over all pools."""
    specs = [stage.spec(**changes), stage.spec("other")]
    await postgres.pools.apply(specs, remove_missing=False, limits=limits)
    await stage.node(postgres)


async def asked(postgres: Postgres, user: str = "ada", server: str = "", **how: Any) -> Granted:
    return await postgres.leases.request(stage.ask(user, server=server, **how))


def refused(granted: Granted) -> bool:
    """Whether a limit did it; whoever passes waits in line, as nothing is warm here."""
    if granted.lease.reason is EndReason.QUOTA:
        assert granted.lease.phase is LeasePhase.ENDED
        return True
    assert granted.lease.phase in (LeasePhase.WAITING, LeasePhase.CLAIMED)
    return False


async def test_one_more_than_a_person_may_have_of_a_pool_is_refused_in_words(
    postgres: Postgres,
) -> None:
    await offered(postgres, max_per_user=1)
    first = await asked(postgres, server="work")

    second = await asked(postgres, server="play")

    assert not refused(first)
    assert refused(second)
    assert second.lease.detail == (
        "you have 1 notebook of pool demo already (work), and 1 is the limit for one person: "
        "stop one first, or choose another pool"
    )


async def test_a_limit_of_a_pool_counts_that_pool_alone(postgres: Postgres) -> None:
    await offered(postgres, max_per_user=1)
    await asked(postgres, server="work", pool="other")

    assert not refused(await asked(postgres))


async def test_a_limit_over_all_pools_counts_them_together(postgres: Postgres) -> None:
    await offered(postgres, Limits(max_per_user=2))
    await asked(postgres)
    await asked(postgres, server="b", pool="other")

    third = await asked(postgres, server="c")

    assert refused(third)
    assert third.lease.detail == (
        "you have 2 notebooks already (your default server, b), and 2 is the limit for one "
        "person: stop one first"
    )


async def test_people_of_a_group_share_its_limit_and_others_do_not(postgres: Postgres) -> None:
    await offered(postgres, max_per_group={"students": 2})
    await asked(postgres, "ada", groups=STUDENTS)
    await asked(postgres, "bob", groups=("staff", "students"))

    third = await asked(postgres, "cat", groups=STUDENTS)

    assert refused(third)
    assert third.lease.detail == (
        "the members of group students have 2 notebooks of pool demo, and 2 is the limit for all "
        "of them together: try again when one of them has stopped, or choose another pool"
    )
    assert not refused(await asked(postgres, "dan", groups=("staff",)))


async def test_a_group_that_may_have_none_gets_none(postgres: Postgres) -> None:
    await offered(postgres, Limits(max_per_group={"guests": 0}))

    assert refused(await asked(postgres, groups=("guests",)))
    assert not refused(await asked(postgres, "bob"))


async def test_every_limit_must_hold(postgres: Postgres) -> None:
    await offered(postgres, Limits(max_per_group={"students": 1}), max_per_user=5)
    await asked(postgres, "ada", groups=STUDENTS, pool="other")

    assert refused(await asked(postgres, "bob", groups=STUDENTS))


async def test_a_lease_that_serves_counts_and_one_that_ended_does_not(postgres: Postgres) -> None:
    await offered(postgres, max_per_user=1)
    await stage.warm(postgres)
    served = await stage.serving(postgres, "ada")
    while_it_serves = await asked(postgres, server="b")
    await postgres.leases.release(served.lease.lease, "hub1", EndReason.STOPPED)

    after = await asked(postgres, server="b")

    assert refused(while_it_serves)
    assert not refused(after)


async def test_starting_a_server_again_is_never_refused_by_its_own_older_lease(
    postgres: Postgres,
) -> None:
    await offered(postgres, Limits(max_per_user=1, max_per_group={"students": 1}), max_per_user=1)
    first = await asked(postgres, groups=STUDENTS)

    again = await asked(postgres, groups=STUDENTS)

    assert not refused(again)
    assert [lease.lease for lease in again.ended] == [first.lease.lease]


async def test_the_same_request_again_is_what_it_became(postgres: Postgres) -> None:
    await offered(postgres, max_per_user=1)
    request = stage.ask()
    await postgres.leases.request(request)
    beyond = stage.ask(server="b")
    await postgres.leases.request(beyond)

    assert not refused(await postgres.leases.request(request))
    assert refused(await postgres.leases.request(beyond))


async def test_hubs_are_counted_apart(postgres: Postgres) -> None:
    await offered(postgres, Limits(max_per_group={"students": 1}), max_per_user=1)
    await asked(postgres, groups=STUDENTS)

    assert not refused(await asked(postgres, groups=STUDENTS, hub="hub2"))


async def test_a_lowered_limit_stops_nobody(postgres: Postgres) -> None:
    await offered(postgres)
    first = await asked(postgres)
    second = await asked(postgres, server="b")

    await offered(postgres, Limits(max_per_user=1))

    found = [await postgres.leases.get(granted.lease.lease) for granted in (first, second)]
    assert [each.lease.phase for each in found if each] == [LeasePhase.WAITING] * 2
    assert refused(await asked(postgres, server="c"))


async def test_a_group_s_name_of_any_kind_is_counted(postgres: Postgres) -> None:
    name = 'it\'s {a} "group", %s \\ ☃'
    await offered(postgres, max_per_group={name: 1})
    await asked(postgres, groups=(name,))

    beyond = await asked(postgres, "bob", groups=(name,))

    assert refused(beyond)
    assert name in beyond.lease.detail


async def test_two_servers_of_one_person_at_once_do_not_both_pass(postgres: Postgres) -> None:
    await offered(postgres, max_per_user=1)
    for _ in range(2):
        await stage.warm(postgres)
    for turn in range(10):
        both = await asyncio.gather(
            asked(postgres, f"user{turn}", "a"), asked(postgres, f"user{turn}", "b")
        )

        assert sorted(map(refused, both)) == [False, True]


async def test_people_of_a_group_who_come_at_once_do_not_pass_its_limit(
    postgres: Postgres,
) -> None:
    await offered(postgres, Limits(max_per_group={"students": 3, "staff": 2}))

    crowd = await asyncio.gather(
        *(asked(postgres, f"user{n}", groups=("staff", "students")[n % 2 :]) for n in range(12))
    )

    passed = [granted for granted in crowd if not refused(granted)]
    assert len(passed) == 3


GROUPS_OF = {"ada": ("x", "y"), "bob": ("y",), "cat": ()}
OVER_ALL = Limits(max_per_user=3, max_per_group={"x": 2, "y": 4})
OF_DEMO = Limits(max_per_user=2, max_per_group={"y": 3})


class Crowd:
    """People who start and stop as they like."""

    def __init__(self, postgres: Postgres, seed: int) -> None:
        self.postgres = postgres
        self.chance = random.Random(seed)
        self.open: dict[tuple[str, str], LeaseRequest] = {}

    def wants(self) -> LeaseRequest:
        user = self.chance.choice(sorted(GROUPS_OF))
        pool, server = self.chance.choice(("demo", "other")), self.chance.choice("abcd")
        return stage.ask(user, server=server, pool=pool, groups=GROUPS_OF[user])

    async def start(self, request: LeaseRequest) -> bool:
        granted = await self.postgres.leases.request(request)
        if refused(granted):
            return False
        self.open[request.user, request.server] = request
        return True

    async def stop(self) -> None:
        if self.open:
            who = self.chance.choice(sorted(self.open))
            await self.postgres.leases.release(self.open.pop(who).lease, "hub1", EndReason.STOPPED)

    def allows(self, request: LeaseRequest) -> bool:
        """What the limits say."""
        rest = [r for who, r in self.open.items() if who != (request.user, request.server)]
        return not broken([*rest, request])


def broken(open_: list[LeaseRequest]) -> list[str]:
    """Limits that these leases break, counted in Python."""
    counted: Counter[str] = Counter()
    for lease in open_:
        for who in (f"user {lease.user}", *(f"group {group}" for group in lease.groups)):
            counted[who] += 1
            counted[f"{who} in {lease.pool}"] += 1
    most: dict[str, int | None] = {}
    for limits, where in ((OVER_ALL, ""), (OF_DEMO, " in demo")):
        most |= {f"user {user}{where}": limits.max_per_user for user in GROUPS_OF}
        most |= {f"group {group}{where}": n for group, n in limits.max_per_group.items()}
    return [who for who, n in most.items() if n is not None and counted[who] > n]


@pytest.mark.parametrize("seed", range(3))
async def test_one_after_the_other_exactly_what_the_limits_allow_passes(
    postgres: Postgres, seed: int
) -> None:
    await offered(postgres, OVER_ALL, **dict(OF_DEMO))
    crowd = Crowd(postgres, seed)
    seen = Counter[bool]()
    for _ in range(80):
        if crowd.chance.random() < 0.2:
            await crowd.stop()
            continue
        request = crowd.wants()
        expected = crowd.allows(request)

        assert await crowd.start(request) == expected
        seen[expected] += 1

    assert seen[True] > 5
    assert seen[False] > 5


@pytest.mark.parametrize("seed", range(3))
async def test_however_starts_and_stops_interleave_no_limit_is_ever_passed(
    postgres: Postgres, owner: Owner, seed: int
) -> None:
    await offered(postgres, OVER_ALL, **dict(OF_DEMO))
    for _ in range(4):
        await stage.warm(postgres)
    crowd = Crowd(postgres, seed)
    passed = 0
    for _ in range(12):
        starts = [crowd.start(crowd.wants()) for _ in range(6)]
        done = await asyncio.gather(*starts, crowd.stop(), crowd.stop())
        passed += sum(started is True for started in done)

        rows = owner.run("select \"user\", server, pool, groups from leases where phase <> 'ended'")
        open_ = [
            stage.ask(str(u), server=s, pool=p, groups=tuple(g))  # type: ignore[arg-type]  # test SQL
            for u, s, p, g in rows
        ]
        assert broken(open_) == []

    assert passed


async def test_requests_under_many_limits_at_once_never_wait_in_a_ring(postgres: Postgres) -> None:
    """What counts is locked in one order, whichever limit names it first."""
    await offered(postgres, Limits(max_per_group={"a": 1000, "b": 1000}))
    specs = [
        stage.spec(max_per_group={"b": 1000}),
        stage.spec("other", max_per_group={"a": 1000}),
    ]
    await postgres.pools.apply(specs, remove_missing=False)

    crowd = await asyncio.gather(
        *(
            asked(postgres, f"user{n}", pool=("demo", "other")[n % 2], groups=("a", "b"))
            for n in range(60)
        )
    )

    assert not any(map(refused, crowd))
