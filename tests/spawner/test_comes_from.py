"""From where a hub says that it and its proxy come."""

from __future__ import annotations

import ipaddress
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from controlplane.spawner import comes_from


@pytest.mark.parametrize(
    ("proxy", "host"),
    [
        (SimpleNamespace(api_url="http://127.0.0.1:8001"), ""),
        (SimpleNamespace(api_url="http://localhost:8001"), ""),
        (SimpleNamespace(api_url="http://proxy.internal:8001"), "proxy.internal"),
        (SimpleNamespace(api_url="http://[fd00::6]:8001"), "fd00::6"),
        (SimpleNamespace(traefik_api_url="http://10.0.0.6:8099"), "10.0.0.6"),
        (SimpleNamespace(api_url=7), ""),
        (None, ""),
    ],
)
def test_a_proxy_comes_from_where_its_api_is(proxy: Any, host: str) -> None:
    assert comes_from.proxy_of(SimpleNamespace(proxy=proxy)) == host


def test_without_a_hub_there_is_no_proxy() -> None:
    assert comes_from.proxy_of(None) == ""


async def test_addresses_are_the_own_one_and_the_proxy_s_and_never_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comes_from, "own_address", {"192.0.2.1": "10.0.0.5"}.get)
    far = await comes_from.addresses("10.0.0.6")
    monkeypatch.setattr(comes_from, "own_address", lambda _: "127.0.0.1")
    here = await comes_from.addresses("")

    assert (far, here) == (("10.0.0.5", "10.0.0.6"), ())


async def test_a_name_that_nobody_knows_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    monkeypatch.setattr(comes_from, "own_address", lambda _: "10.0.0.5")

    assert await comes_from.addresses("proxy") == ("10.0.0.5",)


def test_the_own_address_is_one_or_none() -> None:
    found = comes_from.own_address("127.0.0.1")

    assert found == "" or ipaddress.ip_address(found).is_loopback
