"""`scripts/test`: start what the tests need on ports of their own, and run them by group.

Each group is one pytest run, from what needs nothing to what needs everything. Addresses that
are given (`GREENROOM_TEST_AMQP_URL` and its siblings in tests/conftest.py) are used as they are.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.stack import engine, image, packages, services, venv
from scripts.stack.packages import BROWSER, CERTIFICATES, ENGINE, NODE, SERVICES, VENV, Need
from scripts.stack.places import CHECKOUT, TEST, Place
from scripts.stack.screen import Screen, Trouble

PREFIX = "GREENROOM_TEST_"
NOTHING_COLLECTED = 5
INTERRUPTED_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tests that need the same things; `reruns` are given to real, shared machines only."""

    name: str
    marked: str
    needs: tuple[Need, ...] = ()
    services: bool = False
    engine: bool = False
    hub: bool = False
    environment: venv.Environment = venv.MAIN
    # One test with its fixtures: far above what a loaded machine needs, far below forever.
    timeout_seconds: int = 300
    paths: tuple[str, ...] = ()


GROUPS = (
    Group(name="unit", marked="not services and not engine and not hub and not browser"),
    Group(
        name="services",
        marked="services and not engine and not hub and not browser",
        needs=SERVICES,
        services=True,
    ),
    Group(
        name="engine",
        marked="engine and not hub and not browser",
        needs=(*SERVICES, *ENGINE),
        services=True,
        engine=True,
        timeout_seconds=900,
    ),
    Group(
        name="hub",
        marked="hub and not browser",
        needs=(*SERVICES, *ENGINE, *NODE),
        services=True,
        engine=True,
        timeout_seconds=900,
        hub=True,
    ),
    Group(
        name="browser",
        marked="browser",
        needs=(*SERVICES, *ENGINE, *NODE, *BROWSER),
        services=True,
        engine=True,
        timeout_seconds=900,
        hub=True,
    ),
    Group(
        name="hub5",
        marked="not engine and not browser",
        needs=(*SERVICES, *NODE),
        services=True,
        hub=True,
        environment=venv.HUB5,
        paths=("tests/spawner",),
    ),
)


def main(arguments: Sequence[str]) -> int:
    chosen, more = _parse(arguments)
    screen = Screen()
    groups = [group for group in GROUPS if chosen in (group.name, "all")]
    place = TEST.make()
    # A cancelled CI job sends SIGTERM; services are then stopped as after Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _alone(place, screen):
            return _run_all(groups, more, place, screen)
    except Trouble as trouble:
        retry = " ".join(["scripts/test", *arguments])
        screen.failed(trouble, retry=retry)
        return 1
    except KeyboardInterrupt:
        screen.say("\ninterrupted; what was started for the tests is stopped")
        return 130


def _parse(arguments: Sequence[str]) -> tuple[str, list[str]]:
    names = [group.name for group in GROUPS]
    if arguments and arguments[0] in ("-h", "--help"):
        argparse.ArgumentParser(
            prog="scripts/test",
            usage=f"scripts/test [{'|'.join([*names, 'all'])}] [pytest arguments]",
            description=__doc__,
        ).print_help()
        raise SystemExit(0)
    if arguments and arguments[0] in (*names, "all"):
        return arguments[0], list(arguments[1:])
    return "all", list(arguments)


def _run_all(groups: Sequence[Group], more: Sequence[str], place: Place, screen: Screen) -> int:
    try:
        given = _prepare(groups, place, screen)
        results = [_run(group, more, given, place) for group in groups]
    finally:
        services.stop(place.directory)
        engine.stop(place.directory)
    screen.say()
    for group, (code, closing) in zip(groups, results, strict=True):
        mark = "ok    " if code == 0 else "FAILED"
        screen.say(f"{mark} {group.name:<9} {closing}")
    if any(code != 0 for code, _ in results):
        again = " ".join(g.name for g, (code, _) in zip(groups, results, strict=True) if code)
        screen.say(f"\nTry again: {' && '.join(f'scripts/test {n}' for n in again.split())}")
        return 1
    return 0


def _prepare(groups: Sequence[Group], place: Place, screen: Screen) -> dict[str, str]:
    """Install and start what these groups need; the variables that tests read."""
    needs = list(dict.fromkeys(need for group in groups for need in (VENV, *group.needs)))
    if len(groups) > 1 or groups[0].needs:
        needs.insert(0, CERTIFICATES)
    wanted = _wanted(needs)
    if packages.missing(wanted):
        with screen.step("apt packages") as step:
            step.note = ", ".join(need.what for need in packages.missing(wanted))
            packages.install(wanted, place)
    for environment in dict.fromkeys(group.environment for group in groups):
        if not environment.current:
            with screen.step(f"virtual environment {environment.directory.name}"):
                venv.install(environment, place)
    given = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    if any(group.hub for group in groups) and not packages.PROXY.exists():
        with screen.step("configurable-http-proxy"):
            packages.install_proxy(place)
    if any(group.services for group in groups):
        given |= _start_services(place, screen)
    if any(group.engine for group in groups):
        given |= _start_engine(place, screen, given)
    given |= {f"{PREFIX}PROXY": str(packages.PROXY)}
    return given


