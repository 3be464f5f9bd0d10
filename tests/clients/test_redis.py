"""The index: a hint that may be wrong, slow or gone, and never more than that."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from controlplane.clients.redis import Index, pace_of, stages_of

pytestmark = pytest.mark.services

A = "00000000-0000-7000-8000-00000000000a"
B = "00000000-0000-7000-8000-00000000000b"
C = "00000000-0000-7000-8000-00000000000c"


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest_asyncio.fixture
async def index(
    redis_url: str, installation: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Index]:
    # A machine under load is slow, and what was popped too late would be lost to the test.
    monkeypatch.setattr("controlplane.clients.redis.POP_SECONDS", 60.0)
    index = await Index.connect(redis_url, installation=installation, timeout_seconds=60)
    yield index
    await index.close()


@pytest.fixture
def dead_port() -> Iterator[int]:
    """Ours, and nobody listens there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def test_pops_what_the_audit_put_there_best_first_and_each_once(index: Index) -> None:
    await index.audit({"small": [A, B], "large": [C]})

    assert [await index.pop("small") for _ in range(3)] == [A, B, None]
    assert await index.pop("large") == C


async def test_a_notebook_that_became_ready_is_offered_first(index: Index) -> None:
    await index.audit({"small": [A, B]})
    await index.add("small", C)

    assert [await index.pop("small") for _ in range(3)] == [C, A, B]


async def test_a_removed_notebook_is_not_offered(index: Index) -> None:
    await index.audit({"small": [A, B]})
    await index.remove("small", A)

    assert [await index.pop("small") for _ in range(2)] == [B, None]


async def test_without_the_generation_key_nothing_is_offered(
    index: Index, redis: Redis, installation: str
) -> None:
    await index.audit({"small": [A]})
    await redis.delete(f"{installation}:generation")

    assert await index.pop("small") is None


async def test_after_flushall_the_audit_brings_everything_back(index: Index, redis: Redis) -> None:
    await index.audit({"small": [A]})
    await redis.flushdb()
    await redis.script_flush()
    nothing = await index.pop("small")
    await index.audit({"small": [A]})

    assert nothing is None
    assert await index.pop("small") == A


async def test_the_audit_drops_what_is_not_ready_any_more(index: Index) -> None:
    await index.audit({"small": [A, B], "large": [C]})
    await index.audit({"small": [B]})

    assert [await index.pop("small") for _ in range(2)] == [B, None]
    assert await index.size("large") == 0


async def test_garbage_in_the_index_is_thrown_away(
    index: Index, redis: Redis, installation: str
) -> None:
    await index.audit({"small": [A]})
    await redis.zadd(f"{installation}:ready:small", {"; DROP TABLE leases": 99, "x" * 36: 98})

    assert await index.pop("small") == A


@pytest.mark.parametrize("name", ["ready:small", "pace:small", "pools", "generation"])
async def test_a_value_of_another_type_is_survived_and_healed(
    index: Index, redis: Redis, installation: str, name: str
) -> None:
    await redis.delete(f"{installation}:{name}")
    await redis.hset(f"{installation}:{name}", "not", "ours")

    await index.pop("small")
    await index.add("small", B)
    await index.pace("small")
    await index.audit({"small": [A]})

    assert [await index.pop("small") for _ in range(2)] == [A, None]


async def test_two_installations_do_not_see_each_other(index: Index, redis_url: str) -> None:
    other = await Index.connect(redis_url, installation="another", timeout_seconds=60)
    await index.audit({"small": [A]})
    await other.audit({"small": [B]})

    assert await index.pop("small") == A
    await other.close()


async def test_many_pops_at_once_give_every_notebook_once(index: Index) -> None:
    ids = [f"00000000-0000-7000-8000-{n:012x}" for n in range(30)]
    await index.audit({"small": ids})

    found = await asyncio.gather(*(index.pop("small") for _ in range(12)))

    assert len(set(found) - {None}) == len([n for n in found if n is not None])


async def test_one_copy_gets_the_turn(index: Index, redis_url: str, installation: str) -> None:
    other = await Index.connect(redis_url, installation=installation, timeout_seconds=60)

    turns = [await index.turn("places", 600), await other.turn("places", 600)]

    assert turns == [True, False]
    await other.close()


async def test_a_turn_that_would_never_end_is_taken(
    index: Index, redis: Redis, installation: str
) -> None:
    await redis.set(f"{installation}:turn:places", "for ever")

    assert await index.turn("places", 600) is True


async def test_stages_are_there_for_another_copy(index: Index) -> None:
    await index.note_stages(A, {"pop": 0.5})

    assert await index.recall_stages(A) == {"pop": 0.5}
    assert await index.recall_stages(B) == {}


async def test_a_dead_redis_says_i_do_not_know(dead_port: int) -> None:
    index = await Index.connect(f"redis://127.0.0.1:{dead_port}/0", installation="i")

    answers = (
        await index.pop("small"),
        await index.size("small"),
        await index.pace("small"),
        await index.add("small", A),
        await index.audit({"small": [A]}),
        await index.turn("places", 1),
        await index.recall_stages(A),
    )

    assert answers == (None, None, None, False, False, True, {})
    await index.close()


async def test_a_redis_that_hangs_costs_one_wait_and_then_nothing() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        index = await Index.connect(
            f"redis://127.0.0.1:{port}/0", installation="i", timeout_seconds=0.2
        )
        index._quiet_until = 0.0

        async with asyncio.timeout(30):
            first = await index.pop("small")
            asked = index.failures
            index._quiet_until += 3600
            others = [await index.pop("small") for _ in range(5)]

        assert first is None
        assert others == [None] * 5
        assert index.failures == asked
        await index.close()


@pytest.mark.parametrize(
    ("stamps", "pace"),
    [
        ([], None),
        ([b"99", b"98"], None),
        ([b"99", b"98", b"90"], 0.3),
        ([b"99", b"garbage", b"98", b"90"], 0.3),
        ([b"1", b"2", b"3"], 3 / 99),
        ([b"-500", b"-400", b"99"], None),
        ([b"nan", b"inf", b"200"], None),
    ],
)
def test_pace_counts_fresh_stamps(stamps: list[bytes], pace: float | None) -> None:
    assert pace_of(stamps, 100.0) == pytest.approx(pace)


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b'{"a": "b"}', b"null"])
def test_stages_that_are_garbage_are_empty(raw: bytes) -> None:
    assert stages_of(raw) == {}


async def test_a_cancelled_call_ends_cancelled_wherever_it_was(index: Index) -> None:
    """A swallowed cancellation would make a worker hang when it is told to stop."""
    for steps in range(60):
        task = asyncio.create_task(index.audit({"small": [A]}))
        for _ in range(steps):
            await asyncio.sleep(0)
        if not task.cancel():
            continue
        (outcome,) = await asyncio.gather(task, return_exceptions=True)

        assert isinstance(outcome, asyncio.CancelledError)
