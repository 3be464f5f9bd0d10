"""Takes every connection on these ports, as a web server would, until its input closes."""

from __future__ import annotations

import json
import selectors
import socket
import sys
from collections import deque
from contextlib import suppress


def main(name: str, ports: dict[str, list[int]]) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\n\r\n{name}".encode()
    ways = selectors.DefaultSelector()
    _open(ways, ports)
    sys.stdout.write("up\n")
    sys.stdout.flush()
    kept: deque[socket.socket] = deque(maxlen=100)
    while True:
        for key, _ in ways.select():
            where = key.fileobj
            if key.data == "end":
                return
            assert isinstance(where, socket.socket)
            if key.data == "tcp":
                taken = where.accept()[0]
                # It may answer before it is asked: closing now could take the answer back.
                with suppress(OSError):  # whoever only looked is gone already
                    taken.sendall(answer)
                    taken.shutdown(socket.SHUT_WR)
                kept.append(taken)
            else:
                _, who = where.recvfrom(100)
                where.sendto(b"an answer", who)


def _open(ways: selectors.BaseSelector, ports: dict[str, list[int]]) -> None:
    for port in ports["tcp"]:
        # Both families on one socket.
        taken = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        ways.register(taken, selectors.EVENT_READ, "tcp")
    for port in ports["udp"]:
        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            server = socket.socket(family, socket.SOCK_DGRAM)
            if family is socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            server.bind((host, port))
            ways.register(server, selectors.EVENT_READ, "udp")
    ways.register(sys.stdin, selectors.EVENT_READ, "end")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
