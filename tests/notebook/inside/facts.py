"""Runs in a container beside a server: visits it and prints what server and kernel are like."""
# ruff: noqa: T201 - what it prints is its answer

from __future__ import annotations

import http.client
import json
import sys
import time
import uuid
from pathlib import Path

import websocket

sys.path.insert(0, "/greenroom")
from rehearsal import PREFIX, TOKEN

DEADLINE_SECONDS = 120.0
AUTHORIZED = {"Authorization": f"token {TOKEN}"}
OF_A_PROCESS = Path(__file__).with_name("of_a_process.py").read_text()


def get(path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", 8888, timeout=DEADLINE_SECONDS)
    body = b"{}" if method == "POST" else None
    connection.request(method, PREFIX + path, body=body, headers=AUTHORIZED)
    answer = connection.getresponse()
    read = answer.read()
    if answer.status >= 400:
        sys.exit(f"{method} {path} answered {answer.status}: {read[:500]!r}")
    return json.loads(read)


def wait_for_server():
    give_up = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < give_up:
        try:
            return get("api")
        except OSError:
            time.sleep(0.1)
    sys.exit("the server never answered")


def in_a_kernel(code):
    kernel = get("api/kernels", "POST")["id"]
    channel = websocket.create_connection(
        f"ws://127.0.0.1:8888{PREFIX}api/kernels/{kernel}/channels",
        header=[f"{name}: {value}" for name, value in AUTHORIZED.items()],
        timeout=DEADLINE_SECONDS,
    )
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "version": "5.3",
        "username": "",
        "session": uuid.uuid4().hex,
        "date": "",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
    channel.send(
        json.dumps(
            {
                "header": header,
                "parent_header": {},
                "metadata": {},
                "channel": "shell",
                "content": content,
                "buffers": [],
            }
        )
    )
    printed = ""
    while True:
        told = json.loads(channel.recv())
        if told.get("parent_header", {}).get("msg_id") != header["msg_id"]:
            continue
        if told["msg_type"] == "stream":
            printed += told["content"]["text"]
        if told["msg_type"] == "error":
            sys.exit("\n".join(told["content"]["traceback"]))
        if told["msg_type"] == "execute_reply":
            break
    # Output and reply come on two channels, in no promised order.
    while not printed.endswith("}\n"):
        told = json.loads(channel.recv())
        if told["msg_type"] == "stream":
            printed += told["content"]["text"]
    channel.close()
    return json.loads(printed)


wait_for_server()
server = get("parity")
kernel = in_a_kernel(OF_A_PROCESS + "\nprint(json.dumps(told))")
print(json.dumps({"server": server, "kernel": kernel}))
