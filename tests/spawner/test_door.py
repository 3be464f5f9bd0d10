from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest
from tornado.web import HTTPError

from controlplane.errors import BadSettings, Unavailable, Unroutable
from controlplane.messages import (
    EVERY_LEASE,
    HubHello,
    HubInventory,
    HubSnapshot,
    LeaseEnded,
    LeaseRequest,
    encode,
)
from controlplane.spawner import door as door_module
from controlplane.spawner import entrance, identity
from controlplane.spawner.door import Door
from controlplane.spawner.memory import Memory
from controlplane.spawner.road import Address
from tests.spawner import stage


async def test_each_connect_says_hello_and_tells_every_lease(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door)
    start = asyncio.create_task(spawner.start())
    lease = (await road.first(LeaseRequest)).lease
    road.sent.clear()

    await door.greet()

    hello, inventory = road.sent
    assert isinstance(hello, HubHello)
    assert hello.api_url == "http://hub.example:8081/hub/api"
    assert isinstance(inventory, HubInventory)
    assert (inventory.leases, inventory.complete) == ((lease,), True)
    await road.tell(stage.serving(lease))
    await start


async def test_an_inventory_is_not_complete_while_a_start_before_the_restart_is_unclear(
    road: stage.Road,
) -> None:
    door = await stage.open_door(road)
    spawner = stage.spawner(door)
    spawner.load_state({})
    await door.tell_inventory()
    before = road.all(HubInventory)[-1]
    road.answer = stage.snapshots_with()
    await door.greet()
    await spawner.poll()

    await door.tell_inventory()

    assert not before.complete
    assert road.all(HubInventory)[-1].complete
    await door.close()


async def test_more_leases_than_one_message_holds_go_out_in_spans_without_a_gap(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "LEASES_AT_MOST", 2)
    leases = [identity.lease_id() for _ in range(5)]
    for number, lease in enumerate(leases):
        spawner = stage.spawner(door, user=f"user{number}")
        spawner.load_state({"lease": lease, "url": stage.URL})
    road.sent.clear()

    await door.tell_inventory()

    parts = road.all(HubInventory)
    first, second, third = (part.between for part in parts if part.between)
    assert [lease for part in parts for lease in part.leases] == sorted(leases)
    assert not any(part.complete for part in parts)
    assert (first[0], third[1]) == EVERY_LEASE
    assert (first[1], second[1]) == (second[0], third[0])
    assert all(p.between and p.between[0] <= id < p.between[1] for p in parts for id in p.leases)


async def test_as_many_leases_as_messages_may_hold_fit_into_one(door: Door) -> None:
    leases = [identity.lease_id() for _ in range(door_module.LEASES_AT_MOST)]
    inventory = HubInventory(
        hub="h" * 63, hub_process=door.hub_process, complete=True, leases=tuple(leases)
    )

    assert encode(inventory, id="0" * 32, source="s" * 100, time="t" * 40, traceparent="t" * 55)


async def test_a_server_that_is_stopped_is_not_in_the_inventory(
    road: stage.Road, door: Door
) -> None:
    spawner = stage.spawner(door)
    spawner.load_state({"lease": identity.lease_id(), "url": stage.URL})
    await spawner.stop()

    await door.tell_inventory()

    assert road.all(HubInventory)[-1].leases == ()


async def test_a_stale_state_without_a_server_holds_no_lease(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door, running=False)
    spawner.load_state({"lease": identity.lease_id(), "url": stage.URL})

    await door.tell_inventory()

    assert road.all(HubInventory)[-1].leases == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff\xfe", "malformed"),
        (b'{"type":"lease.serving.v99","data":{}}', "version"),
        (b'{"type":"lease.serving.v1","data":{"lease":"x"}}', "invalid"),
        (b" " * 70_000, "oversized"),
    ],
)
async def test_an_answer_that_makes_no_sense_is_quarantined(
    door: Door, body: bytes, reason: str
) -> None:
    letter = stage.Letter(body)

    await door.hear(letter)

    assert letter.settled == [reason]


