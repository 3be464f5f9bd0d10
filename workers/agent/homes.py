"""Whose home is where: the path below a pool's root, and its way into a slot.

The path is made as DockerSpawner 14 makes it, byte for byte, so that an existing
deployment's homes are found. It is resolved beneath the root without following a symlink.
"""

from __future__ import annotations

import errno
import hashlib
import os
import string
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from controlplane.errors import Retry, Terminal
from controlplane.model.pool import Storage
from workers.agent import syscalls

_SAFE = frozenset(string.ascii_lowercase + string.digits)
_LEGACY_SAFE = frozenset(string.ascii_letters + string.digits + "-")
_RAW = ("raw_username", "raw_servername")
_ESCAPED = ("username", "safe_username", "servername")
# `{prefix}` is "jupyter" unless c.DockerSpawner.prefix says another.
_CONSTANT = ("prefix", "imagename")
LONGEST_COMPONENT_BYTES = 255


class HomeRefused(Terminal):
    """No notebook can get this home. `reason` is for reports."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class HomeUnreachable(Retry):
    """The storage did not answer on this node; on another it may."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who a home is for, and as whom their notebook writes into it."""

    user: str
    server: str
    uid: int
    gid: int


def escape(text: str) -> str:
    """DockerSpawner's `_escape`: `-` and the byte in hex, all in lower case."""
    return _escaped(text, _SAFE, "-").lower()


def escape_legacy(text: str) -> str:
    """DockerSpawner's `_legacy_escape`, for `escape: legacy`."""
    return _escaped(text, _LEGACY_SAFE, "_")


def path_below(storage: Storage, *, user: str, server: str) -> str:
    """The home's path below the root; `HomeRefused` where the name fits no single place."""
    make = escape_legacy if storage.escape == "legacy" else escape
    values = {
        "username": make(user),
        "safe_username": make(user),
        "servername": make(server.lower()),
        "raw_username": user,
        "raw_servername": server,
    }
    template = storage.template
    if not server:
        # The default server's home is what holds the others', as with DockerSpawner.
        template = template.removesuffix("/{servername}").removesuffix("/{raw_servername}")
    parts = []
    for piece, name, spec, conversion in string.Formatter().parse(template):
        parts.append(piece)
        if name is None:
            continue
        if name not in values or spec or conversion:
            raise HomeRefused("home_template", _about_template(storage, name))
        if name in _RAW and not _one_component(values[name]):
            raise HomeRefused(
                "home_name",
                f"{{{name}}} of the pool's template is {values[name]!r}, which is no single "
                "path component: use {username}, which escapes it",
            )
        parts.append(values[name])
    return _checked("".join(parts), storage)


class Homes:
    """Opens homes. Calls block on the storage: run them in a bounded thread."""

    def __init__(self, owners: Path) -> None:
        self._owners = owners

    def open(self, storage: Storage, person: Person) -> int:
        """A handle of the person's home; the caller closes it. `HomeRefused`, `HomeUnreachable`."""
        path = self.path(storage, person)
        whole = os.path.join(storage.root, path)
        root = _open_root(storage)
        try:
            home = _reach_or_make(root, path, person, make=storage.create_missing)
        except FileNotFoundError:
            raise HomeRefused(
                "home_missing",
                f"the home {whole} does not exist on this node: mount or create it, correct "
                "storage.root or storage.template, or set storage.create_missing",
            ) from None
        except OSError as error:
            raise _why(error, whole) from None
        finally:
            os.close(root)
        try:
            self._claim(whole, person.user)
        except BaseException:
            os.close(home)
            raise
        return home

    @staticmethod
    def path(storage: Storage, person: Person) -> str:
        """The person's home below the root; `HomeRefused` where the name fits no single place."""
        return path_below(storage, user=person.user, server=person.server)

    def _claim(self, path: str, user: str) -> None:
        """The first user of a path stays its only one, on this node, for good."""
        mark = self._owners / hashlib.sha256(path.encode()).hexdigest()
        self._owners.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A link's text is written with its name, so it is whole or not there, without a sync.
        with suppress(FileExistsError):
            os.symlink(user, mark)
        if os.readlink(mark) != user:
            raise HomeRefused(
                "home_taken",
                f"the home {path} is already another user's: make storage.template tell them "
                f"apart (if that user was renamed, remove {mark} on this node)",
            )


