"""Imports, at warm time, everything that a server needs and that needs no identity.

What reads a lease's environment at import is kept out, however deep it is asked for. The list of
modules comes from a rehearsal; without one, from what the image enables. Standard library only.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys

# Without a record: what every server needs, whatever else the image has.
ESSENTIAL = ("jupyterhub.log", "jupyter_server.serverapp", "nbformat.v4", "tornado.httpclient")


def reads_identity(name: str) -> bool:
    """These take the lease's environment at import, so only activation may import them."""
    return name == "jupyterhub.services.auth" or f"{name}.".startswith("jupyterhub.singleuser.")


class Gate:
    """A finder that refuses what reads an identity, and remembers that somebody asked."""

    asked = False

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if reads_identity(name):
            self.asked = True
            raise ImportError(f"{name} waits for activation", name=name)


def preload(names: list[str]) -> None:
    gate = Gate()
    sys.meta_path.insert(0, gate)
    try:
        for name in names:
            if name not in sys.modules and not reads_identity(name):
                load(name, gate)
    finally:
        sys.meta_path.remove(gate)


def load(name: str, gate: Gate) -> None:
    before = set(sys.modules)
    gate.asked = False
    # A module that fails now is imported, and fails or not, by the stock start as always.
    with contextlib.suppress(Exception, SystemExit):
        importlib.import_module(name)
    if gate.asked:
        # Somebody may have caught the refusal and gone on without the hub: forget them all.
        for found in set(sys.modules) - before:
            forget(found)


def forget(name: str) -> None:
    module = sys.modules.pop(name, None)
    parent, _, child = name.rpartition(".")
    if parent in sys.modules and getattr(sys.modules[parent], child, None) is module:
        delattr(sys.modules[parent], child)


def recorded(path: str) -> list[str]:
    """The rehearsal's list; empty if there is none that fits this interpreter."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        fits = record.get("python", sys.version) == sys.version
        return [name for name in record["modules"] if isinstance(name, str)] if fits else []
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"greenroom: {path} is unreadable, preloading without it: {error!r}"
        print(told, file=sys.stderr, flush=True)
        return []


def guessed() -> list[str]:
    """Without a record: the essentials and every server extension that the image enables."""
    names = list(ESSENTIAL)
    with contextlib.suppress(Exception):
        from jupyter_core.paths import ENV_CONFIG_PATH, SYSTEM_CONFIG_PATH
        from jupyter_server.extension.config import ExtensionConfigManager

        places = [*ENV_CONFIG_PATH, *SYSTEM_CONFIG_PATH]
        enabled = ExtensionConfigManager(read_config_path=places).get_jpserver_extensions()
        names += [name for name, on in enabled.items() if on]
    return [*names, *(f"{name}.{leaf}" for name in names for leaf in ("app", "labapp", "handlers"))]
