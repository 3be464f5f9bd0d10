"""The pools file: TOML that an admin writes, into `PoolSpec` and `Limits`.

Everything that is wrong is said at once, each in a sentence with the key, its value and what
to write instead. Nothing is guessed and nothing is ignored.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from controlplane.errors import BadSettings
from controlplane.model import ContainerSpec, Limits, Mount, PoolSpec, Resources, Storage, identity

# What a fix looks like, by key; the table in docs/pools.md has a row for each.
EXAMPLES: dict[str, str] = {
    "name": '"lab"',
    "display_name": '"Small notebook"',
    "description": '"JupyterLab, 1 GiB"',
    "container": '{ image = "lab:2026-03" }',
    "warm": "10",
    "warm_per_node": "4",
    "refill_below": "8",
    "maximum": "40",
    "max_age_seconds": "86400",
    "groups": '["students"]',
    "max_per_user": "1",
    "max_per_group": "{ students = 30 }",
    "paused": "true",
    "container.image": '"lab:2026-03"',
    "container.command": '["start-singleuser.py"]',
    "container.resources": "{ memory_mib = 1024, cpus = 2.0 }",
    "container.resources.memory_mib": "1024",
    "container.resources.cpus": "2.0",
    "container.resources.pids": "512",
    "container.storage": '{ root = "/srv/homes" }',
    "container.storage.root": '"/srv/homes"',
    "container.storage.template": '"{username}"',
    "container.storage.escape": '"default"',
    "container.storage.target": '"/home/jovyan"',
    "container.storage.create_missing": "false",
    "container.storage.read_only": "false",
    "container.storage.backup": '"/srv/homes-backup"',
    "container.storage.backup_access": '"ro"',
    "container.scratch_mib": "512",
    "container.mounts": '[{ source = "/data/sets", target = "/data" }]',
    "container.mounts.source": '"/data/sets"',
    "container.mounts.target": '"/data"',
    "container.environment": '{ TZ = "Europe/Berlin" }',
    "container.run_as": '"image"',
    "limits.max_per_user": "3",
    "limits.max_per_group": "{ students = 40 }",
}
MODELS: dict[str, type[BaseModel]] = {
    "": PoolSpec,
    "container": ContainerSpec,
    "container.resources": Resources,
    "container.storage": Storage,
    "container.mounts": Mount,
    "limits": Limits,
}
_GPUS = frozenset({"gpu", "gpus", "devices", "device_requests", "nvidia", "cuda"})

# An order to an agent carries all of it, and must fit into a message beside its envelope.
CONTAINER_BYTES = 32 * 1024


@dataclass(frozen=True, kw_only=True)
class PoolsFile:
    """What one file says. `limits` is None when it has no table of that name."""

    pools: tuple[PoolSpec, ...]
    limits: Limits | None = None


def load(path: Path) -> PoolsFile:
    """What this file says. Raises `BadSettings` with a sentence for each mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadSettings(f"{path}: there is no such file: give the pools file with -f") from None
    except IsADirectoryError:
        raise BadSettings(f"{path} is a directory: name the pools file in it") from None
    except UnicodeDecodeError as error:
        raise BadSettings(f"{path} is not UTF-8 at byte {error.start}: save it as UTF-8") from None
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}") from None
    return parse(text, source=str(path))


