"""The mount system calls that Python has no words for. Linux 5.12 or later.

`subprocess` costs 10 ms and a fork of the agent; these cost microseconds. Errors are
`OSError` with the kernel's own code.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# New calls have one number on every architecture.
_OPEN_TREE, _MOVE_MOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 437, 442

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 0x1, 0x2, 0x4
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x2, 0x4, 0x8
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_SHARED = 0x2, 0x4, 0x8, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 0x2, 0x8

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def open_beneath(root: int, path: str, *, directory: bool = True) -> int:
    """A handle (O_PATH) of what is at `path` below `root`: no symlinks, no way out."""
    flags = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_DIRECTORY if directory else 0)
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
    how = struct.pack("QQQ", flags, 0, resolve)
    name = os.fsencode(path)
    return _call(_OPENAT2, root, ctypes.c_char_p(name), how, ctypes.c_size_t(len(how)))


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """In this thread only, files are looked at as this user: root may be nobody to a file server.

    Root's own rights over files are set aside meanwhile, and come back with its uid.
    """
    _libc.setfsgid(ctypes.c_uint(gid))
    _libc.setfsuid(ctypes.c_uint(uid))
    try:
        yield
    finally:
        _libc.setfsuid(ctypes.c_uint(os.geteuid()))
        _libc.setfsgid(ctypes.c_uint(os.getegid()))


def bind(source: int, target: Path, *, read_only: bool) -> None:
    """Show the directory `source` (a handle) at `target`, nosuid and nodev from the start.

    Made aside and then moved: a bind that is changed after it was made keeps its old
    attributes in the containers that it has spread to.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE
    tree = _call(_OPEN_TREE, source, ctypes.c_char_p(b""), ctypes.c_uint(flags))
    try:
        wanted = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (MOUNT_ATTR_RDONLY if read_only else 0)
        how = struct.pack("QQQQ", wanted, 0, 0, 0)
        recursive = ctypes.c_uint(AT_EMPTY_PATH | AT_RECURSIVE)
        size = ctypes.c_size_t(len(how))
        _call(_MOUNT_SETATTR, tree, ctypes.c_char_p(b""), recursive, how, size)
        place = ctypes.c_char_p(os.fsencode(target))
        moved = ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH)
        _call(_MOVE_MOUNT, tree, ctypes.c_char_p(b""), AT_FDCWD, place, moved)
    finally:
        os.close(tree)


def mount_tmpfs(target: Path, *, size_mib: int, mode: int) -> None:
    """A tmpfs of our own at `target`: nosuid, nodev, noexec."""
    options = f"size={size_mib}m,mode={mode:04o}".encode()
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    _mount(b"greenroom", target, b"tmpfs", flags, options)


def share(target: Path) -> None:
    """Let what is mounted below `target` spread to containers that bound a part of it."""
    _mount(None, target, None, MS_SHARED, None)


def unmount(target: Path, *, detach: bool = False) -> bool:
    """Take away the topmost mount at `target`; False if there is none."""
    flags = UMOUNT_NOFOLLOW | (MNT_DETACH if detach else 0)
    if _libc.umount2(ctypes.c_char_p(os.fsencode(target)), ctypes.c_int(flags)) == 0:
        return True
    code = ctypes.get_errno()
    # EINVAL: a directory where nothing is mounted.
    if code in (22, 2):
        return False
    raise OSError(code, os.strerror(code), str(target))


def mounted_below(folder: Path) -> list[Path]:
    """Every mount at `folder` or below, deepest last, as the kernel lists them."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = Path(line.split(" ")[4].encode().decode("unicode_escape"))
        if place == folder or folder in place.parents:
            found.append(place)
    return sorted(found, key=lambda place: len(place.parts))


def _call(number: int, first: int, *rest: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), ctypes.c_int(first), *rest))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _mount(
    source: bytes | None, target: Path, kind: bytes | None, flags: int, options: bytes | None
) -> None:
    place = os.fsencode(target)
    if _libc.mount(source, place, kind, ctypes.c_ulong(flags), options) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))
