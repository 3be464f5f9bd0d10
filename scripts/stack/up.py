"""`scripts/up`: from a fresh Debian or Ubuntu to a hub with warm notebooks, in one command.

It says first what it will do, asks on a terminal, and can be run again at any time: what is
there stays, what is missing comes back, what changed is restarted.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.stack import (
    commands,
    demo,
    ending,
    engine,
    image,
    packages,
    ports,
    processes,
    services,
    venv,
)
from scripts.stack.demo import Demo
from scripts.stack.packages import CERTIFICATES, ENGINE, NODE, SERVICES, VENV, Need
from scripts.stack.places import CHECKOUT, UP, Place
from scripts.stack.screen import Screen, Step, Trouble

# What a first run takes here: .venv, the image's layers and the base they are made from.
VENV_MEGABYTES, IMAGE_MEGABYTES = 500, 900
WARM_SECONDS = 300
PROOF, APPLIED = "proof.json", "applied.json"
RELEASE = Path("/etc/os-release")
ELSEWHERE = (
    "Use a Debian or Ubuntu machine, virtual machine or container for the demo; "
    "docs/install.md says how to install Greenroom beside a hub that you have."
)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line and the environment ask for."""

    yes: bool
    composed: bool
    prove: bool
    hub_port: int
    warm: int
    maximum: int


def main(arguments: Sequence[str]) -> int:
    screen = Screen()
    retry = shlex.join([*_sizes(), "scripts/up", *arguments])
    try:
        asked_for = wish(arguments)
        refuse_elsewhere()
        if not _agreed(asked_for, screen):
            return 1
        _become_root(arguments)
        place = UP.make()
        with _alone(place):
            _up(asked_for, place, screen)
    except Trouble as trouble:
        screen.failed(trouble, retry=retry)
        return 1
    except KeyboardInterrupt:
        screen.say(f"\nStopped half-way; what is there is kept. Go on: {retry}")
        return 130
    return 0


def _up(wish: Wish, place: Place, screen: Screen) -> None:
    _install(wish, place, screen)
    stack = _outside(wish, place, screen)
    _prepare(stack, wish, screen)
    started = _start(stack, screen)
    with screen.step(f"{wish.warm} warm notebooks") as step:
        _wait_until_warm(stack, wish, step)
    proof = place.directory / PROOF
    if started or wish.prove or not proof.exists():
        with screen.step("a click, and 1+1 in a kernel") as step:
            proof.write_text(json.dumps(_prove(stack)))
            step.note = "proven"
    docker = "docker" if host_is_usual(stack) else f"docker -H {stack.docker_host}"
    told = json.loads(proof.read_text())
    screen.say(ending.screen(url=stack.url, docker=docker, told=told))


def host_is_usual(stack: Demo) -> bool:
    """Whether the plain docker command reaches this stack's engine."""
    return stack.docker_host == (os.environ.get("DOCKER_HOST") or engine.DEFAULT_HOST)


# What it will do, and whether it may


