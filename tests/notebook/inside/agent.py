"""Runs in a container beside a notebook: plays the agent.

`agent.py prepare`   opens the private directory to the notebook, waits until the hub answers
`agent.py wait`      waits until the notebook is warm and prints its greeting
`agent.py activate`  sends standard input as it is and prints every answer, one per line
`agent.py port`      prints whether anything listens on the notebook's port
"""
# ruff: noqa: T201 - what it prints is its answer

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

DEADLINE_SECONDS = 120.0


def connect(family, address):
    give_up = time.monotonic() + DEADLINE_SECONDS
    while True:
        channel = socket.socket(family)
        channel.settimeout(DEADLINE_SECONDS)
        try:
            channel.connect(address)
        except OSError:
            channel.close()
            if time.monotonic() > give_up or sys.argv[1] == "activate":
                raise
            time.sleep(0.05)
        else:
            return channel


if sys.argv[1] == "prepare":
    os.chmod("/run/greenroom", 0o777)
    connect(socket.AF_INET, ("127.0.0.1", 8081)).close()
elif sys.argv[1] == "port":
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 8888), timeout=10).close()
        sys.exit("open")
    print("closed")
else:
    with connect(socket.AF_UNIX, "/run/greenroom/socket") as channel:
        lines = channel.makefile("rb")
        print(lines.readline().decode(), end="")
        if sys.argv[1] == "activate":
            channel.sendall(sys.stdin.buffer.read())
            for line in lines:
                print(line.decode(), end="", flush=True)
