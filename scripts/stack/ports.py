"""Free ports, remembered per stack so that a second run finds the first one's services."""

from __future__ import annotations

import random
import socket

from scripts.stack.places import Place
from scripts.stack.screen import Trouble

# Below the ports that an agent publishes (20000-29999), and below the range from which the
# kernel takes ports for outgoing connections: what is free now still is when its service starts.
LOWEST, HIGHEST = 10_240, 19_999
TRIES = 200


def port_for(place: Place, name: str) -> int:
    """The port that `name` has in this stack; chosen free on first use."""
    known = place.remembered("ports.json")
    if name not in known:
        known[name] = str(_free(taken={int(port) for port in known.values()}))
        place.remember("ports.json", known)
    return int(known[name])


def forget(place: Place, name: str) -> None:
    """Another program took the port while the service was down: choose anew."""
    known = place.remembered("ports.json")
    known.pop(name, None)
    place.remember("ports.json", known)


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def answers(port: int, address: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there now."""
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def _free(*, taken: set[int]) -> int:
    for _ in range(TRIES):
        port = random.randrange(LOWEST, HIGHEST)
        if port not in taken and is_free(port, "0.0.0.0"):
            return port
    raise Trouble(f"no free port found between {LOWEST} and {HIGHEST}")