def wish(arguments: Sequence[str]) -> Wish:
    """What is asked for; `Trouble` names a variable that is not a number."""
    parser = argparse.ArgumentParser(prog="scripts/up", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--compose", action="store_true", help="services in containers")
    parser.add_argument("--prove", action="store_true", help="click again even if all was up")
    told = parser.parse_args(arguments)
    warm = _number("GREENROOM_WARM", 2, lowest=1)
    return Wish(
        yes=told.yes,
        composed=told.compose,
        prove=told.prove,
        hub_port=_number("GREENROOM_HUB_PORT", 8000, lowest=1),
        warm=warm,
        maximum=_number("GREENROOM_MAX", max(8, 2 * warm), lowest=warm),
    )


def _sizes() -> list[str]:
    """The variables that were given for this run, as one would type them again."""
    names = ("GREENROOM_HUB_PORT", "GREENROOM_WARM", "GREENROOM_MAX", "GREENROOM_ENGINE")
    return [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]


def _number(name: str, default: int, *, lowest: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < lowest:
        raise Trouble(f"{name}={text!r} is not a whole number of at least {lowest}")
    return int(text)


def refuse_elsewhere() -> None:
    """Installing with apt is only right where apt is at home."""
    told = RELEASE.read_text() if RELEASE.exists() else ""
    if not sys.platform.startswith("linux") or not shutil.which("apt-get"):
        raise Trouble(
            "scripts/up installs packages with apt, and this is neither Debian nor Ubuntu",
            advice=ELSEWHERE,
        )
    if not any(name in told for name in ("debian", "ubuntu")):
        raise Trouble(
            f"{RELEASE} names neither Debian nor Ubuntu; nothing was changed", advice=ELSEWHERE
        )


def _needs(wish: Wish) -> list[Need]:
    wanted = [CERTIFICATES, VENV, *NODE, *ENGINE]
    if engine.answers(os.environ.get("DOCKER_HOST") or engine.DEFAULT_HOST):
        wanted = [need for need in wanted if need.what != "a Docker engine"]
    if not wish.composed and len(services.given()) < 3:
        wanted += SERVICES
    return wanted


def _agreed(wish: Wish, screen: Screen) -> bool:
    """Say what will be installed, where, how big and how long; ask a person."""
    missing = packages.missing(_needs(wish))
    lines = [f"   apt    {need.what} ({', '.join(need.packages)})" for need in missing]
    megabytes = sum(need.megabytes for need in missing)
    minutes = 1.0 + len(missing) / 4
    if not venv.MAIN.current:
        lines.append("   pip    Greenroom, JupyterHub and tools into .venv")
        megabytes, minutes = megabytes + VENV_MEGABYTES, minutes + 2
    if not packages.PROXY.exists():
        lines.append("   npm    configurable-http-proxy into .greenroom/node")
    if not image.CACHE.exists():
        lines.append("   image  a notebook image with JupyterLab, built here")
        megabytes, minutes = megabytes + IMAGE_MEGABYTES, minutes + 4
    if not lines:
        return True
    screen.say("scripts/up will install what this machine lacks:")
    screen.say("\n".join(lines))
    screen.say(
        f"and start a demo below {UP.directory}: in all about {megabytes / 1000:.1f} GB of disk "
        f"and {minutes:.0f} minutes. Services are private; none is started with the machine.\n"
    )
    if wish.yes or not sys.stdin.isatty():
        return True
    if input("Go on? [Y/n] ").strip().lower() in ("", "y", "yes"):
        return True
    screen.say("Nothing was installed or started.")
    return False


def _become_root(arguments: Sequence[str]) -> None:
    """The agent mounts homes into running containers, which only root may."""
    if os.geteuid() == 0:
        return
    root = packages.privileged()
    kept = [f"{name}={value}" for name, value in os.environ.items() if _is_ours(name)]
    again = [*root, "env", *kept, str(CHECKOUT / "scripts" / "up"), *{*arguments, "--yes"}]
    os.execvp(again[0], again)


def _is_ours(name: str) -> bool:
    return name.startswith(("GREENROOM_", "DOCKER_", "PIP_", "NPM_")) or name.endswith("_proxy")


# Installing and starting


def _install(wish: Wish, place: Place, screen: Screen) -> None:
    needs = _needs(wish)
    if missing := packages.missing(needs):
        with screen.step("apt packages") as step:
            step.note = ", ".join(need.what for need in missing)
            packages.install(needs, place)
    if not venv.MAIN.current:
        with screen.step("virtual environment .venv"):
            venv.install(venv.MAIN, place)
    if not packages.PROXY.exists():
        with screen.step("configurable-http-proxy"):
            packages.install_proxy(place)


def _outside(wish: Wish, place: Place, screen: Screen) -> Demo:
    """Services and engine; everything that a stack stands on."""
    with screen.step("Docker engine") as step:
        host = engine.start(place.directory)
        step.note = f"{host} ({engine.storage_driver(host)})"
    with screen.step("Postgres, Redis and RabbitMQ") as step:
        given = services.given()
        step.note = ", ".join(f"{name} given" for name in given)
        urls = services.start(place.directory, use=given, composed=wish.composed)
    if not processes.is_running(place, demo.PROXY) and not ports.is_free(wish.hub_port):
        raise Trouble(
            f"port {wish.hub_port} is taken by another program",
            advice=f"Choose another: GREENROOM_HUB_PORT={wish.hub_port + 1} scripts/up",
        )
    # For `down --wipe`, which has to find the containers again.
    place.remember("demo.json", {"docker_host": host})
    return Demo(
        place=place,
        urls=urls,
        docker_host=host,
        gateway=engine.bridge_gateway(host),
        hub_port=wish.hub_port,
    )


def _prepare(stack: Demo, wish: Wish, screen: Screen) -> None:
    """The image, the schema, the topology and the pool: all of them leave alone what is right."""
    log = stack.place.log
    with screen.step("demo notebook image") as step:
        built = image.build(stack.docker_host, log=log / "image.log", say=step.tell)
        step.note = "built" if built else "up to date"
    with screen.step("schema, topology and pool") as step:
        pools = demo.pools_file(stack, warm=wish.warm, maximum=wish.maximum)
        applied = {"applied": _applied(stack, pools)}
        if stack.place.remembered(APPLIED) == applied:
            step.note = "as they were"
            return
        settle(stack, pools)
        stack.place.remember(APPLIED, applied)


def settle(stack: Demo, pools: Path) -> None:
    """Migrate, declare, apply these pools: everything before the first program starts."""
    for words in (("db", "upgrade"), ("topology", "apply"), ("pools", "apply", "-f", str(pools))):
        greenroom(stack, *words)


def _applied(stack: Demo, pools: Path) -> str:
    """A hash of all that these commands would bring about, and of where."""
    told = [demo.source_version("controlplane"), pools.read_text(), repr(stack.settings())]
    return hashlib.sha256("".join(told).encode()).hexdigest()


def greenroom(stack: Demo, *words: str) -> None:
    """Run one command of the operator's door against this stack."""
    commands.run(
        [stack.environment.program("greenroom"), *words],
        log=stack.place.log / "greenroom.log",
        environment=stack.settings(),
        timeout_seconds=120,
    )


def asked(stack: Demo, *words: str) -> Any:
    """What such a command answers with `-o json`."""
    told = commands.read(
        [stack.environment.program("greenroom"), *words, "-o", "json"],
        environment=stack.settings(),
    )
    return json.loads(told) if told else None


def _start(stack: Demo, screen: Screen) -> bool:
    started = []
    with screen.step("agent, workers, proxy and hub") as step:
        for program in stack.programs():
            step.note = program.name
            if stack.start(program):
                started.append(program.name)
        step.note = f"started {', '.join(started)}" if started else "all running"
    return bool(started)


def _wait_until_warm(stack: Demo, wish: Wish, step: Step) -> None:
    give_up = time.monotonic() + WARM_SECONDS
    while (ready := warm_count(stack)) < wish.warm:
        step.note = f"{ready} so far"
        if time.monotonic() > give_up:
            raise Trouble(
                f"only {ready} of {wish.warm} notebooks were warm after {WARM_SECONDS} s",
                log=stack.place.log / "agent.log",
                advice=f"{stack.place.log}/refill.log has refill's side of it.",
            )
        time.sleep(0.5)
    step.note = f"{ready} ready"


def warm_count(stack: Demo) -> int:
    """How many notebooks the operator's door says are ready."""
    return sum(int(pool.get("ready") or 0) for pool in asked(stack, "pools", "list") or ())


def _prove(stack: Demo) -> dict[str, Any]:
    """Click once in a process of the virtual environment; the proof, and what the worker saw."""
    out = stack.place.run / "proof.out"
    commands.run(
        ["sh", "-c", 'exec "$@" > "$0"', out, stack.environment.python, "-m",
         "scripts.stack.proof", "--url", stack.url],
        log=stack.place.log / "proof.log",
        environment={"DEMO_BENCH_TOKEN": stack.token},
        timeout_seconds=180,
    )  # fmt: skip
    lease_log = (stack.place.log / "lease.log").read_text(errors="replace")
    return {**json.loads(out.read_text()), "inside": ending.inside(lease_log, user="demo")}


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    with (place.directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble("another scripts/up or scripts/down runs in this checkout") from None
        yield


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
