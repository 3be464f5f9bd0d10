from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from scripts.stack import processes
from scripts.stack.places import Place
from scripts.stack.screen import Trouble

SLEEP = "import signal; signal.pause()"
STUBBORN = (
    "import signal, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[1]).touch(); signal.pause()"
)


@pytest.fixture
def place(tmp_path: Path):
    made = Place(directory=tmp_path).make()
    yield made
    for name in processes.names(made):
        processes.stop(made, name)


def program(code: str = SLEEP, *arguments: str, **more: object) -> processes.Program:
    command = (sys.executable, "-c", code, *arguments)
    return processes.Program(name="sleeper", command=command, **more)  # type: ignore[arg-type]


def test_starting_the_same_program_twice_starts_it_once(place: Place) -> None:
    assert processes.start(program(), place)
    first = processes.known(place, "sleeper")

    assert not processes.start(program(), place)
    assert processes.known(place, "sleeper") == first


def test_a_changed_program_is_restarted(place: Place) -> None:
    processes.start(program(), place)
    before = processes.known(place, "sleeper")

    assert processes.start(program(version="2"), place)
    after = processes.known(place, "sleeper")
    assert before is not None
    assert after is not None
    assert before.pid != after.pid
    assert not before.alive
    assert after.alive


def test_a_stopped_program_is_gone_and_its_pid_file_too(place: Place) -> None:
    processes.start(program(), place)
    running = processes.known(place, "sleeper")

    assert processes.stop(place, "sleeper")
    assert running is not None
    assert not running.alive
    assert processes.names(place) == []


def test_a_program_that_ignores_its_signal_is_killed(place: Place, tmp_path: Path) -> None:
    ignoring = tmp_path / "ignoring"
    processes.start(program(STUBBORN, str(ignoring), stop_seconds=0.2), place)
    processes.wait_until(ignoring.exists, place=place, name="sleeper", timeout_seconds=60)
    running = processes.known(place, "sleeper")

    assert processes.stop(place, "sleeper")
    assert running is not None
    assert not running.alive


def test_a_recycled_pid_is_never_signalled(place: Place) -> None:
    processes.start(program(), place)
    ours = processes.known(place, "sleeper")
    assert ours is not None
    os.kill(ours.pid, signal.SIGKILL)
    os.waitpid(ours.pid, 0)
    # The pid file now names a living process that started at another time: this one.
    ours.path.write_text(str(os.getpid()))

    assert not processes.is_running(place, "sleeper")
    assert not processes.stop(place, "sleeper")


def test_a_program_that_dies_while_starting_is_trouble_with_its_log(place: Place) -> None:
    processes.start(program("raise SystemExit('no such thing')"), place)

    with pytest.raises(Trouble, match="stopped by itself") as told:
        processes.wait_until(lambda: False, place=place, name="sleeper", timeout_seconds=60)

    assert told.value.log is not None
    assert "no such thing" in told.value.log.read_text()
