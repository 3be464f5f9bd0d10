"""`python -m tests.crashes.nursery`: starts programs by forking, so that each is there at once.

A worker's imports take longer than all that a test does with it. They are done once here; a
child is a process of its own that runs the program's `__main__` from its first line. Orders
and reports are lines of JSON on stdin and stdout; when stdin ends, all children are killed.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import runpy
import selectors
import signal
import sys
from typing import Any

PRELOADED = (
    "aiohttp.web",
    "benchmarks.simulated",
    "controlplane.clients.docker",
    "controlplane.clients.postgres",
    "controlplane.clients.rabbitmq",
    "controlplane.clients.redis",
    "controlplane.spawner",
    "tests.spawner.stage",
    "workers.agent",
    "workers.lease",
    "workers.liveness",
    "workers.process",
    "workers.refill",
    "workers.suspect",
    "workers.tools",
)
DIE_WITH_PARENT = 1


def main() -> None:
    for module in PRELOADED:
        importlib.import_module(module)
    woken, wakes = os.pipe()
    for end in (woken, wakes):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    children: set[int] = set()
    _say(ready=True)
    try:
        _serve(woken, children)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


def _serve(woken: int, children: set[int]) -> None:
    """Until stdin ends."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    held = b""
    while True:
        ready = {key.fd for key, _ in selector.select()}
        if woken in ready:
            os.read(woken, 4096)
            _reap(children)
        if 0 in ready:
            said = os.read(0, 65536)
            if not said:
                return
            *orders, held = (held + said).split(b"\n")
            for order in orders:
                _start(json.loads(order), children)


def _start(order: dict[str, Any], children: set[int]) -> None:
    child = os.fork()
    if child == 0:
        _become(order)
    children.add(child)
    _say(started=order["number"], pid=child)


def _become(order: dict[str, Any]) -> None:
    """The program; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        _redirect(order["log"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = [order["module"], *order["arguments"]]
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.closerange(3, 1024)


def _reap(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        children.discard(pid)
        _say(ended=pid, code=os.waitstatus_to_exitcode(status))


def _say(**said: Any) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    main()
