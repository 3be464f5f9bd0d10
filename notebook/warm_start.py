"""Waits warm inside a notebook's container, then becomes one person's server, once.

Runs in any image that has `jupyterhub-singleuser`, with that script's interpreter, so it imports
only the standard library and works from Python 3.9 on. It knows no identity while it waits: what
reads one at import is kept out. `docs/container.md` is the contract with the agent.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import locale
import os
import signal
import site
import socket
import sys
import time
import types

HERE = os.path.dirname(os.path.abspath(__file__))
PRIVATE = "/run/greenroom"
LONGEST_MESSAGE = 128 * 1024
LONGEST_SILENCE_SECONDS = 30.0
BAD_TRIES = 3

EXIT_NO_NOTEBOOK, EXIT_NO_CHANNEL, EXIT_NO_JUPYTER, EXIT_BAD_TRIES = 66, 67, 68, 69

# Read at interpreter start, so a process that runs already cannot follow a change.
READ_AT_START = ("PYTHON", "LD_")
OURS = ("GREENROOM_NOTEBOOK", "GREENROOM_REHEARSAL", "GREENROOM_SCRIPT", "GREENROOM_CONNECTION")

# Without a record: what every server needs, whatever else the image has.
ESSENTIAL = ("jupyterhub.log", "jupyter_server.serverapp", "nbformat.v4", "tornado.httpclient")


class Refusal(Exception):
    """What was sent is not an activation of this notebook."""


def main() -> int:
    begun = time.monotonic()
    script = os.environ.get("GREENROOM_SCRIPT", "")
    if "GREENROOM_CONNECTION" in os.environ:
        return resume(script)
    notebook = os.environ.get("GREENROOM_NOTEBOOK", "")
    if not notebook:
        return stop(EXIT_NO_NOTEBOOK, "GREENROOM_NOTEBOOK is not set: only an agent starts this")
    if os.environ.get("GREENROOM_REHEARSAL") == "1":
        os.execv(sys.executable, [sys.executable, os.path.join(HERE, "rehearsal.py")])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    borrow_path_of(script)
    preload(recorded() or guessed())
    if "tornado.tcpserver" not in sys.modules:
        return stop(EXIT_NO_JUPYTER, f"the interpreter of {script} cannot import Jupyter's server")
    gc.collect()
    gc.freeze()
    try:
        listener = listen(os.path.join(PRIVATE, "socket"))
    except OSError as error:
        return stop(EXIT_NO_CHANNEL, f"cannot listen in {PRIVATE}: {error.strerror}")
    hello = {"greenroom": 1, "notebook": notebook, "state": "warm", "modules": len(sys.modules)}
    got = wait_for_order(listener, {**hello, "warm_ms": round((time.monotonic() - begun) * 1000)})
    if got is None:
        return stop(EXIT_BAD_TRIES, f"{BAD_TRIES} messages were refused; this notebook gives up")
    connection, order = got
    say(connection, {"accepted": order["lease"]})
    return become(script, order, Report(connection, order["lease"]))


def stop(code: int, reason: str) -> int:
    print(f"greenroom: {reason}", file=sys.stderr, flush=True)
    return code


# Warm: everything that needs no identity


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


def recorded() -> list[str]:
    """The rehearsal's list; empty if there is none that fits this interpreter."""
    try:
        with open(os.path.join(PRIVATE, "record.json"), encoding="utf-8") as file:
            record = json.load(file)
        fits = record.get("python", sys.version) == sys.version
        return [name for name in record["modules"] if isinstance(name, str)] if fits else []
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        stop(0, f"record.json is unreadable, preloading without it: {error!r}")
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


# The channel: one socket, one order


