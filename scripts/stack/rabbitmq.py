"""A private RabbitMQ: its own node name, cookie, data, ports and port mapper (epmd)."""

from __future__ import annotations

import secrets
import shutil
import socket
from pathlib import Path

from scripts.stack import commands, ports, processes
from scripts.stack.places import Place
from scripts.stack.screen import Trouble

NAME = "rabbitmq"
MAPPER = "epmd"
# Debian's scripts without its wrapper, which insists on the rabbitmq user and /etc/rabbitmq.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
USER = "greenroom"


def start(place: Place) -> str:
    """Start epmd, then the broker, and return its URL."""
    directory = place.directory / NAME
    directory.mkdir(exist_ok=True)
    mapper = _start_mapper(place)
    port = ports.port_for(place, NAME)
    password = _password(place)
    environment = _environment(place, directory, port=port, mapper=mapper)
    configuration = directory / "rabbitmq.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\ndefault_user = {USER}\ndefault_pass = {password}\n"
    )
    (directory / "enabled_plugins").write_text("[].\n")
    processes.start(
        processes.Program(
            name=NAME,
            command=(str(PROGRAMS / "rabbitmq-server"),),
            environment=environment,
            directory=directory,
            stop_seconds=60,
        ),
        place,
    )
    # Starting takes 5 s on an idle machine; a loaded one has been seen to need a minute.
    processes.wait_until(lambda: answers(port), place=place, name=NAME, timeout_seconds=180)
    return f"amqp://{USER}:{password}@127.0.0.1:{port}/"


def control(place: Place, *words: str) -> str | None:
    """What `rabbitmqctl` answers about this stack's broker, as JSON; None when it fails."""
    environment = _environment(
        place,
        place.directory / NAME,
        port=ports.port_for(place, NAME),
        mapper=ports.port_for(place, MAPPER),
    )
    return commands.read(
        [PROGRAMS / "rabbitmqctl", "-q", "--formatter", "json", *words],
        environment=environment,
        timeout_seconds=60,
    )


def _start_mapper(place: Place) -> int:
    """Our own epmd in the foreground: the one that Erlang would start has no pid of ours."""
    port = ports.port_for(place, MAPPER)
    program = shutil.which(MAPPER)
    if program is None:
        raise Trouble("there is no epmd; the package erlang-base brings it")
    processes.start(
        processes.Program(
            name=MAPPER, command=(program, "-port", str(port), "-address", "127.0.0.1")
        ),
        place,
    )
    processes.wait_until(lambda: ports.answers(port), place=place, name=MAPPER, timeout_seconds=30)
    return port


def _environment(place: Place, directory: Path, *, port: int, mapper: int) -> dict[str, str]:
    return {
        "HOME": str(directory),  # the cookie lives here
        "RABBITMQ_NODENAME": f"greenroom-{place.name}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(ports.port_for(place, "rabbitmq-distribution")),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        # Makes the script become the Erlang machine, so that our pid is the broker's.
        "RUNNING_UNDER_SYSTEMD": "true",
        # Schedulers that wait busily cost an idle machine more than they give it.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
    }


def _password(place: Place) -> str:
    known = place.remembered("rabbitmq.json")
    if "password" not in known:
        known = {"password": secrets.token_urlsafe(16)}
        place.remember("rabbitmq.json", known)
    return known["password"]


def answers(port: int) -> bool:
    """Whether the broker speaks AMQP: its listener opens last, when queues can be used."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
            link.sendall(b"AMQP\x00\x00\x09\x01")
            return link.recv(1) == b"\x01"
    except OSError:
        return False
