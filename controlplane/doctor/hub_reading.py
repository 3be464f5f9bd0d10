"""Runs in the hub's own Python: reads its configuration as the hub would and prints it as JSON.

Given as text to `python -c`, so that nothing of ours is on its path. Needs only traitlets.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from typing import Any

MARK = "greenroom-doctor: "
DISTRIBUTIONS = ("jupyterhub", "greenroom")
SECTIONS = ("JupyterHub", "Spawner", "GreenroomSpawner")


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def plain(value: Any) -> Any:
    """What JSON knows as it is; a class by its full name; the rest only as being there."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    return f"<{type(value).__name__}>"


def read(path: str) -> dict[str, Any]:
    try:
        from traitlets.config.loader import PyFileConfigLoader

        name, folder = os.path.basename(path), os.path.dirname(os.path.abspath(path))
        config = PyFileConfigLoader(name, path=folder).load_config()
    # A configuration is a program: whatever ends it is told.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"[:300], "config": {}}
    sections = {
        section: {key: plain(value) for key, value in config[section].items()}
        for section in SECTIONS
        if section in config
    }
    return {"error": "", "config": sections}


if __name__ == "__main__":
    found = read(sys.argv[1])
    found["versions"] = {name: version(name) for name in DISTRIBUTIONS}
    sys.stdout.write(f"\n{MARK}{json.dumps(found)}\n")
    sys.stdout.flush()
