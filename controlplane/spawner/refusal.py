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


def uncount(handler: Any) -> None:
    """Before a refusal is raised on JupyterHub 5: what it will count is counted back.

    A dry pool, or a broker that restarts, must not make hubs exit. `handler` is the
    spawner's, None when a start came from elsewhere (those are not counted).
    """
    if SpawnException is None and handler is not None:
        settings = handler.settings
        settings["failure_count"] = settings.get("failure_count", 0) - 1
