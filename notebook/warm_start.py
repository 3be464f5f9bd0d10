"""Waits warm inside a notebook's container, then becomes one person's server, once.

Runs in any image that has `jupyterhub-singleuser`, with that script's interpreter, so it imports
only the standard library and works from Python 3.9 on. It knows no identity while it waits;
one message on a unix socket gives it one. `docs/container.md` is the contract with the agent.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
import time

import activation
import afterwards
import answers
import certificates
import identity
import preload

PRIVATE = "/run/greenroom"
LONGEST_MESSAGE = 128 * 1024
LONGEST_SILENCE_SECONDS = 30.0
BAD_TRIES = 3

EXIT_NO_NOTEBOOK, EXIT_NO_CHANNEL, EXIT_NO_JUPYTER, EXIT_BAD_TRIES = 66, 67, 68, 69


class Refusal(Exception):
    """What was sent is not an activation of this notebook."""


def main() -> int:
    begun = time.monotonic()
    script = os.environ.get("GREENROOM_SCRIPT", "")
    if "GREENROOM_CONNECTION" in os.environ:
        return activation.resume(script)
    notebook = os.environ.get("GREENROOM_NOTEBOOK", "")
    if not notebook:
        return stop(EXIT_NO_NOTEBOOK, "GREENROOM_NOTEBOOK is not set: only an agent starts this")
    if os.environ.get("GREENROOM_REHEARSAL") == "1":
        os.execv(sys.executable, [sys.executable, os.path.join(activation.HERE, "rehearsal.py")])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    identity.hold()
    activation.borrow_path_of(script)
    preload.preload(preload.recorded(os.path.join(PRIVATE, "record.json")) or preload.guessed())
    if "tornado.tcpserver" not in sys.modules:
        return stop(EXIT_NO_JUPYTER, f"the interpreter of {script} cannot import Jupyter's server")
    held = (afterwards.Afterwards(), afterwards.FirstReport())
    stand_ins = [*certificates.read_ahead(), *answers.work_out(), *held]
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
    report = activation.Report(connection, order["lease"])
    return activation.become(script, order, report, stand_ins)


def stop(code: int, reason: str) -> int:
    print(f"greenroom: {reason}", file=sys.stderr, flush=True)
    return code


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
            order = fitting(read_order(line, hello["notebook"])) if line else None
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
    except (ValueError, RecursionError):
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


def fitting(order: dict) -> dict:
    """The order, if it says who to be where that is asked for, and only there."""
    if complaint := identity.complaint(order):
        raise Refusal(complaint)
    return order


def is_text(value: object) -> bool:
    """Whether an environment or a command line can hold it."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        return bool(os.fsencode(value)) or not value
    except UnicodeEncodeError:
        return False


def is_variable(item: tuple) -> bool:
    return is_text(item[0]) and item[0] != "" and "=" not in item[0] and is_text(item[1])


if __name__ == "__main__":
    sys.exit(main())
