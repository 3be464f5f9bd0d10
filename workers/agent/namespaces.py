"""One thread in another network namespace. Linux keeps the namespace by thread, not by process."""

from __future__ import annotations

import ctypes
import os

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def enter_network(path: str) -> None:
    """Take the calling thread there for the rest of its life. `OSError`.

    What it opens and starts is there as well; a socket stays there whoever uses it. Use a
    thread that ends afterwards: a pool's next task would be somewhere else.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(handle, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(handle)
