"""Every command against real Postgres, RabbitMQ and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import aio_pika
import pytest
from cryptography.fernet import Fernet

from controlplane.cli.doors import with_broker, with_postgres
from controlplane.clients.postgres import Postgres
from controlplane.clients.rabbitmq import Broker, Delivery, request
from controlplane.clients.rabbitmq.topology import EXCHANGES, SHARED
from controlplane.messages import LeaseRelease, LeaseRequest, NodeHello, decode
from tests.cli.conftest import Greenroom, Said
from tests.truth import stage as truth

DEADLINE_SECONDS = 60

POOL = """
[[pools]]
name = "{name}"
description = "[bold]not markup[/bold]"
warm = {warm}
[pools.container]
image = "lab:1"
"""


@pytest.fixture
def services(
    greenroom: Greenroom,
    postgres_url: str,
    amqp_url: str,
    redis_url: str,
    installation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Greenroom]:
    """The command line with everything there and the schema up to date."""
    monkeypatch.setenv("GREENROOM_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("GREENROOM_AMQP_URL", amqp_url)
    monkeypatch.setenv("GREENROOM_REDIS_URL", redis_url)
    monkeypatch.setenv("GREENROOM_INSTALLATION", installation)
    assert greenroom("db", "upgrade").code == 0
    yield greenroom
    _forget(amqp_url, installation)


def _forget(amqp_url: str, installation: str) -> None:
    async def delete() -> None:
        async with await aio_pika.connect(amqp_url) as connection:
            channel = await connection.channel()
            for queue in SHARED:
                await channel.queue_delete(f"{installation}.{queue.name}")
            for exchange in EXCHANGES:
                await channel.exchange_delete(f"{installation}.{exchange}")

    asyncio.run(delete())


@pytest.fixture
def pool(services: Greenroom, tmp_path: Path) -> str:
    """A pool of this test alone, applied."""
    name = f"p{uuid4().hex[:8]}"
    assert applied(services, tmp_path, name).code == 0
    return name


def applied(greenroom: Greenroom, tmp_path: Path, name: str, *more: str, warm: int = 2) -> Said:
    path = tmp_path / "pools.toml"
    path.write_text(POOL.format(name=name, warm=warm))
    return greenroom("pools", "apply", "-f", str(path), "-o", "json", *more)


def row(said: Said, key: str, value: str) -> dict[str, object]:
    return next(row for row in said.data if row[key] == value)


def release() -> LeaseRelease:
    return LeaseRelease(lease=str(uuid4()), hub="hub1", reason="stopped")


def put_aside(message: LeaseRelease | LeaseRequest) -> None:
    """A request that met a bug of its worker."""

    async def call(broker: Broker) -> None:
        await broker.declare()
        await broker.publish(message, request(message))
        delivery = await first_request(broker)
        await delivery.quarantine("bug", "KeyError")

    with_broker(call)


async def first_request(broker: Broker) -> Delivery:
    """The oldest message that lease workers would read."""
    read: asyncio.Queue[Delivery] = asyncio.Queue()
    await broker.consume("lease.requests", read.put, prefetch=1)
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await read.get()


def test_upgrading_again_changes_nothing(services: Greenroom) -> None:
    said = services("db", "upgrade")

    assert (said.code, said.out) == (0, "")
    assert "nothing to do" in said.err
    assert services("db", "status", "-o", "json").data["up_to_date"] is True


def test_a_pool_is_created_then_unchanged_then_changed(
    services: Greenroom, tmp_path: Path, pool: str
) -> None:
    again = applied(services, tmp_path, pool)
    more = applied(services, tmp_path, pool, warm=5)

    assert row(again, "pool", pool)["what"] == "unchanged"
    assert row(more, "pool", pool)["what"] == "changed"
    assert row(services("pools", "list", "-o", "json"), "pool", pool)["target"] == 5


def test_a_dry_run_says_what_would_change_and_writes_nothing(
    services: Greenroom, tmp_path: Path, pool: str
) -> None:
    said = applied(services, tmp_path, pool, "--dry-run", warm=7)

    assert row(said, "pool", pool)["what"] == "changed"
    assert "nothing was written" in said.err
    assert row(services("pools", "list", "-o", "json"), "pool", pool)["target"] == 2


def test_removing_pools_wants_a_yes_when_nobody_can_be_asked(
    services: Greenroom, tmp_path: Path, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    other = f"p{uuid4().hex[:8]}"

    refused = applied(services, tmp_path, other, "--remove-missing")

    assert refused.code == 4
    assert "say --yes" in refused.err
    assert row(services("pools", "list", "-o", "json"), "pool", pool)

    done = applied(services, tmp_path, other, "--remove-missing", "--yes")

    assert row(done, "pool", pool)["what"] == "removed"


def test_a_table_shows_names_as_they_are(services: Greenroom, pool: str) -> None:
    said = services("pools", "list")

    assert pool in said.out
    assert "\x1b[" not in said.out


def test_a_pool_without_a_node_says_why_it_is_empty(services: Greenroom, pool: str) -> None:
    found = row(services("pools", "list", "-o", "json"), "pool", pool)

    assert found["ready"] == 0
    assert found["why"]


def test_a_node_is_listed_with_its_state(services: Greenroom) -> None:
    node = f"n{uuid4().hex[:8]}"

    async def hello(postgres: Postgres) -> None:
        await postgres.nodes.hello(
            NodeHello(node=node, epoch=1, seq=1, address="10.0.0.7", max_notebooks=5)
        )

    with_postgres(hello)

    found = row(services("nodes", "list", "-o", "json"), "node", node)
    assert (found["state"], found["address"], found["max_notebooks"]) == ("ready", "10.0.0.7", 5)


def test_a_lease_is_listed_and_traced_without_its_seal(services: Greenroom, pool: str) -> None:
    lease = str(uuid4())

    async def ask(postgres: Postgres) -> None:
        await postgres.leases.request(
            LeaseRequest(
                lease=lease,
                hub="hub1",
                hub_process="hub1-1",
                user=f"ann-{pool}",
                server="",
                prefix="/user/ann/",
                pool=pool,
                budget_ms=600_000,
                sealed="a-sealed-secret",
            ),
            None,
        )

    with_postgres(ask)
    listed = services("leases", "list", "--pool", pool, "-o", "json")
    traced = services("leases", "trace", lease, "-o", "json")

    assert [each["lease"] for each in listed.data] == [lease]
    assert [(e["entity"], e["phase"]) for e in traced.data] == [("lease", "waiting")]
    assert "a-sealed-secret" not in listed.out + traced.out
    assert services("leases", "trace", lease).out.count("\n") == 2


def test_a_lease_that_never_was_is_not_found(services: Greenroom) -> None:
    assert services("leases", "trace", str(uuid4())).code == 3


def test_the_topology_is_declared_again_and_again(services: Greenroom) -> None:
    assert services("topology", "apply").code == 0
    assert services("topology", "apply").code == 0


def test_an_empty_quarantine_is_an_empty_list(services: Greenroom) -> None:
    said = services("quarantine", "list", "-o", "json")

    assert (said.code, said.data) == (0, [])


def test_a_message_in_quarantine_is_sent_to_its_queue_again(services: Greenroom) -> None:
    released = release()
    put_aside(released)
    (put,) = services("quarantine", "list", "-o", "json").data

    said = services("quarantine", "replay", put["id"])

    assert (put["reason"], put["queue"], put["replayable"]) == ("bug", "lease.requests", True)
    assert (said.code, said.out) == (0, "")
    assert services("quarantine", "list", "-o", "json").data == []
    assert decode(with_broker(first_request).body).message == released


def test_what_is_not_in_quarantine_is_not_found(services: Greenroom) -> None:
    said = services("quarantine", "replay", "nobody")

    assert (said.code, said.out) == (3, "")
    assert "nobody" in said.err


def test_a_message_whose_seal_was_cut_out_is_refused(services: Greenroom) -> None:
    seal = Fernet(Fernet.generate_key()).encrypt(b"a token").decode()
    put_aside(truth.ask(sealed=seal))
    (put,) = services("quarantine", "list", "-o", "json").data

    said = services("quarantine", "replay", put["id"])

    assert (put["replayable"], said.code) == (False, 4)
    assert "cut out" in said.err
    assert len(services("quarantine", "list", "-o", "json").data) == 1


def test_the_index_is_rebuilt(services: Greenroom) -> None:
    assert services("db", "rebuild-index").code == 0


def test_status_is_ok_when_everything_answers(services: Greenroom, pool: str) -> None:
    said = services("status", "-o", "json")

    assert said.data["services"] == {"postgres": "ok", "rabbitmq": "ok", "redis": "ok"}
    assert said.data["violations"] == []
    assert said.code == 0
    assert pool in services("status").out


def test_limits_over_all_pools_are_told_before_and_when_they_change(
    services: Greenroom, tmp_path: Path, pool: str
) -> None:
    path = tmp_path / "pools.toml"
    path.write_text(POOL.format(name=pool, warm=2) + "[limits]\nmax_per_user = 2\n")
    words = ("pools", "apply", "-f", str(path), "-o", "json")

    dry = services(*words, "--dry-run")
    done = services(*words)
    again = services(*words)

    assert row(dry, "pool", "[limits]")["what"] == "created"
    assert row(done, "pool", "[limits]")["what"] == "created"
    assert [each["pool"] for each in again.data] == [pool]
