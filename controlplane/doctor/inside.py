"""Runs in a throw-away container, with the interpreter of the image's Jupyter.

`entry.sh` starts it. Standard library only, Python 3.9 and later. What to do is JSON in
GREENROOM_DOCTOR; what came of it is a line on stdout behind MARK. Ends by itself, so that
nothing runs on if the doctor is killed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

MARK = "greenroom-doctor: "
CONNECT_SECONDS = 3.0
DISTRIBUTIONS = ("jupyterhub", "jupyter_server", "jupyterlab", "ipykernel")


def main() -> None:
    order = json.loads(os.environ["GREENROOM_DOCTOR"])
    does: dict[str, Callable[..., Any]] = {
        "examine": examine,
        "listen": listen,
        "connect": connect,
        "fetch": fetch,
        "wait_for": wait_for,
        "write": write,
    }
    say(does[order.pop("do")](**order))


def say(value: Any) -> None:
    # An entry point may have left its own line unfinished.
    sys.stdout.write(f"\n{MARK}{json.dumps(value)}\n")
    sys.stdout.flush()


def listen(port: int, seconds: float) -> Any:
    """Accept connections; says `up` once it has reached itself."""
    give_up = time.monotonic() + seconds
    with socket.create_server(("0.0.0.0", port), backlog=16) as server:
        server.settimeout(1.0)
        say({"up": reached("127.0.0.1", port)})
        while time.monotonic() < give_up:
            with contextlib.suppress(OSError):
                server.accept()[0].close()
    return {"listened": True}


def connect(targets: list[list[Any]]) -> Any:
    """Which of these `[host, port]` take a connection."""
    return {"reached": [reached(host, port) for host, port in targets]}


def reached(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def fetch(url: str, seconds: float) -> Any:
    """The status and the first bytes of what answers there, past every proxy setting."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=seconds) as answer:
            return {"status": answer.status, "body": answer.read(4096).decode("utf-8", "replace")}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": ""}
    except (OSError, ValueError) as error:
        return {"error": str(getattr(error, "reason", error))}


def wait_for(path: str, seconds: float) -> Any:
    """Whether this file appears while we run."""
    give_up = time.monotonic() + seconds
    before = os.path.exists(path)
    say({"waiting": True})
    while not os.path.exists(path):
        if time.monotonic() > give_up:
            return {"before": before, "seen": False}
        time.sleep(0.05)
    return {"before": before, "seen": True}


def write(path: str) -> Any:
    """Who we are, and whether we may write in this directory."""
    who = {"uid": os.getuid(), "gids": sorted({os.getgid(), *os.getgroups()})}
    name = os.path.join(path, ".greenroom-doctor")
    try:
        with open(name, "w", encoding="utf-8") as file:
            file.write("written by greenroom doctor\n")
        os.unlink(name)
    except OSError as error:
        return {**who, "wrote": False, "error": error.strerror}
    return {**who, "wrote": True, "error": ""}


def examine() -> Any:
    """Versions, what importing Jupyter costs, and which extensions cost most of it."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "uid": os.getuid(),
        "versions": {name: version(name) for name in DISTRIBUTIONS},
    }
    # First what every start imports, so that extensions are charged only with what they add.
    parts = [timed("jupyter_server.serverapp"), timed("jupyterhub.singleuser.app")]
    found["compiled"] = compiled("jupyter_server.serverapp")
    extensions = [timed(name, extension=True) for name in enabled()]
    found["parts"] = parts
    found["extensions"] = extensions
    return found


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def timed(name: str, *, extension: bool = False) -> dict[str, Any]:
    wall, cpu, error = time.perf_counter(), time.process_time(), ""
    try:
        module = importlib.import_module(name)
        if extension:
            # Where an extension's application is imported.
            points = getattr(module, "_jupyter_server_extension_points", list)
            points()
    # An extension may raise anything, and the others are looked at all the same.
    except (Exception, SystemExit) as raised:  # noqa: BLE001
        error = f"{type(raised).__name__}: {raised}"[:300]
    return {
        "name": name,
        "wall_s": round(time.perf_counter() - wall, 3),
        "cpu_s": round(time.process_time() - cpu, 3),
        "error": error,
    }


def compiled(name: str) -> bool:
    spec = importlib.util.find_spec(name) if name in sys.modules else None
    return bool(spec and spec.cached and os.path.exists(spec.cached))


def enabled() -> list[str]:
    """Server extensions as the stock server would find them, for nobody in particular."""
    try:
        paths = importlib.import_module("jupyter_core.paths")
        config = importlib.import_module("jupyter_server.extension.config")
    except ImportError:
        return []
    found = paths.jupyter_config_path()
    manager = config.ExtensionConfigManager(read_config_path=found)
    return sorted(name for name, on in manager.get_jpserver_extensions().items() if on)


if __name__ == "__main__":
    # Whatever an extension leaves running ends with us.
    threading.Timer(600.0, os._exit, (1,)).start()
    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)
