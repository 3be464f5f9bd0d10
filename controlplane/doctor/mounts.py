"""Does a home that is mounted on the node after the start appear in the running container?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from controlplane.doctor.finding import Finding, fail, ok
from controlplane.doctor.trials import Given, Trials
from controlplane.model import ContainerSpec
from workers.agent import syscalls
from workers.agent.slots import Slots

CHECK = "mounts"
INSIDE = "/greenroom-doctor-home"
MARKER = "mounted-by-greenroom-doctor"
APPEAR_SECONDS = 30.0
SLOT = "doctor"


@dataclass(frozen=True, kw_only=True)
class Mounts:
    """`refused`: why the node does not let us mount. `seen`: the mount came into the container."""

    place: str
    refused: str = ""
    seen: bool = False


def judge(mounts: Mounts) -> Finding:
    """One line."""
    if mounts.refused:
        return fail(
            CHECK,
            f"nothing can be mounted below {mounts.place}: {mounts.refused}",
            fix="run the agent (and this) as root on the node itself, with CAP_SYS_ADMIN",
        )
    if not mounts.seen:
        return fail(
            CHECK,
            f"a home mounted below {mounts.place} does not appear in a running container",
            fix="run agent and engine in one mount namespace: no PrivateMounts, no MountFlags "
            "in docker.service, no snap and no rootless engine",
        )
    return ok(CHECK, f"a home mounted below {mounts.place} appears in a running container")


async def look(trials: Trials, spec: ContainerSpec, state_dir: Path) -> Mounts:
    """Do what an activation does, with a directory of our own."""
    parent = _first_that_exists(state_dir)
    try:
        with _place(parent) as (slots, home):
            return Mounts(place=str(parent), seen=await _appears(trials, spec, slots, home))
    except OSError as error:
        return Mounts(place=str(parent), refused=error.strerror or str(error))


async def _appears(trials: Trials, spec: ContainerSpec, slots: Slots, home: Path) -> bool:
    bind = {
        "Type": "bind",
        "Source": str(slots.home(SLOT)),
        "Target": INSIDE,
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rslave"},
    }
    order = {"do": "wait_for", "path": f"{INSIDE}/{MARKER}", "seconds": APPEAR_SECONDS}
    async with trials.running(spec, order, Given(mounts=(bind,))) as trial:
        await trial.said()
        handle = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syscalls.bind(handle, slots.home(SLOT), read_only=True)
        finally:
            os.close(handle)
        said = await trial.said(times=2)
    return bool(said["seen"] and not said["before"])


@contextmanager
def _place(parent: Path) -> Iterator[tuple[Slots, Path]]:
    """A slot as the agent makes it, and a home. Goes by unmounting and removing what is empty."""
    folder = Path(tempfile.mkdtemp(prefix=".greenroom-doctor-", dir=parent))
    home, slots = folder / "home", Slots(folder / "slots")
    try:
        home.mkdir(mode=0o755)
        (home / MARKER).touch()
        slots.open()
        slots.make(SLOT)
        yield slots, home
    finally:
        with suppress(OSError):
            slots.remove(SLOT)
            slots.close()
        for path in (home / MARKER, home, folder / "slots", folder):
            with suppress(OSError):
                path.unlink() if path.name == MARKER else path.rmdir()


def _first_that_exists(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
