"""A start that cannot be: the error that the hub shows, labels and never counts.

JupyterHub 6 has `SpawnException` for this. JupyterHub 5 counts every failed start towards
`consecutive_failure_limit`, at which the hub exits, so there the count is taken back.
"""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError

try:
    from jupyterhub.spawner import SpawnException
except ImportError:  # JupyterHub 5
    SpawnException = None

# What the installed hub takes for somebody's refusal.
Refusal: Any = SpawnException or HTTPError


def refusal(message: str, *, reason: str, status: int = 400, retry_after: int = 0) -> HTTPError:
    """The error to raise from `start()`.

    `message` is for the person who pressed start, `reason` a short label for metrics,
    `retry_after` seconds (0: says nothing).
    """
    if SpawnException is None:
        error = HTTPError(status, message)
    else:
        error = SpawnException(message, reason=reason, status_code=status)
    error.jupyterhub_message = message
    if retry_after:
        error.headers = {"Retry-After": str(retry_after)}
    return error


def uncount(spawner: Any) -> None:
    """Before a refusal is raised on JupyterHub 5: what it will count is counted back.

    A dry pool, or a broker that restarts, must not make hubs exit. The count is taken back
    right after the hub's own callback: before it, any start that succeeds meanwhile would set
    it to zero and let the refusals under way add up. Starts that no request of the hub made
    are not counted.
    """
    if SpawnException is not None or spawner.handler is None:
        return
    starting = spawner._spawn_future
    if starting is None or starting.done():
        return
    settings = spawner.handler.settings
    # The hub compares the count with the limit of the spawner that was refused.
    spawner.consecutive_failure_limit = 0

    def take_back(_: object) -> None:
        settings["failure_count"] = max(0, settings.get("failure_count", 0) - 1)

    # After the hub's, which was added before start() ran; callbacks of one future go in turn.
    starting.add_done_callback(take_back)
