"""`scripts/bench <name>`: one benchmark by name, in the virtual environment."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.stack import venv
from scripts.stack.screen import Trouble, tail

NAMES = ("spawn", "endure", "deaths", "warmth", "leases", "crowd", "profile")
NEEDS_UP = "There is no .venv yet: run scripts/up first, it installs what benchmarks need."


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] not in NAMES:
        print(f"usage: scripts/bench {{{','.join(NAMES)}}} [--help]", file=sys.stderr)
        return 2
    if not in_environment("-m", "benchmarks", *arguments):
        return 1
    # Told to stop, it still stops what it started and shows what it has.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Only the one that runs is imported: each needs other parts.
    module = importlib.import_module(f"benchmarks.{arguments[0]}")
    try:
        return int(module.main(arguments[1:]))
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except Trouble as trouble:
        print(f"{trouble}\n{trouble.advice or ''}".rstrip(), file=sys.stderr)
        if trouble.log is not None:
            print("\n".join([str(trouble.log), *tail(trouble.log)]), file=sys.stderr)
        return 1


def in_environment(*command: str) -> bool:
    """Go on in .venv's Python, with this command; False, and a line for people, without one."""
    if Path(sys.prefix).resolve() == venv.MAIN.directory.resolve():
        return True
    if not venv.MAIN.python.exists():
        print(NEEDS_UP, file=sys.stderr)
        return False
    os.execv(venv.MAIN.python, [str(venv.MAIN.python), *command])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
