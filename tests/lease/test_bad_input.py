"""Messages that nobody should send: put aside with a reason, and the next one is served."""

from __future__ import annotations

import json

import aio_pika
import pytest

from controlplane.messages import (
    ActivateNotebook,
    LeaseEnded,
    LeaseRelease,
    LeaseServing,
    LineQuestion,
    NodeInventory,
    RunActivated,
    RunExited,
)
from controlplane.model import EndReason, LeasePhase
from tests.lease.actors import Hub
from tests.lease.conftest import House
from tests.truth import stage as truth
from tests.truth.stage import ask, at, new_id

pytestmark = pytest.mark.services


async def raw(house: House, body: bytes, queue: str = "lease.requests") -> None:
    """Bytes as anybody with a login could send them."""
    url = house.settings.amqp_url.get_secret_value()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        name = f"{house.settings.installation}.{queue}"
        await channel.default_exchange.publish(aio_pika.Message(body), name, mandatory=True)


async def serves(house: House, hub: Hub) -> None:
    """The lane goes on: whatever came before it, this person is served."""
    await house.warm(1)
    request = ask(f"next-{new_id()}")
    await hub.asks(request)
    await hub.hears(LeaseServing, request.lease)


def wrong(**changes: object) -> dict[str, object]:
    return ask().model_dump(mode="json") | changes


def envelope(**changes: object) -> bytes:
    body = {
        "specversion": "1.0",
        "id": "1",
        "source": "test",
        "type": "lease.request.v1",
        "subject": "",
        "time": "2026-11-23T12:00:00Z",
        "traceparent": "",
        "data": ask().model_dump(mode="json"),
    }
    return json.dumps(body | changes).encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed"),
        (b"null", "malformed"),
        (b"\xff\xfe{", "malformed"),
        (b"\x80\x04pickle", "malformed"),
        (b"[" * 100_000, "oversized"),
        (b"[" * 10_000, "malformed"),
        (envelope(data={"pad": "x" * 70_000}), "oversized"),
        (envelope(type="lease.request.v99"), "version"),
        (envelope(type="lease.theft.v1"), "unknown"),
        (envelope(data=wrong(lease="'; DROP TABLE leases")), "invalid"),
        (envelope(data=wrong(user="a\x00b")), "invalid"),
        (envelope(data=wrong(prefix="//evil.example/")), "invalid"),
        (envelope(data=wrong(budget_ms=10**15)), "invalid"),
        (envelope(data=wrong(pool="../etc")), "invalid"),
    ],
    ids=[
        "empty", "null", "utf16", "pickle", "oversized-nest", "nest", "oversized", "future",
        "unknown", "lease", "nul", "prefix", "budget", "pool",
    ],
)  # fmt: skip
async def test_what_cannot_be_a_request_is_put_aside_with_its_reason(
    house: House, body: bytes, reason: str
) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.worker()
    quarantine = await house.quarantine()

    await raw(house, body)
    await serves(house, hub)

    assert await quarantine.reasons(1) == [reason]