def _wanted(needs: Sequence[Need]) -> list[Need]:
    """What has to be installed: nothing for services and engines whose address is given."""
    given = set(services.given(PREFIX))
    skip: set[str] = set()
    if given == {"amqp", "postgres", "redis"}:
        skip |= {need.what for need in SERVICES}
    if os.environ.get(f"{PREFIX}DOCKER_HOST") or engine.answers(engine.DEFAULT_HOST):
        skip.add("a Docker engine")
    return [need for need in needs if need.what not in skip]


def _start_services(place: Place, screen: Screen) -> dict[str, str]:
    given = services.given(PREFIX)
    with screen.step("Postgres, Redis and RabbitMQ for tests") as step:
        if len(given) == 3:
            step.note = "given"
        else:
            # Yesterday's queues and databases could make today's tests pass or fail.
            services.stop(place.directory)
            services.wipe(place.directory)
        return services.start(place.directory, use=given).environment(PREFIX)


def _start_engine(place: Place, screen: Screen, given: dict[str, str]) -> dict[str, str]:
    """The engine and the demo image. On a laptop without Docker: a loud line, no tests."""
    try:
        with screen.step("Docker engine for tests") as step:
            host = given.get(f"{PREFIX}DOCKER_HOST") or engine.start(place.directory)
            step.note = f"{host} ({engine.storage_driver(host)})"
    except Trouble as trouble:
        if os.environ.get("CI"):
            raise
        screen.say(f"\n!!! NO DOCKER ENGINE: {trouble.reason}. Every engine test is skipped.\n")
        return {}
    started = {f"{PREFIX}DOCKER_HOST": host, "DOCKER_HOST": host}
    if f"{PREFIX}IMAGE" in given:
        return started
    with screen.step("demo notebook image") as step:
        image.build(host, log=place.log / "image.log", say=step.tell)
    return {**started, f"{PREFIX}IMAGE": image.TAG, f"{PREFIX}PLAIN_IMAGE": image.PLAIN_TAG}


def _run(group: Group, more: Sequence[str], given: dict[str, str], place: Place) -> tuple[int, str]:
    """Run one group; pytest's code (nothing collected is no failure) and its closing line."""
    if not all((CHECKOUT / path).exists() for path in group.paths):
        return 0, f"there is no {' '.join(group.paths)} yet"
    print(f"\n==== {group.name} ====", flush=True)
    log = place.log / f"pytest-{group.name}.log"
    command: list[str | Path] = [
        group.environment.python, "-m", "pytest", *group.paths, "-m", group.marked,
        "--durations", "15", "-raR", "--timeout", str(group.timeout_seconds),
        *_reruns(group), *more,
    ]  # fmt: skip
    code, closing = _tee(command, log, _clean() | given)
    # An empty choice (`scripts/test all -k name`) is no failure; no unit test at all is.
    if code == NOTHING_COLLECTED and (group.name != "unit" or more):
        code = 0
    return code, closing


def _clean() -> dict[str, str]:
    """The environment without settings of a real Greenroom: no test may reach that."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GREENROOM_") or name.startswith(PREFIX)
    }


def _reruns(group: Group) -> list[str]:
    """Real engines, hubs and browsers on loaded, shared machines are late now and then.

    Every rerun is printed (-raR): one that happens often is a defect to be mended. Unit and
    services tests get one only in CI, where a single late answer would discard the whole run.
    """
    if group.engine or group.hub:
        return ["--reruns", "2", "--reruns-delay", "1"]
    return ["--reruns", "1", "--reruns-delay", "1"] if os.environ.get("CI") else []


def _tee(command: Sequence[str | Path], log: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run with output on the screen and in the log; the code and the last line."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=CHECKOUT,
        env=environment,
    )
    try:
        last = _copy(process, log)
        return process.wait(), last
    except BaseException:
        # pytest takes its fixtures down: what they started must not outlive this run.
        process.send_signal(signal.SIGINT)
        process.wait(INTERRUPTED_SECONDS)
        raise


def _copy(process: subprocess.Popen[str], log: Path) -> str:
    last = ""
    assert process.stdout is not None
    with log.open("w") as out:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            out.write(line)
            last = line.strip() or last
    return last


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _alone(place: Place, screen: Screen) -> Iterator[None]:
    """One run at a time in a checkout: two would stop each other's services."""
    with (place.directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            screen.say("another scripts/test runs in this checkout; waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