def owners_above(home: int, storage: Storage, path: str) -> frozenset[int]:
    """The uids of the directories between the root and this home. `HomeRefused`, `OSError`.

    From the root down, each opened from the one whose owner was seen: whoever moves directories
    meanwhile is told that the home was moved.
    """
    found = []
    at = _open_root(storage)
    try:
        for part in path.split("/"):
            below = _reach(at, part)
            os.close(at)
            at = below
            found.append(os.fstat(at))
        if not os.path.samestat(found[-1], os.fstat(home)):
            raise HomeRefused("home_unsafe", f"the home {path} was moved while it was opened")
    finally:
        os.close(at)
    return frozenset(each.st_uid for each in found[:-1])


def _open_root(storage: Storage) -> int:
    try:
        return os.open(storage.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise HomeUnreachable(
            f"storage.root {storage.root} cannot be opened on this node: {error.strerror}"
        ) from None


def _reach_or_make(root: int, path: str, person: Person, *, make: bool) -> int:
    try:
        return _reach(root, path)
    except FileNotFoundError:
        if not make:
            raise
    _make(root, path, person)
    return _reach(root, path)


def _reach(root: int, path: str) -> int:
    """A handle of the home, also below directories that only their owner may enter."""
    try:
        return syscalls.open_beneath(root, path)
    except PermissionError:
        return _step_by_step(root, path)


def _step_by_step(root: int, path: str) -> int:
    """Each step as the owner of the directory that it leaves from: root is squashed here."""
    at = os.dup(root)
    try:
        for part in path.split("/"):
            owner = os.fstat(at)
            with syscalls.acting_as(owner.st_uid, owner.st_gid):
                below = syscalls.open_beneath(at, part)
            os.close(at)
            at = below
    except BaseException:
        os.close(at)
        raise
    return at


def _make(root: int, path: str, person: Person) -> None:
    """Make what is missing of the path. Only the home itself becomes the person's."""
    at = os.dup(root)
    try:
        parts = path.split("/")
        for left, part in enumerate(parts, start=1 - len(parts)):
            made = _make_one(at, part, person)
            parent, at = at, _reach(at, part)
            try:
                if made and left == 0:
                    _give(parent, part, at, person)
            finally:
                os.close(parent)
    except PermissionError as error:
        raise HomeRefused(
            "home_not_made",
            f"the home {path} cannot be made for uid {person.uid} by this node "
            f"({error.strerror}): its storage lets no root of another machine in (root_squash); "
            "make homes there, and drop storage.create_missing",
        ) from None
    finally:
        os.close(at)


def _make_one(at: int, part: str, person: Person) -> bool:
    """Whether there is something new that is not the person's yet."""
    with suppress(FileExistsError):
        try:
            os.mkdir(part, 0o755, dir_fd=at)
        except PermissionError:
            if os.fstat(at).st_uid != person.uid:
                raise
            # In a directory of theirs, such as a named server's: theirs from the start.
            with syscalls.acting_as(person.uid, person.gid):
                os.mkdir(part, 0o700, dir_fd=at)
        else:
            return True
    return False


def _give(at: int, part: str, made: int, person: Person) -> None:
    whole = f"/proc/self/fd/{made}"
    try:
        os.chown(whole, person.uid, person.gid)
        os.chmod(whole, 0o700)
    except PermissionError:
        # Empty and ours: left behind, it would be taken for a home the next time.
        os.rmdir(part, dir_fd=at)
        raise


def _why(error: OSError, path: str) -> Exception:
    if error.errno in (errno.ELOOP, errno.EXDEV, errno.ENOTDIR):
        return HomeRefused(
            "home_unsafe",
            f"the home {path} is or contains a symbolic link, or is no directory: it must be a "
            "real directory below storage.root",
        )
    return HomeUnreachable(f"the home {path} cannot be opened on this node: {error.strerror}")


def _escaped(text: str, safe: frozenset[str], mark: str) -> str:
    return "".join(
        char if char in safe else "".join(f"{mark}{byte:X}" for byte in char.encode())
        for char in text
    )


def _one_component(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _checked(path: str, storage: Storage) -> str:
    parts = path.split("/")
    if not all(_one_component(part) for part in parts):
        raise HomeRefused(
            "home_template",
            f"storage.template {storage.template!r} gives {path!r}: an empty component, `.` and "
            "`..` are not allowed in it",
        )
    if any(len(part.encode()) > LONGEST_COMPONENT_BYTES for part in parts):
        raise HomeRefused(
            "home_name", f"storage.template gives a name longer than 255 bytes: {path[:80]!r}..."
        )
    return path


def _about_template(storage: Storage, name: str) -> str:
    if name in _CONSTANT:
        return (
            f"storage.template {storage.template!r} has {{{name}}}, which DockerSpawner makes of "
            "its own configuration, the same for everybody: write it out"
        )
    known = ", ".join(f"{{{known}}}" for known in (*_ESCAPED, *_RAW))
    return f"storage.template {storage.template!r} has {{{name}}}: only {known} are known"
