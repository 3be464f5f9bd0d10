"""From which addresses this hub and its proxy reach notebooks: nodes let in nobody else.

The host of the API's URL is known already. It may be a balancer's, though, and the proxy may
be on a machine of its own.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from controlplane.model.addresses import is_loopback

LOOK_UP_SECONDS = 2.0
AT_MOST = 16
# Documentation's own networks: only the way towards them is asked for, nothing is sent.
FAR = ("192.0.2.1", "2001:db8::1")


def proxy_of(app: Any) -> str:
    """The host of the proxy's API, "" where it is not known: the proxy is where its API is."""
    proxy = getattr(app, "proxy", None)
    for trait in ("api_url", "traefik_api_url"):
        url = getattr(proxy, trait, "")
        if isinstance(url, str) and url and not is_loopback(url):
            return urlsplit(url).hostname or ""
    return ""


async def addresses(proxy: str) -> tuple[str, ...]:
    """This machine's towards far away, and those of the proxy's host. No loopback."""
    return _told([*map(own_address, FAR), *await _look_up(proxy)])


def own_address(target: str) -> str:
    """The address that this machine would use towards another one, "" without a way."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


async def _look_up(host: str) -> tuple[str, ...]:
    if not host:
        return ()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        # It may be known at the next hello; `node.clients` is there for the rest.
        return ()
    return tuple(str(entry[4][0]) for entry in found)


def _told(found: Iterable[str]) -> tuple[str, ...]:
    plain = {address.partition("%")[0] for address in found if address}
    useful = {one for one in plain if not ipaddress.ip_address(one).is_loopback}
    return tuple(sorted(useful))[:AT_MOST]
