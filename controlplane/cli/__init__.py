"""`greenroom`: the operator's door. Data on stdout, talk on stderr.

Exit codes: 0 done, 1 failed, 2 wrong words or settings, 3 not found, 4 refused.
"""

from __future__ import annotations

import sys

NEEDS = "greenroom: the command line is not installed here\nnext: pip install 'greenroom[cli]'\n"


def main() -> None:
    """The entry point of the command."""
    try:
        from controlplane.cli.app import run
    except ModuleNotFoundError as error:
        # The spawner's installation has neither typer nor the drivers of the control plane.
        if (error.name or "").partition(".")[0] in ("controlplane", "workers"):
            raise
        sys.stderr.write(f"{NEEDS}why:  {error}\n")
        sys.exit(1)
    sys.exit(run(sys.argv[1:]))
