"""What an address in a URL means to somebody on another machine. Nothing is looked up."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Whether the URL names the machine that asks: loopback, unspecified or `localhost`."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host in {"", "localhost", "localhost.localdomain"} or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)
