"""The DNS servers that notebooks end up asking: the engine copies them from this machine.

Its own server inside each container (127.0.0.11) asks them from the container's network, so
the firewall has to know them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from controlplane.model.targets import Address

# The second where the first names only systemd's stub on loopback, which containers lack.
FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
# What the engine uses where no server is left.
DEFAULTS = ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844")


def servers(files: Iterable[Path] = FILES) -> tuple[Address, ...]:
    """Read from the files; the engine's defaults where they name none that a container reaches."""
    for file in files:
        try:
            found = parse(file.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if found:
            return found
    return tuple(ipaddress.ip_address(one) for one in DEFAULTS)


def parse(text: str) -> tuple[Address, ...]:
    """The servers in this resolv.conf that are not loopback."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = ipaddress.ip_address(words[1].partition("%")[0])
        except ValueError:
            continue
        if not address.is_loopback:
            found.append(address)
    return tuple(found)
