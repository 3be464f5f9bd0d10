"""How often the kernel's nftables changed, by anybody: asked without starting a program.

Every change of any table, iptables' on nftables included, is one generation. While it is the
same, nobody took a rule away. A program every ten seconds would cost an idle node more than
all the rest of its agent's looking.
"""

from __future__ import annotations

import socket
import struct

_NETFILTER, _NFTABLES, _GET, _NEW = 12, 10, 16, 15
_REQUEST = 1
_GENERATION = 1
_HEADER, _FAMILY, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("!BBH"), struct.Struct("=HH")
SECONDS = 1.0


def current() -> int | None:
    """The generation, None where the kernel does not say."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel:
            kernel.settimeout(SECONDS)
            length = _HEADER.size + _FAMILY.size
            header = _HEADER.pack(length, _NFTABLES << 8 | _GET, _REQUEST, 1, 0)
            kernel.send(header + _FAMILY.pack(0, 0, 0))
            return read(kernel.recv(4096))
    except OSError:
        return None


def read(answer: bytes) -> int | None:
    """From the kernel's answer."""
    if len(answer) < _HEADER.size:
        return None
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _NFTABLES << 8 | _NEW:
        return None
    at, end = _HEADER.size + _FAMILY.size, min(length, len(answer))
    while at + _ATTRIBUTE.size + 4 <= end:
        size, name = _ATTRIBUTE.unpack_from(answer, at)
        if name == _GENERATION:
            return int.from_bytes(answer[at + _ATTRIBUTE.size : at + _ATTRIBUTE.size + 4], "big")
        at += max(size + 3 & ~3, _ATTRIBUTE.size)
    return None
