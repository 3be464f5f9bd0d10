"""`scripts/check`: every rule that a machine holds, without running the code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.stack import compose, packages, venv
from scripts.stack.packages import CERTIFICATES, COMPOSE, VENV
from scripts.stack.places import CHECKOUT, TEST
from scripts.stack.screen import Screen, Trouble

LONGEST_FILE = 400
LONGEST_COMPLAINT = 60
NAMELESS = {"utils", "util", "helpers", "helper", "common", "manager", "base", "core", "misc"}


def main(arguments: Sequence[str]) -> int:
    screen = Screen()
    if arguments:
        screen.say("usage: scripts/check   (it takes no arguments)")
        return 2
    try:
        _prepare(screen)
    except Trouble as trouble:
        screen.failed(trouble, retry="scripts/check")
        return 1
    failed = [title for title, check in _checks() if not _show(screen, title, check)]
    screen.say(f"\nfailed: {', '.join(failed)}" if failed else "\nall checks passed")
    return 1 if failed else 0


def _prepare(screen: Screen) -> None:
    place = TEST.make()
    # docker-compose costs 30 MB: CI holds the compose file, a laptop only if it has it.
    needs = [CERTIFICATES, VENV, *(COMPOSE if os.environ.get("CI") else ())]
    if packages.missing(needs):
        with screen.step("apt packages"):
            packages.install(needs, place)
    if not venv.MAIN.current:
        with screen.step("virtual environment .venv"):
            venv.install(venv.MAIN, place)


def _checks() -> list[tuple[str, Callable[[], str]]]:
    program = venv.MAIN.program
    return [
        ("ruff check", lambda: _command(program("ruff"), "check", "--quiet", ".")),
        ("ruff format", lambda: _command(program("ruff"), "format", "--check", "--quiet", ".")),
        ("mypy", lambda: _command(program("mypy"))),
        ("import contracts", lambda: _command(program("lint-imports"), "--no-cache")),
        ("file lengths and names", lambda: shape(python_files())),
        ("docker-compose.dev.yml", _compose),
    ]


def _show(screen: Screen, title: str, check: Callable[[], str]) -> bool:
    """Run one check; it passes if it has nothing to say."""
    with screen.step(title) as step:
        said = check()
        step.failed = bool(said)
    if said:
        lines = said.splitlines()
        screen.say("\n".join(lines[:LONGEST_COMPLAINT]))
        if len(lines) > LONGEST_COMPLAINT:
            screen.say(f"... and {len(lines) - LONGEST_COMPLAINT} lines more")
    return not said


def _command(*words: str) -> str:
    done = subprocess.run(
        words, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    return (done.stdout + done.stderr).strip() or f"{words[0]} ended with {done.returncode}"


def _compose() -> str:
    try:
        program = compose.program()
    except Trouble as trouble:
        return trouble.reason if os.environ.get("CI") else ""
    return _command(*program, "-f", str(compose.FILE), "config", "-q")


def python_files() -> list[Path]:
    """Every Python file that git knows of or would add."""
    listed = subprocess.run(
        # Root checks a checkout that belongs to somebody else.
        [
            "git",
            "-c",
            "safe.directory=*",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.py",
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for line in listed.stdout.splitlines() if (path := CHECKOUT / line).exists()]


def shape(files: Sequence[Path]) -> str:
    """What is wrong with lengths and names of these files; empty when nothing."""
    wrong = []
    for path in files:
        lines = path.read_text().splitlines()
        if len(lines) > LONGEST_FILE:
            wrong.append(f"{path}: {len(lines)} lines; split it by noun below {LONGEST_FILE}")
        for part in {path.stem, path.parent.name} & NAMELESS:
            wrong.append(f"{path}: a thing called {part} has no name, so it has no home")
    return "\n".join(wrong)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
