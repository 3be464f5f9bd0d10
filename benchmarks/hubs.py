"""Three hubs on one machine, each with its own proxy; Greenroom's has its own control plane."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.stack import (
    commands,
    demo,
    down,
    engine,
    image,
    packages,
    ports,
    processes,
    services,
    venv,
)
from scripts.stack.demo import Demo
from scripts.stack.places import CHECKOUT, Place
from scripts.stack.processes import Program
from scripts.stack.screen import Trouble
from scripts.stack.up import greenroom, settle

# A hundred people beside a hundred warm ones, and those who are going away.
MORE_ROOM = {"GREENROOM_NODE__MAX_NOTEBOOKS": "400"}
PLACE = Place(directory=CHECKOUT / ".greenroom" / "bench")
HOME_OWNER = (1000, 100)


@dataclass(frozen=True, kw_only=True)
class Hub:
    """Where people of one hub click."""

    kind: str
    url: str


@contextmanager
def running(*, warm: int, kinds: tuple[str, ...]) -> Iterator[tuple[Demo, dict[str, Hub]]]:
    """Services, engine, image, Greenroom with `warm` notebooks, and the hubs; all gone after.

    What a killed benchmark left is removed first. `Trouble` when another one runs.
    """
    with _alone(PLACE.make()):
        stop()
        try:
            stack = _control_plane(PLACE, warm)
            yield stack, {kind: start_hub(stack, kind) for kind in kinds}
        finally:
            stop()


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    with (place.directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble("another benchmark runs in this checkout: let it end") from None
        yield


def _control_plane(place: Place, warm: int) -> Demo:
    host = engine.start(place.directory)
    image.build(host, log=place.log / "image.log", say=lambda _: None)
    urls = services.start(place.directory, use=services.given())
    place.remember("demo.json", {"docker_host": host})
    stack = Demo(
        place=place,
        urls=urls,
        docker_host=host,
        gateway=engine.bridge_gateway(host),
        hub_port=ports.port_for(place, "public-greenroom"),
    )
    settle(stack, _pools(stack, warm))
    for program in stack.programs():
        if program.name in demo.WORKERS:
            stack.start(replace(program, environment={**program.environment, **MORE_ROOM}))
    return stack


def resize(stack: Demo, warm: int) -> None:
    """Another target for the pool; what is warm already fits it."""
    greenroom(stack, "pools", "apply", "-f", str(_pools(stack, warm)))


def _pools(stack: Demo, warm: int) -> Path:
    # A burst of everybody, another one while they are still there, and what is going away.
    return demo.pools_file(stack, warm=warm, maximum=3 * warm + 16)


def stop() -> None:
    """Everything that was started, and every container of it."""
    for name in reversed(processes.names(PLACE)):
        if name.startswith(("hub-", "proxy-")) or name in demo.WORKERS:
            processes.stop(PLACE, name)
    _remove_dockerspawners()
    down.remove_containers(PLACE)
    services.stop(PLACE.directory)
    services.wipe(PLACE.directory)
    engine.stop(PLACE.directory)
    # A hub with the people of yesterday's runs is a slower hub; their homes are nobody's.
    for path in (PLACE.directory / "homes", *PLACE.directory.glob("hub-*")):
        shutil.rmtree(path, ignore_errors=True)


def _remove_dockerspawners() -> None:
    """Containers of DockerSpawner whose hub did not come to remove them."""
    host = PLACE.remembered("demo.json").get("docker_host")
    if not host or not engine.answers(host):
        return
    docker = ["docker", "--host", host]
    ours = f"name=^/bench-{PLACE.name}-"
    left = (commands.read([*docker, "ps", "-aq", "--filter", ours]) or "").split()
    if left:
        log = PLACE.log / "down.log"
        commands.run([*docker, "rm", "-f", *left], log=log, timeout_seconds=300)


def well(place: Place) -> None:
    """`Trouble` with the log of the first program that was started and is not running."""
    for name in processes.names(place):
        if not processes.is_running(place, name):
            raise Trouble(f"{name} stopped by itself", log=place.log / f"{name}.log")


def homes(stack: Demo, users: list[str]) -> None:
    """A home for each person, theirs to write in, before anybody is timed."""
    stack.homes.mkdir(exist_ok=True)
    for user in users:
        home = stack.homes / user
        home.mkdir(exist_ok=True)
        os.chown(home, *HOME_OWNER)


def start_hub(stack: Demo, kind: str) -> Hub:
    """Start a hub of this kind and its proxy beside `stack`, and wait until it answers."""
    place = stack.place
    url = f"http://127.0.0.1:{ports.port_for(place, f'public-{kind}')}"
    api = f"http://127.0.0.1:{ports.port_for(place, f'proxy-api-{kind}')}"
    own = f"http://{stack.gateway}:{ports.port_for(place, f'hub-{kind}')}"
    told = {
        "CONFIGPROXY_AUTH_TOKEN": demo.secret(place, "proxy-token"),
        "BENCH_KIND": kind,
        "BENCH_PUBLIC_URL": url,
        "BENCH_PROXY_API": api,
        "BENCH_HUB_URL": own,
        "BENCH_TOKEN": stack.token,
        "BENCH_IMAGE": image.TAG,
        "BENCH_NAME": f"bench-{place.name}",
        "BENCH_HOMES": str(stack.homes),
        "DOCKER_HOST": stack.docker_host,
        "PYTHONPATH": str(CHECKOUT),
        **{k: v for k, v in stack.settings().items() if "HTTP_PORT" not in k},
    }
    port = int(api.rpartition(":")[2])
    _run(place, _proxy(kind, url, api, own, told), lambda: ports.answers(port))
    _run(place, _hub(place, kind, told), lambda: demo.answers(f"{url}/hub/api"))
    return Hub(kind=kind, url=url)


def _run(place: Place, program: Program, answers: Callable[[], bool]) -> None:
    processes.start(replace(program, stop_seconds=20), place)
    processes.wait_until(answers, place=place, name=program.name, timeout_seconds=120)


def _proxy(kind: str, url: str, api: str, own: str, told: dict[str, str]) -> Program:
    command = (
        str(packages.PROXY),
        "--ip", "127.0.0.1", "--port", url.rpartition(":")[2],
        "--api-ip", "127.0.0.1", "--api-port", api.rpartition(":")[2],
        "--error-target", f"{own}/hub/error",
    )  # fmt: skip
    return Program(name=f"proxy-{kind}", command=command, environment=told)


def _hub(place: Place, kind: str, told: dict[str, str]) -> Program:
    directory: Path = place.directory / f"hub-{kind}"
    directory.mkdir(exist_ok=True)
    return Program(
        name=f"hub-{kind}",
        command=(
            venv.MAIN.program("jupyterhub"),
            "--config", str(CHECKOUT / "benchmarks" / "jupyterhub_config.py"),
        ),
        environment=told,
        directory=directory,
    )  # fmt: skip