def parse(text: str, *, source: str = "pools file") -> PoolsFile:
    """What this text says; `source` begins each sentence of a `BadSettings`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{source} is not TOML: {error}") from None
    pools: list[PoolSpec] = []
    mistakes = list(_outside(document))
    for number, table in enumerate(_tables(document), start=1):
        try:
            # As JSON, because strictness about types is meant and TOML's arrays are lists.
            body = json.dumps(table, default=str)
            pools.append(PoolSpec.model_validate_json(body, strict=True))
        except ValidationError as error:
            mistakes += _sentences(_called(table, number), error)
    mistakes += _duplicates(document)
    limits, wrong = _limits(document)
    mistakes += wrong
    for pool in pools:
        mistakes += (f"pool {pool.name!r}: {text}" for text in contradictions(pool))
    if mistakes:
        raise BadSettings("\n".join(f"{source}: {mistake}" for mistake in mistakes))
    return PoolsFile(pools=tuple(pools), limits=limits)


def _limits(document: Mapping[str, Any]) -> tuple[Limits | None, list[str]]:
    table = document.get("limits")
    if table is None:
        return None, []
    if not isinstance(table, dict):
        return None, ["limits over all pools are one table: write [limits], with one bracket"]
    try:
        return Limits.model_validate_json(json.dumps(table, default=str), strict=True), []
    except ValidationError as error:
        told = [_sentence(*_keys(each, "limits"), each) for each in error.errors()]
        return None, [f"[limits]: {sentence}" for sentence in told]


def contradictions(pool: PoolSpec) -> Iterator[str]:
    """Values that are fine alone and not together."""
    yield from _numbers_apart(pool)
    yield from _directories_apart(pool.container)
    yield from _too_long(pool.container)
    yield from _people_apart(pool.container)
    yield from _backup_apart(pool.container.storage)


def _numbers_apart(pool: PoolSpec) -> Iterator[str]:
    key, target = ("warm", pool.warm) if pool.warm is not None else ("warm_per_node", None)
    target = pool.warm_per_node if target is None else target
    assert target is not None, "PoolSpec has exactly one of the two"
    if pool.maximum is not None and target > pool.maximum:
        yield (
            f"{key} = {target} is more than maximum = {pool.maximum}: the target could never be "
            f"reached; raise maximum, or lower {key}"
        )
    if pool.refill_below is None:
        return
    if pool.refill_below > target:
        yield (
            f"refill_below = {pool.refill_below} is more than {key} = {target}: refill stops at "
            f"the target; write refill_below = {target} or less, or leave it out"
        )
    if pool.refill_below == 0 and target:
        yield (
            f"refill_below = 0 with {key} = {target}: refill would never start; write 1 or more, "
            "or leave it out"
        )


def _directories_apart(container: ContainerSpec) -> Iterator[str]:
    targets = [("container.mounts", m.target) for m in container.mounts]
    if container.storage is not None:
        targets.append(("container.storage.target", container.storage.target))
        if ".." in Path(container.storage.template).parts or container.storage.template[0] == "/":
            yield (
                f"container.storage.template = {container.storage.template!r} leaves the root: "
                'write a path below it, such as "{username}"'
            )
    for target, count in Counter(path.rstrip("/") or "/" for _, path in targets).items():
        if count > 1:
            yield f"{target!r} is the target of {count} mounts: give each its own"
    for key, path in targets:
        if ".." in Path(path).parts or path.rstrip("/") in ("", "/etc", "/proc", "/sys", "/dev"):
            yield f"{key} = {path!r} would cover the system: write a directory of its own"


def _people_apart(container: ContainerSpec) -> Iterator[str]:
    if container.run_as == "user" and container.storage is None:
        yield (
            'container.run_as = "user" without container.storage: a notebook takes the identity '
            "that its person's home has; say where homes are, or leave run_as out"
        )
    yield from identity.misplaced(container.environment, run_as=container.run_as)


def _backup_apart(storage: Storage | None) -> Iterator[str]:
    if storage is None:
        return
    if storage.backup is None:
        if storage.backup_access != "ro":
            yield (
                f"container.storage.backup_access = {storage.backup_access!r} without "
                "container.storage.backup: say where the backup is, or leave it out"
            )
        return
    root, backup = (Path(os.path.normpath(each)) for each in (storage.root, storage.backup))
    if root == backup or root in backup.parents or backup in root.parents:
        yield (
            f"container.storage.backup = {storage.backup!r} and container.storage.root = "
            f"{storage.root!r} are one directory, or one is inside the other: what takes the one "
            "away takes the other; give the backup a mount of its own"
        )


def _too_long(container: ContainerSpec) -> Iterator[str]:
    length = len(json.dumps(container.model_dump(mode="json")))
    if length > CONTAINER_BYTES:
        variables = container.environment
        longest = sorted(variables, key=lambda name: len(variables[name]), reverse=True)[:3]
        named = f" (the longest variables are {', '.join(longest)})" if longest else ""
        yield (
            f"container is {length} bytes, and at most {CONTAINER_BYTES} can be ordered from an "
            f"agent{named}: put long values into a file and mount it"
        )


def _outside(document: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(document.keys() - {"pools", "limits"}):
        yield (
            f"{key} = {_shown(document[key])}: is not known here; pools begin with [[pools]], "
            "limits over all pools with [limits]"
        )
    pools = document.get("pools")
    if pools is None and not document:
        yield "there is no pool in it: begin one with [[pools]]"
    elif pools is not None and not isinstance(pools, list):
        yield "[pools] is one table: write [[pools]], with two brackets, for each pool"


def _tables(document: Mapping[str, Any]) -> list[Any]:
    pools = document.get("pools")
    return pools if isinstance(pools, list) else []


def _duplicates(document: Mapping[str, Any]) -> Iterator[str]:
    names = Counter(
        str(t["name"]) for t in _tables(document) if isinstance(t, dict) and "name" in t
    )
    for name, count in names.items():
        if count > 1:
            yield f"name = {name!r} stands {count} times: every pool needs its own name"


def _called(table: Any, number: int) -> str:
    name = table.get("name") if isinstance(table, dict) else None
    return f"pool {name!r}" if isinstance(name, str) and name else f"pool number {number}"


def _sentences(pool: str, error: ValidationError) -> Iterator[str]:
    for each in error.errors():
        yield f"{pool}: {_sentence(*_keys(each), each)}"


def _keys(error: Any, table: str = "") -> tuple[str, str]:
    """The key as it stands in the file, and its name in the docs."""
    loc = error["loc"]
    key = ".".join(str(part) for part in loc)
    # Numbers of list entries are no part of a key's name, nor what an admin named in a table.
    words = [part for part in loc if isinstance(part, str)]
    named = words[: words.index("max_per_group") + 1] if "max_per_group" in words else words
    return key, ".".join([table, *named] if table else named)


def _sentence(key: str, name: str, error: Any) -> str:
    value, kind = _shown(error["input"]), error["type"]
    if kind == "extra_forbidden":
        return f"{key} = {value}: {_unknown(name)}"
    if kind == "missing":
        return f"{key} is missing: write for example {_last(name)} = {_example(name)}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if not key:
        return f"{value} is no pool: begin one with [[pools]]"
    return (
        f"{key} = {value}: {_why(name, error)}; write for example {_last(name)} = {_example(name)}"
    )


def _why(name: str, error: Any) -> str:
    if error["type"] != "string_pattern_mismatch":
        return str(error["msg"][0].lower() + error["msg"][1:])
    if name == "name":
        return "at most 40 lower-case letters, digits and inner hyphens"
    return "must be an absolute path"


def _unknown(name: str) -> str:
    where, _, key = name.rpartition(".")
    if key.lower() in _GPUS:
        return "GPUs are not supported yet; leave it out and give such work a spawner of its own"
    known = sorted(MODELS[where].model_fields) if where in MODELS else []
    close = difflib.get_close_matches(key, known, n=1)
    elsewhere = sorted(full for full in EXAMPLES if full.rpartition(".")[2] == key)
    if close:
        return f"there is no such key; did you mean {close[0]}?"
    if elsewhere:
        return f"there is no such key here; it belongs to {elsewhere[0]}"
    return f"there is no such key; known here are {', '.join(known)}"


def _example(name: str) -> str:
    return EXAMPLES.get(name, '"..."')


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
