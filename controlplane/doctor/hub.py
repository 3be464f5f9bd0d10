"""Settings of a hub that spoil warm starts, read from its own configuration file."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from controlplane.doctor import hub_reading
from controlplane.doctor.finding import Finding, fail, ok, warn
from controlplane.errors import Unavailable
from controlplane.model.addresses import is_loopback

CHECK = "hub settings"
READ_SECONDS = 60.0
OLDEST_HUB = (5, 3)
# Below it people in line are sent away before the next notebook is warm.
SHORT_START_SECONDS = 120
# A notebook has proved that it answers before the hub tries: longer waits hide a closed port.
LONG_HTTP_SECONDS = 60
SHORT_HTTP_SECONDS = 5
PLUGIN = (
    "greenroom",
    "controlplane.spawner.GreenroomSpawner",
    "controlplane.spawner.spawner.GreenroomSpawner",
)


@dataclass(frozen=True, kw_only=True)
class Hub:
    """What a hub's configuration says. `error`: why it could not be read to its end."""

    python: str
    error: str = ""
    versions: Mapping[str, str | None] = field(default_factory=dict)
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def get(self, name: str, default: Any, *sections: str) -> Any:
        """The value in the first of these sections that has one."""
        for section in sections or ("JupyterHub",):
            if name in self.config.get(section, {}):
                return self.config[section][name]
        return default

    def spawner(self, name: str, default: Any) -> Any:
        """A trait of the spawner, our class before its base."""
        return self.get(name, default, "GreenroomSpawner", "Spawner")


def judge(hub: Hub) -> list[Finding]:
    """A line for each setting that spoils something; one `ok` where none does."""
    if hub.error:
        fix = "name the hub's Python and run this in its environment: --hub-python PYTHON"
        return [warn(CHECK, f"the configuration cannot be read: {hub.error}", fix=fix)]
    judged = [
        *_installed(hub),
        *_spawner(hub),
        *_url(hub),
        *_brakes(hub),
        *_patience(hub),
    ]
    return judged or [
        ok(CHECK, f"JupyterHub {hub.versions.get('jupyterhub')}, Greenroom's spawner")
    ]


def _installed(hub: Hub) -> list[Finding]:
    version = hub.versions.get("jupyterhub")
    found = []
    if version is None:
        fix = "name the Python that runs the hub: --hub-python PYTHON"
        found.append(warn(CHECK, f"{hub.python} has no JupyterHub", fix=fix))
    elif tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_HUB:
        fix = f"{hub.python} -m pip install 'jupyterhub>=5.3'"
        found.append(fail(CHECK, f"JupyterHub {version} is older than 5.3", fix=fix))
    if hub.versions.get("greenroom") is None:
        fix = f"{hub.python} -m pip install greenroom"
        found.append(fail(CHECK, "Greenroom is not in the hub's environment", fix=fix))
    return found


def _spawner(hub: Hub) -> list[Finding]:
    chosen = hub.get("spawner_class", "the default, a local process")
    found = []
    if chosen not in PLUGIN:
        fix = 'c.JupyterHub.spawner_class = "greenroom"'
        found.append(warn(CHECK, f"spawner_class is {chosen}", fix=fix))
    if hub.get("internal_ssl", False):
        fix = "c.JupyterHub.internal_ssl = False"
        found.append(fail(CHECK, "internal_ssl is on, and every start is refused", fix=fix))
    return found


def api_url(hub: Hub) -> str:
    """Where the hub tells notebooks that its API is, as JupyterHub works it out."""
    given = hub.spawner("hub_connect_url", None) or hub.get("hub_connect_url", "")
    if given:
        return str(given)
    bind = str(hub.get("hub_bind_url", ""))
    if bind.startswith("unix"):
        return bind
    parts = urlsplit(bind)
    listens = (parts.hostname or "") if bind else hub.get("hub_ip", "127.0.0.1")
    host = str(hub.get("hub_connect_ip", "") or listens)
    port = parts.port or hub.get("hub_port", 8081)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme or 'http'}://{shown}:{port}/hub/"


def _url(hub: Hub) -> list[Finding]:
    url = api_url(hub)
    host = urlsplit(url).hostname or ""
    fix = 'c.JupyterHub.hub_ip = "<this machine, as the nodes\' containers reach it>"'
    if url.startswith("unix"):
        return [fail(CHECK, f"the hub's API is a socket file, {url}", fix=fix)]
    if host in ("", "0.0.0.0", "::", "*"):
        seen = "notebooks are told the hub's host name, which their DNS has to know"
        name = 'c.JupyterHub.hub_connect_url = "http://<address>:8081"'
        return [warn(CHECK, seen, fix=name)]
    if is_loopback(url):
        return [fail(CHECK, f"notebooks are told {url}: that is each notebook itself", fix=fix)]
    return []


def _brakes(hub: Hub) -> list[Finding]:
    found = []
    at_once = hub.get("concurrent_spawn_limit", 100)
    if at_once:
        seen = f"concurrent_spawn_limit is {at_once}: the next person at once is sent away"
        found.append(warn(CHECK, seen, fix="c.JupyterHub.concurrent_spawn_limit = 0"))
    failures = hub.spawner("consecutive_failure_limit", 0)
    if failures:
        seen = f"consecutive_failure_limit is {failures}: so many failed starts end the hub"
        found.append(warn(CHECK, seen, fix="c.Spawner.consecutive_failure_limit = 0"))
    return found


def _patience(hub: Hub) -> list[Finding]:
    found = []
    start = hub.spawner("start_timeout", 600)
    if isinstance(start, int | float) and start < SHORT_START_SECONDS:
        seen = f"start_timeout is {start} s: whoever waits in line is sent away so soon"
        found.append(warn(CHECK, seen, fix="c.GreenroomSpawner.start_timeout = 600"))
    http = hub.spawner("http_timeout", 30)
    if isinstance(http, int | float) and not SHORT_HTTP_SECONDS <= http <= LONG_HTTP_SECONDS:
        why = (
            "a port that a firewall closed is told so late" if http > 30 else "a busy hub gives up"
        )
        found.append(
            warn(CHECK, f"http_timeout is {http} s: {why}", fix="c.Spawner.http_timeout = 30")
        )
    return found


async def look(file: Path, python: str | None) -> list[Finding]:
    """Read this jupyterhub_config.py with the hub's Python, or with ours."""
    path = _found(file)
    if path is None:
        return [fail(CHECK, f"{file}: there is no such file", fix="--hub-config FILE")]
    return judge(await read(path, python or sys.executable))


def _found(file: Path) -> str | None:
    return str(file.absolute()) if file.is_file() else None


async def read(file: str, python: str) -> Hub:
    """The configuration; it runs as a program, in the directory of its file."""
    text = inspect.getsource(hub_reading)
    try:
        process = await asyncio.create_subprocess_exec(
            python, "-c", text, file,
            cwd=os.path.dirname(file),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        return Hub(python=python, error=f"{python}: {error.strerror}")
    try:
        async with asyncio.timeout(READ_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        raise Unavailable(f"{file} did not end in {READ_SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return parse(python, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def parse(python: str, out: str, err: str) -> Hub:
    """From what `hub_reading` printed; a configuration may have printed before."""
    for line in reversed(out.splitlines()):
        if line.startswith(hub_reading.MARK):
            return Hub(python=python, **json.loads(line.removeprefix(hub_reading.MARK)))
    last = err.strip().rpartition("\n")[2] or "it ended without a word"
    return Hub(python=python, error=last[:300])
