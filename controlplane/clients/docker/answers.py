"""From the engine's JSON to values. Pure; what is odd becomes `unknown`, never an end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.clients.docker.engine import Facts, Happening, Image, Listed, Seen, State

_STATES: dict[str, State] = {
    "created": "created",
    "running": "running",
    # A paused or restarting container still has its processes.
    "paused": "running",
    "restarting": "unknown",
    "exited": "exited",
    "dead": "exited",
    "removing": "removing",
}


def state(word: object) -> State:
    """The engine's word for a container's state."""
    return _STATES.get(str(word), "unknown")


def facts(info: Mapping[str, Any]) -> Facts:
    """From `/info`."""
    security = info.get("SecurityOptions") or []
    return Facts(
        version=str(info.get("ServerVersion", "")),
        cpus=int(info.get("NCPU") or 1),
        cpu_quota=bool(info.get("CpuCfsQuota", True)),
        rootless=any("rootless" in str(option) for option in security),
        cgroup=f"{info.get('CgroupDriver') or '?'} v{info.get('CgroupVersion') or '1'}",
        live_restore=bool(info.get("LiveRestoreEnabled")),
    )


def gateway(network: Mapping[str, Any]) -> str:
    """From `/networks/{name}`: the node's address on it, "" where the engine says none."""
    ranges = (network.get("IPAM") or {}).get("Config") or []
    return next((str(each["Gateway"]) for each in ranges if each.get("Gateway")), "")


def image(found: Mapping[str, Any]) -> Image:
    """From `/images/{name}/json`."""
    config = found.get("Config") or {}
    return Image(
        id=str(found["Id"]),
        user=str(config.get("User") or ""),
        directory=str(config.get("WorkingDir") or "/"),
        entry_point=tuple(map(str, config.get("Entrypoint") or ())),
    )


def listed(line: Mapping[str, Any]) -> Listed:
    """From one element of `/containers/json`."""
    return Listed(id=line["Id"], labels=line.get("Labels") or {}, state=state(line.get("State")))


def all_listed(lines: Sequence[Mapping[str, Any]]) -> list[Listed]:
    """From `/containers/json`."""
    return [listed(line) for line in lines]


def made(answer: Mapping[str, Any]) -> str:
    """From `/containers/create`: the id."""
    return str(answer["Id"])


def seen(found: Mapping[str, Any]) -> Seen:
    """From `/containers/{id}/json`."""
    status = found.get("State") or {}
    now = state(status.get("Status"))
    networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = [str(net.get("IPAddress") or "") for net in networks.values()]
    code = status.get("ExitCode")
    return Seen(
        id=str(found["Id"]),
        labels=(found.get("Config") or {}).get("Labels") or {},
        state=now,
        exit_code=code if now == "exited" and isinstance(code, int) else None,
        out_of_memory=bool(status.get("OOMKilled")),
        error=str(status.get("Error") or ""),
        address=next((address for address in addresses if address), ""),
        pid=int(status.get("Pid") or 0) if now == "running" else 0,
    )


def happening(event: Mapping[str, Any]) -> Happening:
    """From one line of `/events`. `time` has no nanoseconds; `timeNano` is the cursor."""
    actor = event.get("Actor") or {}
    return Happening(
        action=str(event.get("Action", "")),
        container=str(actor.get("ID", "")),
        labels=actor.get("Attributes") or {},
        at=int(event["timeNano"]),
    )


def carries(labels: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Does it have all of these labels?"""
    return all((labels or {}).get(name) == value for name, value in wanted.items())


def frames(raw: bytes) -> bytes:
    """The text in a multiplexed log: frames of an 8-byte head and its payload."""
    text, at = bytearray(), 0
    while at + 8 <= len(raw) and raw[at] in (0, 1, 2) and raw[at + 1 : at + 4] == b"\0\0\0":
        length = int.from_bytes(raw[at + 4 : at + 8], "big")
        text += raw[at + 8 : at + 8 + length]
        at += 8 + length
    # Without frames: a container with a terminal.
    return bytes(text) if at else raw


def call_name(method: str, path: str) -> str:
    """A call for a metric's label: `get.containers.json` has no id in it."""
    first, *rest = path.split("/")
    # containers/json, containers/<id>, containers/<id>/json
    words = rest[1:] if len(rest) > 1 else [word for word in rest if word in ("json", "create")]
    one = ["one"] if len(rest) > 1 else []
    return ".".join([method.lower(), first, *one, *words[-1:]])