async def test_a_prefix_of_somebody_else_s_server_is_refused(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.worker()
    quarantine = await house.quarantine()
    request = ask("alice", prefix="/user/bob/")

    await hub.asks(request)
    ended = await hub.hears(LeaseEnded, request.lease)
    await serves(house, hub)

    assert await quarantine.reasons(1) == ["refused"]
    assert ended.detail == "the prefix is not that of this user's server"
    assert await house.postgres.leases.get(request.lease) is None
    assert request.lease not in {command.lease for command in agent.all(ActivateNotebook)}


async def test_nobody_takes_over_a_lease_by_sending_its_id(house: House) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.warm(1)
    await house.worker()
    quarantine = await house.quarantine()
    request = ask("ada")
    await hub.asks(request)
    await hub.hears(LeaseServing, request.lease)

    await hub.asks(ask("mallory", lease=request.lease))
    await serves(house, hub)
    reasons = await quarantine.reasons(1)
    granted = await house.postgres.leases.get(request.lease)

    assert reasons == ["refused"]
    assert granted is not None
    assert (granted.lease.user, granted.lease.phase) == ("ada", LeasePhase.SERVING)


async def test_another_hub_can_neither_end_nor_see_a_lease(house: House) -> None:
    hub, other = await house.hub(), await house.hub("hub2", "hub2-x")
    await house.agent()
    await house.warm(1)
    await house.worker()
    quarantine = await house.quarantine()
    request = ask("ada")
    await hub.asks(request)
    await hub.hears(LeaseServing, request.lease)

    await other.asks(LeaseRelease(lease=request.lease, hub="hub2"))
    await other.asks(LineQuestion(lease=request.lease, hub="hub2", hub_process="hub2-x"))
    await serves(house, hub)
    reasons = await quarantine.reasons(2)
    granted = await house.postgres.leases.get(request.lease)

    assert reasons == ["refused", "refused"]
    assert granted is not None
    assert granted.lease.phase is LeasePhase.SERVING
    assert other.heard == []


async def test_a_bad_request_with_a_known_id_ends_nobody_s_start(house: House) -> None:
    hub, other = await house.hub(), await house.hub("hub2", "hub2-x")
    await house.agent()
    await house.warm(1)
    await house.worker()
    quarantine = await house.quarantine()
    request = ask("ada")
    await hub.asks(request)
    await hub.hears(LeaseServing, request.lease)

    forged = ask("mallory", lease=request.lease, hub="hub2", prefix="/user/ada/")
    await other.asks(forged)
    reasons = await quarantine.reasons(1)
    await serves(house, hub)

    assert reasons == ["refused"]
    assert hub.all(LeaseEnded) == []


@pytest.mark.parametrize("reason", ["node_lost", "admin", "because"])
async def test_a_hub_gives_only_its_own_reasons(house: House, reason: str) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.worker()
    quarantine = await house.quarantine()

    await hub.asks(LeaseRelease(lease=new_id(), hub="hub1", reason=reason))
    await serves(house, hub)

    assert await quarantine.reasons(1) == ["invalid"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pool": "nowhere"}, "there is no pool nowhere"),
        ({"pool": "demo", "groups": ("students",)}, "pool demo is for other groups"),
        ({"pool": "demo", "groups": ()}, "pool demo is for other groups"),
    ],
)
async def test_what_can_never_be_granted_ends_at_once_and_says_why(
    house: House, changes: dict[str, object], said: str
) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.postgres.pools.apply([truth.spec(groups=("staff",))], remove_missing=False)
    await house.warm(1)
    await house.worker()
    request = ask(**changes)

    await hub.asks(request)
    ended = await hub.hears(LeaseEnded, request.lease)

    assert (ended.reason, ended.detail) == (EndReason.REFUSED, said)


@pytest.mark.parametrize(
    "user",
    ["..", "$(reboot)", "'; DROP TABLE leases; --", "a\r\nX-Evil: 1", "ADMIN", "é", "‮abc", "-rf"],
)
async def test_hostile_names_are_names(house: House, user: str) -> None:
    from urllib.parse import quote

    hub, agent = await house.hub(), await house.agent()
    await house.warm(1)
    await house.worker()
    request = ask(user, prefix=f"/user/{quote(user, safe='@~')}/", sealed="sealed")

    await hub.asks(request)
    await hub.hears(LeaseServing, request.lease)

    assert {command.user for command in agent.all(ActivateNotebook)} == {user}


async def test_reports_about_nothing_that_we_know_change_nothing(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.worker()
    quarantine = await house.quarantine()

    about = {"notebook": new_id(), "lease": new_id()}
    await agent.says(RunActivated(**at(), **about, attempt=1, url="http://10.0.0.1/"))
    await agent.says(RunExited(**at("ghost-node"), **about))
    ghosts = NodeInventory(**at("ghost-node"), inventory="x")
    await agent.says(ghosts.model_copy(update={"part": 7, "parts": 3}))
    await agent.says(ghosts)
    await serves(house, hub)

    assert await quarantine.reasons(1) == ["invalid"]
    assert await house.postgres.violations() == []


async def test_a_report_for_a_lease_that_another_notebook_serves_is_not_believed(
    house: House,
) -> None:
    hub, agent = await house.hub(), await house.agent()
    (notebook,) = await house.warm(1)
    await house.worker()
    request = ask()
    await hub.asks(request)
    await hub.hears(LeaseServing, request.lease)

    forged = {"notebook": new_id(), "lease": request.lease, "attempt": 1}
    await agent.says(RunActivated(**at(), **forged, url="http://127.0.0.1:6666/"))
    await serves(house, hub)
    granted = await house.postgres.leases.get(request.lease)

    assert granted is not None
    assert granted.lease.notebook == notebook
    assert granted.lease.url == "http://127.0.0.1:20000/user/ada/"
