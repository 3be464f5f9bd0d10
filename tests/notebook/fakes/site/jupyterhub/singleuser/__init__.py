"""A fake server: writes down what it sees of itself, then behaves as its environment says."""

from __future__ import annotations

import json
import os
import sys

from jupyterhub.services import auth


def main():
    import sneaky

    facts = {
        "environment": dict(os.environ),
        "arguments": sys.argv,
        "path": sys.path,
        "directory": os.getcwd(),
        "token": auth.TOKEN,
        "sneaky_has_hub": sneaky.HAS_HUB,
        "own": find_own(),
        "ours": [name for name in ("activation", "preload", "warm_start") if name in sys.modules],
        "main": sys.modules["__main__"].__file__,
        "hash_of_a": hash("a"),
    }
    with open("facts.json", "w", encoding="utf-8") as file:
        json.dump(facts, file)
    behaviour = os.environ.get("FAKE_BEHAVIOUR", "serve")
    if behaviour == "exit":
        sys.exit(3)
    if behaviour == "raise":
        raise OSError("the home is full")
    from tornado.tcpserver import TCPServer

    TCPServer().add_sockets([])
    return 0


def find_own():
    try:
        import own_package
    except ImportError:
        return None
    return own_package.__file__