async def test_an_answer_taken_as_the_connection_goes_is_taken_and_no_error(door: Door) -> None:
    """What `hear` raises is for the broker's client a bug, with a traceback in the hub's log."""

    class Gone(stage.Letter):
        async def ack(self) -> None:
            raise Unavailable("ack: the channel is closed")

    spawner = stage.spawner(door)
    lease = identity.lease_id()
    spawner.load_state({"lease": lease, "url": stage.URL})

    ended = LeaseEnded(lease=lease, reason="died")
    await door.hear(Gone(stage.encode(ended, id="1", source="t", time="now")))

    assert await spawner.poll() == 1


async def test_an_answer_for_nobody_is_acked(door: Door) -> None:
    letter = stage.Letter(
        stage.encode(stage.serving(identity.lease_id()), id="1", source="t", time="now")
    )

    await door.hear(letter)

    assert letter.settled == ["acked"]


async def test_with_bad_settings_the_hub_lives_and_starts_say_what_to_do() -> None:
    spawner = stage.spawner(hub_id="not a hub id!", amqp_url="amqp://nowhere", installation="t")
    spawner.load_state({})

    with pytest.raises(HTTPError) as caught:
        await spawner.start()

    assert "hub_id" in caught.value.jupyterhub_message


async def test_the_hub_api_on_a_socket_is_a_bad_setting() -> None:
    with pytest.raises(BadSettings, match="hub_connect_url"):
        entrance.api_url(
            stage.spawner(stage.shut_door(), api_url="http+unix://%2Frun%2Fhub/hub/api")
        )


def test_an_address_never_shows_its_password() -> None:
    address = Address(amqp_url="amqp://u:secret@h/", installation="t", hub="h", api_url="")

    assert "secret" not in repr(address)


def test_the_hubs_id_is_made_once(tmp_path: Path) -> None:
    first = identity.hub_id(tmp_path)

    assert identity.hub_id(tmp_path) == first
    assert [file.name for file in tmp_path.iterdir()] == [identity.FILE]


def test_a_hub_id_that_cannot_be_kept_names_file_and_fix(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"c\.GreenroomSpawner\.hub_id"):
        identity.hub_id(tmp_path / "missing")


def test_a_file_with_nonsense_is_not_taken_for_an_id(tmp_path: Path) -> None:
    (tmp_path / identity.FILE).write_text("two words\n")

    with pytest.raises(BadSettings, match="two words"):
        identity.hub_id(tmp_path)


def test_lease_ids_are_uuids_of_version_7_in_order_of_time() -> None:
    ids = [uuid.UUID(identity.lease_id()) for _ in range(1000)]

    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert len(set(ids)) == 1000
    stamps = [one.int >> 80 for one in ids]
    assert stamps == sorted(stamps)


def test_the_trace_of_a_lease_is_the_lease() -> None:
    lease = identity.lease_id()

    assert identity.traceparent(lease).split("-")[1] == lease.replace("-", "")


def test_of_two_hellos_the_snapshot_speaks_for_the_older() -> None:
    memory = Memory()
    memory.said_hello(10.0)
    memory.said_hello(12.0)

    assert memory.hear(stage.snapshot(), 13.0) == 10.0
    assert memory.hear(stage.snapshot(), 13.0) == 12.0


def test_hellos_that_nobody_answers_do_not_pile_up() -> None:
    memory = Memory()
    for second in range(10_000):
        memory.said_hello(float(second))

    assert len(memory._hellos) <= 30


def test_parts_in_any_order_make_a_snapshot() -> None:
    memory = Memory()
    memory.said_hello(1.0)
    parts = [
        HubSnapshot(hub="h", snapshot="s", part=n, parts=2, pools=(stage.pool(f"p{n}"),))
        for n in (2, 1)
    ]

    assert memory.hear(parts[0], 2.0) is None
    assert memory.pools is None
    assert memory.hear(parts[1], 2.0) == 1.0
    assert set(memory.pools or ()) == {"p1", "p2"}


async def test_a_hub_that_starts_before_the_first_worker_says_so_once(
    road: stage.Road, caplog: pytest.LogCaptureFixture
) -> None:
    door = await stage.open_door(road, greeted=False)
    road.broken = Unroutable("no queue takes it")

    await door.greet()
    await door.greet()

    assert [r.getMessage() for r in caplog.records if "no queue takes it" in r.getMessage()] == [
        "Greenroom is out of reach for now: no queue takes it"
    ]
    await door.close()