def listen(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    # The directory is private; a rootless agent is not the owner of what is made in it.
    os.chmod(path, 0o666)
    listener.listen(8)
    return listener


def wait_for_order(listener, hello):
    """The connection and its order, the channel closed behind it; None after too many tries."""
    refused = 0
    while refused < BAD_TRIES:
        connection, _ = listener.accept()
        connection.settimeout(LONGEST_SILENCE_SECONDS)
        try:
            say(connection, hello)
            line = read_line(connection)
            order = read_order(line, hello["notebook"]) if line else None
        except Refusal as refusal:
            refused += 1
            say(connection, {"refused": str(refusal)})
            order = None
        if order is not None:
            close_channel(listener)
            return connection, order
        connection.close()
    close_channel(listener)
    return None


def close_channel(listener: socket.socket) -> None:
    path = listener.getsockname()
    with contextlib.suppress(OSError):
        os.unlink(path)
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            late, _ = listener.accept()
            say(late, {"refused": "this notebook is taken"})
            late.close()
    listener.close()


def say(connection: socket.socket, message: dict) -> None:
    # Whoever asked may have hung up: what it does not hear, it will see by asking the server.
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")


def read_line(connection: socket.socket) -> bytes:
    """The one line that was sent; empty if the other side only looked and hung up."""
    read = bytearray()
    try:
        while b"\n" not in read:
            part = connection.recv(65536)
            if not part:
                break
            read += part
            if len(read) > LONGEST_MESSAGE:
                raise Refusal(f"the message is longer than {LONGEST_MESSAGE} bytes")
    except OSError:
        return b""
    line, newline, rest = bytes(read).partition(b"\n")
    if rest:
        raise Refusal("more than one message was sent")
    if line and not newline:
        raise Refusal("the message does not end with a newline")
    return line


def read_order(line: bytes, notebook: str) -> dict:
    """A checked {"lease", "notebook", "environment", "arguments", "directory"}."""
    try:
        message = json.loads(line)
    except ValueError:
        raise Refusal("the message is not JSON") from None
    order = message.get("activate") if isinstance(message, dict) else None
    if not isinstance(order, dict):
        raise Refusal("the message is not an activation")
    if order.get("notebook") != notebook:
        raise Refusal("the activation is for another notebook")
    environment, arguments = order.get("environment"), order.get("arguments")
    if not (is_text(order.get("lease")) and order["lease"]):
        raise Refusal("the activation names no lease")
    if not (isinstance(environment, dict) and all(map(is_variable, environment.items()))):
        raise Refusal("environment is not a map of variables to text")
    if not (isinstance(arguments, list) and all(map(is_text, arguments))):
        raise Refusal("arguments is not a list of text")
    if not (is_text(order.get("directory")) and os.path.isabs(order["directory"])):
        raise Refusal("directory is not an absolute path")
    return order


def is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def is_variable(item: tuple) -> bool:
    return is_text(item[0]) and item[0] != "" and "=" not in item[0] and is_text(item[1])


# Activation: from here on this process is somebody's server


class Report:
    """Tells the agent, once, how the activation went, and closes the channel's last end."""

    def __init__(self, connection: socket.socket, lease: str, cold: str = "") -> None:
        self.connection, self.lease, self.cold = connection, lease, cold
        self.stages: dict[str, float] = {}
        self.begun, self.cpu_begun = time.monotonic(), time.process_time()
        connection.settimeout(1.0)

    def stage(self, name: str) -> None:
        """Everything since the last stage was this one."""
        now = time.monotonic()
        self.stages[name] = round((now - self.begun) * 1000, 2)
        self.begun = now

    def serving(self) -> None:
        self.stage("loop")
        cpu = round((time.process_time() - self.cpu_begun) * 1000, 2)
        told = {"serving": self.lease, "stages": self.stages, "cpu_ms": cpu}
        self.end({**told, **({"cold": self.cold} if self.cold else {})})

    def failed(self, reason: str) -> None:
        self.end({"failed": self.lease, "reason": reason[:2000]})

    def end(self, message: dict) -> None:
        if self.connection.fileno() >= 0:
            say(self.connection, message)
            self.connection.close()


def become(script: str, order: dict, report: Report) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        reason = take_identity(order, script)
        if reason and not report.cold:
            start_again(script, order, report, reason)
        report.stage("prepare")
        tell_when_listening(report)
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


def tell_when_listening(report: Report) -> None:
    """Report as soon as the server's own loop runs with its port bound; leaves no trace."""
    from tornado.ioloop import IOLoop
    from tornado.tcpserver import TCPServer

    stock = TCPServer.add_sockets

    def add_sockets(server, sockets):
        TCPServer.add_sockets = stock
        stock(server, sockets)
        report.stage("initialise")
        IOLoop.current().add_callback(serving)

    def serving() -> None:
        gc.enable()
        report.serving()

    TCPServer.add_sockets = add_sockets


def run_stock(script: str, arguments: list[str]) -> int:
    """Run the image's own entry point as `__main__` of this process."""
    with open(script, "rb") as file:
        code = compile(file.read(), script, "exec")
    stock = types.ModuleType("__main__")
    stock.__file__ = script
    sys.modules["__main__"] = stock
    sys.argv = [script, *arguments]
    exec(code, stock.__dict__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
