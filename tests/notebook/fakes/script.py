# The first line, the interpreter, is written by the test.
from __future__ import annotations

import sys

from jupyterhub.singleuser import main

if __name__ == "__main__":
    sys.exit(main())
