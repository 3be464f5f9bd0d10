"""Runs in a container beside a server: types into one of its terminals and prints the answer."""
# ruff: noqa: T201 - what it prints is its answer

from __future__ import annotations

import http.client
import json
import sys
import time

import websocket

sys.path.insert(0, "/greenroom")
from rehearsal import PREFIX, TOKEN

DEADLINE_SECONDS = 120.0
AUTHORIZED = {"Authorization": f"token {TOKEN}"}
ASK = "stty -echo; echo be''gins; id; whoami; pwd; echo $HOME; groups; echo en''ds\r"

give_up = time.monotonic() + DEADLINE_SECONDS
connection = http.client.HTTPConnection("127.0.0.1", 8888, timeout=DEADLINE_SECONDS)
connection.request("POST", f"{PREFIX}api/terminals", body=b"{}", headers=AUTHORIZED)
name = json.loads(connection.getresponse().read())["name"]
channel = websocket.create_connection(
    f"ws://127.0.0.1:8888{PREFIX}terminals/websocket/{name}",
    header=[f"{name}: {value}" for name, value in AUTHORIZED.items()],
    timeout=DEADLINE_SECONDS,
)
channel.send(json.dumps(["stdin", ASK]))
shown = ""
while "ends\r\n" not in shown and time.monotonic() < give_up:
    told = json.loads(channel.recv())
    shown += told[1] if told[0] == "stdout" else ""
print(json.dumps(shown.partition("begins\r\n")[2].partition("ends\r\n")[0].split("\r\n")[:-1]))
