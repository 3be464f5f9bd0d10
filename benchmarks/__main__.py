"""`scripts/bench <name>`: one benchmark by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from benchmarks import spawn

NAMES: dict[str, Callable[[Sequence[str]], int]] = {"spawn": spawn.main}


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] not in NAMES:
        print(f"usage: scripts/bench {{{','.join(NAMES)}}} [--help]", file=sys.stderr)
        return 2
    return NAMES[arguments[0]](arguments[1:])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
