"""A private Redis: an index that may vanish at any moment, so nothing of it is stored."""

from __future__ import annotations

import secrets
import socket

from scripts.stack import ports, processes
from scripts.stack.places import Place

NAME = "redis"


def start(place: Place) -> str:
    """Start it and return its URL."""
    directory = place.directory / NAME
    directory.mkdir(exist_ok=True)
    port = ports.port_for(place, NAME)
    password = _password(place)
    configuration = directory / "redis.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {directory}\n"
        # The design lets all of Redis be deleted at any moment; Postgres holds the truth.
        'save ""\nappendonly no\n'
    )
    processes.start(
        processes.Program(
            name=NAME,
            command=("redis-server", str(configuration)),
            directory=directory,
            version=configuration.read_text(),
        ),
        place,
    )
    processes.wait_until(
        lambda: answers(port, password), place=place, name=NAME, timeout_seconds=30
    )
    return f"redis://:{password}@127.0.0.1:{port}/0"


def _password(place: Place) -> str:
    known = place.remembered("redis.json")
    if "password" not in known:
        known = {"password": secrets.token_urlsafe(16)}
        place.remember("redis.json", known)
    return known["password"]


def answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            link.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (more := link.recv(64)):
                answer += more
            return b"PONG" in answer
    except OSError:
        return False
