"""Who this hub is: its id, the id of this process, and ids of new leases."""

from __future__ import annotations

import os
import secrets
import time
import uuid
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from controlplane.errors import BadSettings
from controlplane.messages.words import HubId

FILE = "greenroom-hub-id"


def lease_id() -> str:
    """A fresh UUIDv7: ids sort by the time of their request. Python 3.11 has none of its own."""
    milliseconds = time.time_ns() // 1_000_000 & (1 << 48) - 1
    chance = secrets.randbits(74)
    value = milliseconds << 80 | 7 << 76 | chance >> 62 << 64 | 2 << 62 | chance & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def traceparent(lease: str) -> str:
    """W3C trace context: the lease is the trace, so its id finds every span of one click."""
    return f"00-{lease.replace('-', '')}-{secrets.token_hex(8)}-01"


def hub_process() -> str:
    """A name for this process' reply queue that no other process ever has."""
    return secrets.token_hex(16)


def hub_id(directory: Path) -> str:
    """The id kept in the hub's data directory; made there on the first start.

    Raises `BadSettings` when it can neither be read nor written, or is not a hub id.
    """
    file = directory / FILE
    try:
        return checked_hub_id(_read_or_make(file), f"the file {file}")
    except OSError as error:
        raise BadSettings(
            f"the hub's id is kept in {file}, and that failed: {error}. Make the directory "
            'writable for the hub, or put c.GreenroomSpawner.hub_id = "..." into '
            "jupyterhub_config.py"
        ) from None


def checked_hub_id(value: str, where: str) -> str:
    """`value` if it can be a hub id, else `BadSettings` that names where it came from."""
    try:
        return TypeAdapter(HubId).validate_python(value)
    except ValidationError:
        raise BadSettings(
            f"{where} says hub_id = {value[:80]!r}: use letters, digits, - and _, "
            "at most 63, starting with a letter or digit"
        ) from None


def _read_or_make(file: Path) -> str:
    if file.exists():
        return file.read_text().strip()
    fresh = file.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    fresh.write_text(f"hub-{secrets.token_hex(8)}\n")
    try:
        # A link appears whole or not at all, and never replaces what another start made.
        os.link(fresh, file)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return file.read_text().strip()
