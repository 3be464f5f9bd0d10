"""What the rules are made of: what agents are told, settings, names, servers of DNS."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest

from controlplane.messages import NodeSurroundings
from controlplane.model import targets
from controlplane.settings import NodeSettings, Settings
from workers.agent import resolvers
from workers.agent.firewall.policy import metadata, tidy
from workers.agent.surroundings import Surroundings


def surroundings(folder: Path, **node: Any) -> Surroundings:
    settings = Settings(
        amqp_url="amqp://greenroom:secret@192.0.2.9:5672/",
        node=NodeSettings.model_validate({"address": "192.0.2.7", "dns": "192.0.2.53", **node}),
    )
    return Surroundings(folder, settings, bridge="gr-0123456789", address="192.0.2.7")


def told(stamp: int = 1, **changes: Any) -> NodeSurroundings:
    hub = {"hub": "hub1", "api_url": "http://192.0.2.5:8081/hub/api", "clients": ["192.0.2.6"]}
    given = {"stamp": stamp, "hubs": [hub], "nodes": ["192.0.2.8"], "control": ["192.0.2.10"]}
    return NodeSurroundings.model_validate({**given, **changes})


async def test_hubs_are_let_through_and_in_and_all_of_the_control_plane_is_closed(
    tmp_path: Path,
) -> None:
    around = surroundings(tmp_path, clients="10.0.0.0/24", forbidden="192.0.2.11:5432")
    around.take(told())

    policy = await around.policy()

    assert policy.hubs == (targets.target("192.0.2.5:8081"),)
    assert policy.clients == targets.networks("10.0.0.0/24, 192.0.2.5, 192.0.2.6")
    # This node, the other one, the broker, what workers named, what the setting names.
    closed = "192.0.2.7, 192.0.2.8, 192.0.2.9, 192.0.2.10, 192.0.2.11:5432"
    assert policy.never == tidy([*metadata(), *targets.targets(closed)])
    assert policy.dns == (ipaddress.ip_address("192.0.2.53"),)


async def test_a_rootless_engine_hides_who_comes(tmp_path: Path) -> None:
    around = surroundings(tmp_path)
    around.rootless = True

    assert (await around.policy()).clients is None


async def test_a_hub_that_a_lease_names_is_let_through_until_workers_tell_of_it(
    tmp_path: Path,
) -> None:
    around = surroundings(tmp_path)
    url = "http://192.0.2.5:8081/hub/api"
    seen = [around.meet(each) for each in (url, url, "", "nonsense")]
    before = (await around.policy()).hubs
    around.take(told())

    assert seen == [True, False, False, False]
    assert before == (await around.policy()).hubs == (targets.target("192.0.2.5:8081"),)
    assert not around.meet(url)


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]"])
async def test_no_hub_opens_the_way_to_a_clouds_metadata(tmp_path: Path, host: str) -> None:
    around = surroundings(tmp_path)
    around.meet(f"http://{host}/hub/api")
    hub = {"hub": "hub2", "api_url": f"http://{host}:80/latest", "clients": []}
    around.take(told(hubs=[hub]))

    assert (await around.policy()).hubs == ()


@pytest.mark.parametrize(
    "url", ["http://192.0.2.5:99999/hub/api", "http://[::1/hub/api", "http://:8081/hub/api"]
)
async def test_a_hub_that_says_nonsense_ends_no_agent(tmp_path: Path, url: str) -> None:
    around = surroundings(tmp_path)
    around.take(told(hubs=[{"hub": "hub1", "api_url": url}]))

    policy = await around.policy()

    assert (policy.hubs, policy.clients) == ((), ())


def test_an_older_word_than_the_last_says_nothing(tmp_path: Path) -> None:
    around = surroundings(tmp_path)

    assert around.take(told(2))
    assert not around.take(told(1, hubs=()))
    assert not around.take(told(3))
    assert around.take(told(4, hubs=()))
    assert around.hubs == ()


def test_the_next_agent_knows_what_the_last_one_was_told(tmp_path: Path) -> None:
    surroundings(tmp_path).take(told())
    after = surroundings(tmp_path)
    after.open()

    assert after.hubs == told().hubs


def test_a_file_that_cannot_be_read_is_told_again_instead(tmp_path: Path) -> None:
    (tmp_path / "surroundings.json").write_text('{"stamp": "lots"')
    around = surroundings(tmp_path)
    around.open()

    assert around.hubs == ()


async def test_a_name_that_is_unknown_for_now_keeps_its_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = surroundings(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: _answer("192.0.2.5"))
    before = await around.look_up("hub.example")
    monkeypatch.setattr(socket, "getaddrinfo", _fails)
    after = await around.look_up("hub.example")

    assert before == after == (ipaddress.ip_address("192.0.2.5"),)
    assert await around.look_up("other.example") == ()


async def test_a_hub_on_this_machine_is_let_through_where_its_name_is_loopback_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = {"hub": "hub1", "api_url": "http://hub.example:8081/hub/api"}
    around = surroundings(tmp_path)
    around.take(told(hubs=[hub]))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: _answer("127.0.1.1"))

    policy = await around.policy()

    assert policy.hubs == (targets.target("192.0.2.7:8081"),)
    # Where a probe from a notebook asks for it, too.
    assert await around.look_up("hub.example") == (ipaddress.ip_address("192.0.2.7"),)


async def test_an_agent_that_starts_while_names_are_unknown_lets_hubs_in_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = {"hub": "hub1", "api_url": "http://hub.example:8081/hub/api"}
    before = surroundings(tmp_path)
    before.take(told(hubs=[hub]))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: _answer("192.0.2.5"))
    rules = await before.policy()
    monkeypatch.setattr(socket, "getaddrinfo", _fails)
    again = surroundings(tmp_path)
    again.open()

    assert await again.policy() == rules
    assert rules.hubs == (targets.target("192.0.2.5:8081"),)


@pytest.mark.parametrize("text", ["", "[1]", '{"hub.example": ["nowhere"]}', '{"hub.example": 1}'])
async def test_names_that_cannot_be_read_are_looked_up_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "names.json").write_text(text)
    around = surroundings(tmp_path)
    around.open()

    assert await around.look_up("192.0.2.5") == (ipaddress.ip_address("192.0.2.5"),)


def _answer(address: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]


def _fails(*_: Any, **__: Any) -> None:
    raise socket.gaierror(-3, "Temporary failure in name resolution")


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 10.0.0.2\nnameserver 10.0.0.3\n", ["10.0.0.2", "10.0.0.3"]),
        ("# nameserver 10.0.0.2\nsearch x\nnameserver 127.0.0.53\n", []),
        ("nameserver fe80::1%eth0\nnameserver fd00::53\nnameserver x\n", ["fe80::1", "fd00::53"]),
        ("nameserver\n", []),
    ],
)
def test_servers_of_dns_are_those_that_a_container_reaches(text: str, servers: list[str]) -> None:
    assert [str(one) for one in resolvers.parse(text)] == servers


def test_without_a_server_the_engine_s_own_are_asked(tmp_path: Path) -> None:
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("nameserver 127.0.0.53\n")

    of_the_engine = resolvers.servers((stub, real))
    real.write_text("nameserver 10.0.0.2\n")

    assert [str(one) for one in of_the_engine] == list(resolvers.DEFAULTS)
    assert [str(one) for one in resolvers.servers((stub, real))] == ["10.0.0.2"]
