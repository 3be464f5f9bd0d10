"""The moment in which a warm process becomes one person's server.

Takes the lease's environment, arguments and directory, does what the interpreter would have done
at start had it known them, and runs the image's own entry point in this process. Whether that
served is reported once, on the connection that brought the lease. Standard library only.
"""

from __future__ import annotations

import contextlib
import gc
import json
import locale
import os
import signal
import site
import socket
import sys
import time
import types
from urllib.parse import urlsplit

import identity

HERE = os.path.dirname(os.path.abspath(__file__))
# Read at interpreter start, so a process that runs already cannot follow a change.
READ_AT_START = ("PYTHON", "LD_")
OUR_MODULES = (
    *("warm_start", "preload", "certificates", "answers", "afterwards"),
    *("activation", "identity", "rehearsal"),
)
OURS = ("GREENROOM_NOTEBOOK", "GREENROOM_REHEARSAL", "GREENROOM_SCRIPT", "GREENROOM_CONNECTION")


class Report:
    """Tells the agent, once, how the activation went, and closes the channel's last end."""

    def __init__(self, connection: socket.socket, lease: str, cold: str = "") -> None:
        self.connection, self.lease, self.cold = connection, lease, cold
        self.stages: dict[str, float] = {}
        self.begun, self.cpu_begun = time.monotonic(), time.process_time()
        self.modules = set(sys.modules)
        connection.settimeout(1.0)

    def stage(self, name: str) -> None:
        """Everything since the last stage was this one."""
        now = time.monotonic()
        self.stages[name] = round((now - self.begun) * 1000, 2)
        self.begun = now

    def serving(self) -> None:
        self.stage("loop")
        cpu = round((time.process_time() - self.cpu_begun) * 1000, 2)
        late = len(set(sys.modules) - self.modules)
        told = {"serving": self.lease, "stages": self.stages, "cpu_ms": cpu, "late": late}
        self.end({**told, **({"cold": self.cold} if self.cold else {})})

    def failed(self, reason: str) -> None:
        self.end({"failed": self.lease, "reason": reason[:2000]})

    def end(self, message: dict) -> None:
        if self.connection.fileno() >= 0:
            # The agent may be gone: what it does not hear, it will see by asking the server.
            with contextlib.suppress(OSError):
                self.connection.sendall(json.dumps(message).encode() + b"\n")
            self.connection.close()


def become(script: str, order: dict, report: Report, stand_ins=()) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        reason = take_identity(order, script)
        if reason and not report.cold:
            start_again(script, order, report, reason)
        report.stage("prepare")
        tell_when_listening(report, [gc.enable, *(each.withdraw for each in stand_ins)])
        for each in stand_ins:
            each.offer()
        # Collections of what this start builds up would find nothing: it stays.
        gc.disable()
        return run_stock(script, order["arguments"])
    except SystemExit as end:
        report.failed(f"jupyterhub-singleuser ended with code {end.code!r} before it served")
        raise
    except BaseException as error:
        report.failed(f"{type(error).__name__}: {error}")
        raise


def take_identity(order: dict, script: str) -> str:
    """Become the person's process; the reason why that needs a new interpreter, or ''."""
    environment = {name: value for name, value in order["environment"].items() if name not in OURS}
    changed = [
        name
        for name, value in environment.items()
        if name.startswith(READ_AT_START) and os.environ.get(name) != value
    ]
    for name in OURS:
        os.environ.pop(name, None)
    # What a shell would say of this directory and this command.
    shell = {"PWD": order["directory"], "_": script}
    os.environ.update({name: value for name, value in shell.items() if name in os.environ})
    os.environ.update(environment)
    # Before anything of the person's is looked at: only they may be able to enter their home.
    identity.become(order)
    os.chdir(order["directory"])
    # A home may be on a network: files that only this process reads stay in the container.
    os.environ.setdefault("JUPYTER_RUNTIME_DIR", "/tmp/jupyter-runtime")
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_CTYPE, "")
    time.tzset()
    if changed:
        return f"{', '.join(changed)} must be set before Python starts"
    return add_user_site()


