"""A private Postgres: its own data, port and password; never the one that the site runs."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import struct
from pathlib import Path

from scripts.stack import commands, ports, processes
from scripts.stack.packages import postgres_programs
from scripts.stack.places import Place
from scripts.stack.screen import Trouble

NAME = "postgres"
ROLE = DATABASE = "greenroom"


def start(place: Place) -> str:
    """Start it, with Postgres' own durable defaults, and return its URL."""
    data = _data(place)
    if not (data / "PG_VERSION").exists():
        _create(place, data)
    port = ports.port_for(place, NAME)
    processes.start(
        processes.Program(
            name=NAME,
            command=(
                str(_programs() / "postgres"), "-D", str(data), "-p", str(port),
                "-c", "listen_addresses=127.0.0.1",
                # TCP only: a socket's path could be longer than the kernel allows.
                "-c", "unix_socket_directories=",
                "-c", "max_connections=200",
            ),
            directory=Path("/"),
            user=_user(),
            # SIGINT is Postgres' "fast" shutdown: it does not wait for clients to leave.
            stop_signal=signal.SIGINT,
        ),
        place,
    )  # fmt: skip
    processes.wait_until(lambda: answers(port), place=place, name=NAME, timeout_seconds=60)
    return f"postgresql://{ROLE}:{_password(place)}@127.0.0.1:{port}/{DATABASE}"


def wipe(place: Place) -> None:
    """Remove its data, wherever `start` had to put them."""
    where = place.remembered("postgres.json").get("data")
    if where:
        shutil.rmtree(where, ignore_errors=True)
    (place.directory / "postgres.json").unlink(missing_ok=True)


def _programs() -> Path:
    found = postgres_programs()
    if found is None:
        raise Trouble("there is no PostgreSQL under /usr/lib/postgresql")
    return found


def _user() -> str | None:
    """Postgres refuses to run as root; Debian's package brings a user for it."""
    return "postgres" if os.geteuid() == 0 else None


def _data(place: Place) -> Path:
    """Under the stack's directory, unless Postgres' user cannot reach that (as in /root)."""
    remembered = place.remembered("postgres.json").get("data")
    if remembered:
        return Path(remembered)
    data = place.directory / NAME
    if _user() and not _open_to_others(place.directory):
        data = Path("/var/lib") / f"greenroom-{place.name}" / NAME
    place.remember("postgres.json", {"data": str(data), "password": secrets.token_urlsafe(16)})
    return data


def _open_to_others(directory: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (directory, *directory.parents))


def _password(place: Place) -> str:
    return place.remembered("postgres.json")["password"]


def _create(place: Place, data: Path) -> None:
    user = _user()
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    as_user: list[str] = []
    if user:
        owner = pwd.getpwnam(user)
        os.chown(data, owner.pw_uid, owner.pw_gid)
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    password = data.parent / ".postgres-password"
    password.write_text(_password(place))
    password.chmod(0o600)
    if user:
        shutil.chown(password, user, user)
    log = place.log / f"{NAME}.log"
    try:
        commands.run(
            [*as_user, _programs() / "initdb", "-D", data, "-U", ROLE, "-E", "UTF8",
             "--locale=C.UTF-8", "-A", "scram-sha-256", "--pwfile", password],
            log=log, timeout_seconds=120, directory=Path("/"),
        )  # fmt: skip
    finally:
        password.unlink(missing_ok=True)
    single = f"echo 'CREATE DATABASE {DATABASE}' | exec \"$@\""
    commands.run(
        [*as_user, "sh", "-c", single, "sh", _programs() / "postgres", "--single", "-D", data,
         "postgres"],
        log=log, timeout_seconds=60, directory=Path("/"),
    )  # fmt: skip


def answers(port: int) -> bool:
    """Whether it accepts sessions: a port that is open may still belong to a recovery."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            told = f"user\0{ROLE}\0database\0{DATABASE}\0\0".encode()
            link.sendall(struct.pack("!ii", len(told) + 8, 196608) + told)
            # "R": it asks for the password. "E" would say that it is starting up.
            return link.recv(1) == b"R"
    except OSError:
        return False
