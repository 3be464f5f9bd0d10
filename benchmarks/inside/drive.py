"""Runs in a container: activates notebooks, one after the other, and prints what each cost.

`drive.py RUNS FOLDER...`: of each folder in turn, a plain start and one with a clock around its
parts. Plays agent, hub and browser. One line of JSON per start on standard output.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

RUNS, FOLDERS = int(sys.argv[1]), sys.argv[2:]
sys.path.insert(0, FOLDERS[0])
rehearsal: Any = importlib.import_module("rehearsal")
# Header and body in one packet: a second one would wait for the first's acknowledgement.
rehearsal.StubHub.wbufsize = -1

SCRIPT = shutil.which("jupyterhub-singleuser") or sys.exit("no jupyterhub-singleuser")
with open(SCRIPT, encoding="utf-8") as first_line:
    PYTHON = first_line.readline()[2:].strip()
SOCKET, RECORD = "/run/greenroom/socket", "/run/greenroom/record.json"
AREAS_OF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "areas_of.py")
DEADLINE_SECONDS = 120.0
TAIL_SECONDS = 5
VISITS = ("api", "lab", "api/kernelspecs", "api/contents", "lab/api/settings", "lsp/status")


def environment() -> dict[str, str]:
    return {**os.environ, "GREENROOM_SCRIPT": SCRIPT, "GREENROOM_NOTEBOOK": "n1"}


def rehearse(folder: str) -> None:
    told = {**environment(), "GREENROOM_REHEARSAL": "1"}
    command = [PYTHON, f"{folder}/warm_start.py"]
    subprocess.run(command, env=told, check=True, stdout=sys.stderr, timeout=DEADLINE_SECONDS)


def cpu_ms(pid: int) -> float:
    """Of the process and of its children that have ended."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    ended = int(fields[13]) + int(fields[14])
    # The kernel's id for the CPU clock of another process (clock_getcpuclockid(3)).
    return time.clock_gettime((~pid << 3) | 2) * 1000 + ended * 1000 / os.sysconf("SC_CLK_TCK")


def anonymous_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        told = dict(line.split(":", 1) for line in file)
    return int(told["RssAnon"].split()[0]) / 1024


def connect(process: subprocess.Popen[bytes]) -> socket.socket:
    give_up = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        channel = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            channel.connect(SOCKET)
            return channel
        channel.close()
        time.sleep(0.02)
    sys.exit("the notebook never became warm")


def measure(folder: str, hub_port: int, areas: str) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)
    command = [f"{folder}/warm_start.py"] if not areas else [AREAS_OF, folder, areas]
    with tempfile.TemporaryDirectory(prefix="home-") as home:
        process = subprocess.Popen([PYTHON, *command], env=environment(), stdout=sys.stderr)
        try:
            with connect(process) as channel:
                return {"folder": folder, **activate(process, channel, home, hub_port)}
        finally:
            process.kill()
            process.wait()


def activate(
    process: subprocess.Popen[bytes], channel: socket.socket, home: str, hub_port: int
) -> dict[str, Any]:
    lines = channel.makefile("rb")
    hello = json.loads(lines.readline())
    found = {"warm cpu": cpu_ms(process.pid), "warm MiB": anonymous_mib(process.pid)}
    port = rehearsal.free_port()
    told = rehearsal.environment(home, port=port, hub_port=hub_port)
    lease = {name: value for name, value in told.items() if name.startswith(("JUPYTER", "HOME"))}
    order = {"lease": "L", "notebook": "n1", "arguments": [], "directory": home}
    line = json.dumps({"activate": {**order, "environment": lease}}).encode() + b"\n"
    cpu, begun = cpu_ms(process.pid), time.monotonic()
    channel.sendall(line)
    lines.readline()
    served = json.loads(lines.readline())
    if "serving" not in served:
        sys.exit(f"not served: {served}")
    found |= {"serve wall": (time.monotonic() - begun) * 1000, "serve cpu": served["cpu_ms"]}
    found |= {"modules": hello["modules"], "late": served.get("late", -1)}
    found |= visited(process.pid, port, "api", "first /api")
    found["order to first /api cpu"] = cpu_ms(process.pid) - cpu
    cpu = cpu_ms(process.pid)
    time.sleep(TAIL_SECONDS)
    found["next 5 s cpu"] = cpu_ms(process.pid) - cpu
    for path in VISITS:
        found |= visited(process.pid, port, path, f"then /{path}")
    cpu, begun = cpu_ms(process.pid), time.monotonic()
    browser = rehearsal.Browser(process, port, time.monotonic() + DEADLINE_SECONDS)
    rehearsal.start_kernel(browser)
    found |= {"first kernel wall": (time.monotonic() - begun) * 1000}
    return found | {"first kernel cpu": cpu_ms(process.pid) - cpu}


def visited(pid: int, port: int, path: str, name: str) -> dict[str, float]:
    cpu, begun = cpu_ms(pid), time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    said = {"Authorization": f"token {rehearsal.TOKEN}"} if name.startswith("then") else {}
    connection.request("GET", rehearsal.PREFIX + path, headers=said)
    connection.getresponse().read()
    connection.close()
    return {f"{name} wall": (time.monotonic() - begun) * 1000, f"{name} cpu": cpu_ms(pid) - cpu}


def main() -> None:
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), rehearsal.StubHub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    records = {}
    for folder in FOLDERS:
        rehearse(folder)
        records[folder] = shutil.copy(RECORD, tempfile.mkdtemp())
    for run in range(RUNS):
        for folder in FOLDERS if run % 2 == 0 else reversed(FOLDERS):
            shutil.copy(records[folder], RECORD)
            found = measure(folder, hub.server_port, "")
            areas = os.path.join(tempfile.gettempdir(), "areas.json")
            measure(folder, hub.server_port, areas)
            with open(areas, encoding="utf-8") as file:
                print(json.dumps({**found, "areas": json.load(file)}), flush=True)


main()