def add_user_site() -> str:
    """Do what `site` does at start, now that home is there; the name that it shadows, or ''."""
    site.USER_BASE = site.USER_SITE = None
    folder = site.getusersitepackages()
    if not site.ENABLE_USER_SITE or folder in sys.path or not os.path.isdir(folder):
        return ""
    before = list(sys.path)
    site.addsitedir(folder)
    added = [path for path in sys.path if path not in before]
    place = place_of_user_site(before)
    sys.path[:] = before[:place] + added + before[place:]
    for path in added:
        sys.path_importer_cache.pop(path, None)
        name = shadowed_by(path, later=set(before[place:]))
        if name:
            return f"{name} of the person's own packages replaces the image's"
    return ""


def place_of_user_site(path: list[str]) -> int:
    """`site` puts it after a virtual environment's packages and before the system's."""
    virtual = sys.prefix != sys.base_prefix
    prefixes = [name for name in site.PREFIXES if not (virtual and name == sys.prefix)]
    system = set(site.getsitepackages(prefixes))
    return next((place for place, entry in enumerate(path) if entry in system), len(path))


def shadowed_by(folder: str, later: set[str]) -> str:
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        name = entry.partition(".")[0]
        file = getattr(sys.modules.get(name), "__file__", None) or ""
        is_package = os.path.basename(file).startswith("__init__.")
        if file and os.path.dirname(os.path.dirname(file) if is_package else file) in later:
            return name
    return ""


def start_again(script: str, order: dict, report: Report, reason: str) -> None:
    """Give the preload up: right and slow beats fast and wrong. The channel's end goes along."""
    report.connection.set_inheritable(True)
    os.environ["GREENROOM_SCRIPT"] = script
    told = {**order, "cold": reason, "connection": report.connection.fileno(), "environment": {}}
    os.environ["GREENROOM_CONNECTION"] = json.dumps(told)
    command = getattr(sys, "orig_argv", [sys.executable, os.path.join(HERE, "warm_start.py")])
    os.execv(sys.executable, [sys.executable, *command[1:]])


def resume(script: str) -> int:
    """The other half of `start_again`, in the new interpreter."""
    order = json.loads(os.environ.pop("GREENROOM_CONNECTION"))
    connection = socket.socket(fileno=order["connection"])
    connection.set_inheritable(False)
    borrow_path_of(script)
    return become(script, order, Report(connection, order["lease"], cold=order["cold"]))


def borrow_path_of(script: str) -> None:
    """The stock start has its script's directory first on the path, not ours."""
    if sys.path and sys.path[0] == HERE:
        sys.path[0] = os.path.dirname(script)


def tell_when_listening(report: Report, tidy: list) -> None:
    """Report as soon as the server's own loop runs with its port bound; leaves no trace."""
    from tornado.ioloop import IOLoop
    from tornado.tcpserver import TCPServer

    stock = TCPServer.add_sockets
    port = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", "")).port

    def add_sockets(server, sockets):
        bound = list(sockets)
        stock(server, bound)
        # An extension may open a port of its own before the server does.
        if port in (None, *(one.getsockname()[1] for one in bound)):
            TCPServer.add_sockets = stock
            report.stage("initialise")
            IOLoop.current().add_callback(serving)

    def serving() -> None:
        for put_back in tidy:
            put_back()
        report.serving()

    TCPServer.add_sockets = add_sockets


def run_stock(script: str, arguments: list[str]) -> int:
    """Run the image's own entry point as `__main__` of this process."""
    with open(script, "rb") as file:
        code = compile(file.read(), script, "exec")
    for name in OUR_MODULES:
        sys.modules.pop(name, None)
    stock = types.ModuleType("__main__")
    stock.__file__ = script
    sys.modules["__main__"] = stock
    sys.argv = [script, *arguments]
    exec(code, stock.__dict__)
    return 0
