"""Each pool's root: is it there, what is it, and who may write in somebody else's directory?"""

from __future__ import annotations

import asyncio
import os
import stat
import string
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from controlplane.doctor.finding import Finding, fail, ok, warn
from controlplane.doctor.trials import Given, Trials
from controlplane.errors import Unavailable
from controlplane.model import ContainerSpec, Storage

T = TypeVar("T")

LOOK_SECONDS = 15.0
SAMPLE = 20
INSIDE = "/greenroom-doctor-home"
NETWORK = ("nfs", "ceph", "gluster", "fuse.glusterfs", "lustre", "cifs", "smb", "beegfs", "afs")


@dataclass(frozen=True, kw_only=True)
class Home:
    """A home as `stat` shows it."""

    path: str
    uid: int
    gid: int
    mode: int


@dataclass(frozen=True, kw_only=True)
class Root:
    """A storage root on this node. `trouble`: why it cannot be looked at."""

    path: str
    trouble: str = ""
    mount: str = ""
    homes: tuple[Home, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Writing:
    """A home that we made and gave to the image's user, and what that user came to in it."""

    uid: int
    gids: tuple[int, ...]
    made: str = ""
    given: str = ""
    wrote: bool | None = None


def mount_of(path: str, mountinfo: str) -> str:
    """`nfs4 server:/homes at /srv/homes`: what this path is on, from /proc/self/mountinfo."""
    best, said = "", ""
    for line in mountinfo.splitlines():
        words = line.split(" ")
        point = words[4].encode().decode("unicode_escape")
        below = path == point or path.startswith(point.rstrip("/") + "/")
        # Of two mounts on one place the later one is seen.
        if below and len(point) >= len(best):
            kind, source = words[words.index("-") + 1 : words.index("-") + 3]
            best, said = point, f"{kind} {source} at {point}"
    return said


def pattern(template: str) -> str:
    """`{username}/work` as a glob: `*/work`."""
    pieces = string.Formatter().parse(template)
    return "".join(text + ("*" if name is not None else "") for text, name, _, _ in pieces)


def may_write(home: Home, uid: int, gids: Sequence[int]) -> bool:
    """As the kernel decides for somebody without capabilities."""
    if uid == home.uid:
        wanted = stat.S_IWUSR | stat.S_IXUSR
    elif home.gid in gids:
        wanted = stat.S_IWGRP | stat.S_IXGRP
    else:
        wanted = stat.S_IWOTH | stat.S_IXOTH
    return home.mode & wanted == wanted


def judge_root(pool: str, storage: Storage, root: Root) -> list[Finding]:
    """Is it there, and what is it?"""
    check = f"storage of {pool}"
    if root.trouble:
        fix = f"mount it on this node, or correct storage.root of {pool}: findmnt {root.path}"
        return [fail(check, f"{root.path}: {root.trouble}", fix=fix)]
    kind = root.mount.partition(" ")[0]
    where = "" if kind.startswith(NETWORK) else ": on this node alone"
    if not root.homes and not storage.create_missing:
        return [
            warn(
                check,
                f"{root.path} ({root.mount}) has no home at {storage.template}",
                fix="correct storage.template, make the homes, or set create_missing = true",
            )
        ]
    return [ok(check, f"{root.path} ({root.mount}){where}, {_counted(root.homes)}")]


def judge_homes(pool: str, spec: ContainerSpec, root: Root, writing: Writing) -> list[Finding]:
    """May the container's user write in homes that are there, and in one that is made?"""
    check = f"homes of {pool}"
    who = f"the image's user (uid {writing.uid}, groups {_list(writing.gids)})"
    assert spec.storage is not None
    if spec.storage.read_only:
        return [ok(check, f"read-only, seen by {who}")]
    closed = [home for home in root.homes if not may_write(home, writing.uid, writing.gids)]
    if closed:
        return [_closed(check, who, closed, root, writing)]
    return [_made(check, who, spec.storage, writing)]


def judge_owners(
    pool: str, spec: ContainerSpec, root: Root, writing: Writing, *, min_uid: int
) -> list[Finding]:
    """With `run_as = "user"`: can a notebook become the owner of each home?"""
    check = f"homes of {pool}"
    nobody = [home for home in root.homes if home.uid < min_uid or home.gid == 0]
    if nobody:
        first = nobody[0]
        seen = (
            f"no notebook becomes the owner of {len(nobody)} of {len(root.homes)} homes looked at, "
            f"such as {first.path} ({first.uid}:{first.gid}): root's, or below node.min_uid "
            f"= {min_uid}"
        )
        fix = f"chown -R PERSON:GROUP {first.path}, or lower node.min_uid (docs/pools.md)"
        return [warn(check, seen, fix=fix)]
    assert spec.storage is not None
    if spec.storage.create_missing and (writing.made or writing.given):
        return [_made(check, "their owners", spec.storage, writing)]
    owners = len({home.uid for home in root.homes})
    return [ok(check, f"notebooks run as their owners; {owners} of them in those looked at")]


def _closed(check: str, who: str, closed: Sequence[Home], root: Root, writing: Writing) -> Finding:
    first = closed[0]
    seen = (
        f"{who} cannot write in {len(closed)} of {len(root.homes)} homes looked at, such as "
        f"{first.path} ({first.uid}:{first.gid} {stat.S_IMODE(first.mode):04o})"
    )
    group = writing.gids[0] if writing.gids else 0
    fix = f'chown -R {writing.uid}:{group} {first.path}, or run_as = "user" (docs/pools.md)'
    return warn(check, seen, fix=fix)


def _made(check: str, who: str, storage: Storage, writing: Writing) -> Finding:
    if writing.made or writing.given:
        seen = f"a home can{'not be made' if writing.made else ' be made but not given away'}"
        seen = f"{seen}: {writing.made or writing.given}"
        if not storage.create_missing:
            return ok(check, f"{who} may write in those that are there; {seen} by this node")
        fix = "export it with no_root_squash, or make homes elsewhere and drop create_missing"
        return fail(check, seen, fix=fix)
    if not writing.wrote:
        fix = "let the storage take that uid: no all_squash, no id mapping (exportfs -v)"
        return fail(check, f"{who} cannot write in a home of its own", fix=fix)
    return ok(check, f"{who} writes in a home that this node made for it")


async def look(
    trials: Trials, pool: str, spec: ContainerSpec, *, min_uid: int = 1000
) -> list[Finding]:
    """Both, for one pool that has storage."""
    assert spec.storage is not None
    storage = spec.storage
    root = await in_thread(lambda: look_at(storage))
    found = judge_root(pool, storage, root)
    if root.trouble or await trials.engine.image(spec.image) is None:
        return found
    who = await _write_as(trials, spec, "/tmp")
    writing = await _try(trials, spec, root, who)
    if spec.run_as == "user":
        return [*found, *judge_owners(pool, spec, root, writing, min_uid=min_uid)]
    return [*found, *judge_homes(pool, spec, root, writing)]


def look_at(storage: Storage) -> Root:
    """Blocks for as long as the storage does."""
    path = storage.root
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return Root(path=path, trouble="is no directory")
        found = islice(Path(path).glob(pattern(storage.template)), SAMPLE)
        homes = tuple(_home(each) for each in found if not each.name.startswith("."))
    except OSError as error:
        return Root(path=path, trouble=error.strerror or str(error))
    mountinfo = Path("/proc/self/mountinfo").read_text()
    return Root(path=path, mount=mount_of(path, mountinfo), homes=homes)


async def in_thread(call: Callable[[], T], seconds: float = LOOK_SECONDS) -> T:
    """Run what may hang for ever; `Unavailable` then. Its thread never keeps the process."""
    work: Future[T] = Future()
    # From here on a cancel leaves it alone: a thread cannot be stopped.
    work.set_running_or_notify_cancel()

    def run() -> None:
        try:
            work.set_result(call())
        # Whatever it raises is the caller's.
        except BaseException as error:  # noqa: BLE001
            work.set_exception(error)

    threading.Thread(target=run, daemon=True, name="storage").start()
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(work)
    except TimeoutError:
        raise Unavailable(f"the storage did not answer in {seconds:g} s") from None


async def _try(trials: Trials, spec: ContainerSpec, root: Root, who: dict[str, Any]) -> Writing:
    uid, gids = int(who["uid"]), tuple(int(gid) for gid in who["gids"])
    with _home_for(root.path, uid, gids[0] if gids else 0) as (home, made, given):
        if made or given:
            return Writing(uid=uid, gids=gids, made=made, given=given)
        said = await _write_as(trials, spec, str(home), bind=True)
    return Writing(uid=uid, gids=gids, wrote=bool(said["wrote"]))


async def _write_as(
    trials: Trials, spec: ContainerSpec, path: str, *, bind: bool = False
) -> dict[str, Any]:
    mounts = ({"Type": "bind", "Source": path, "Target": INSIDE},) if bind else ()
    order = {"do": "write", "path": INSIDE if bind else path}
    said: dict[str, Any] = await trials.ask(spec, order, Given(mounts=mounts))
    return said


@contextmanager
def _home_for(root: str, uid: int, gid: int) -> Iterator[tuple[Path, str, str]]:
    """A directory as the agent makes a missing home; why it could not be made, or given away."""
    try:
        made = Path(tempfile.mkdtemp(prefix=".greenroom-doctor-", dir=root))
    except OSError as error:
        yield Path(root), error.strerror or str(error), ""
        return
    try:
        try:
            os.chown(made, uid, gid)
        except OSError as error:
            yield made, "", error.strerror or str(error)
        else:
            yield made, "", ""
    finally:
        # Only ours, and only empty: what is in it would be somebody's.
        with suppress(OSError):
            made.rmdir()


def _home(path: Path) -> Home:
    seen = path.stat()
    return Home(path=str(path), uid=seen.st_uid, gid=seen.st_gid, mode=seen.st_mode)


def _counted(homes: Sequence[Home]) -> str:
    return f"{SAMPLE} homes or more" if len(homes) >= SAMPLE else f"{len(homes)} homes"


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
