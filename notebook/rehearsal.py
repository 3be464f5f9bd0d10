"""Starts the stock server once, without network, home or user, and records what it imported.

Runs inside a container that is destroyed afterwards, in place of warm_start.py. One process plays
the hub and the browser; another is the stock server, so that the list holds nothing of ours.
Standard library only, Python 3.9 and later. The result is /run/greenroom/record.json.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from activation import HERE, borrow_path_of, run_stock
from preload import reads_identity
from warm_start import PRIVATE

BUDGET_SECONDS = 120.0
EXIT_FAILED = 70

USER = "rehearsal"
PREFIX = f"/user/{USER}/"
TOKEN = "rehearsal-token-that-opens-nothing"
SCOPES = [f"access:servers!server={USER}/", f"access:servers!user={USER}"]


class Failure(Exception):
    """The stock server did not do what a person's first minute needs."""


def main() -> int:
    script = os.environ.get("GREENROOM_SCRIPT", "")
    try:
        names = rehearse(script)
        write_record(names)
    except (Failure, OSError, http.client.HTTPException) as error:
        print(f"greenroom: rehearsal failed: {error}", file=sys.stderr, flush=True)
        return EXIT_FAILED
    print(f"greenroom: rehearsal recorded {len(names)} modules", file=sys.stderr, flush=True)
    return 0


def rehearse(script: str) -> list[str]:
    give_up = time.monotonic() + BUDGET_SECONDS
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StubHub)
    threading.Thread(target=hub.serve_forever, name="stub hub", daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as home:
        port = free_port()
        listing = os.path.join(home, ".modules")
        server = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "rehearsal.py"), listing, script],
            env=environment(home, port=port, hub_port=hub.server_port),
            cwd=home,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            visit(Browser(server, port, give_up))
            return ask_for_modules(server, listing, give_up)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            hub.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(home: str, *, port: int, hub_port: int) -> dict[str, str]:
    hub = f"http://127.0.0.1:{hub_port}/hub/"
    told = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    return {
        **told,
        "HOME": home,
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "JUPYTERHUB_API_URL": f"{hub}api",
        "JUPYTERHUB_ACTIVITY_URL": f"{hub}api/users/{USER}/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{USER}",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps(SCOPES),
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{PREFIX}oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": json.dumps(SCOPES),
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}{PREFIX}",
        "JUPYTERHUB_USER": USER,
        "JUPYTER_RUNTIME_DIR": os.path.join(home, ".runtime"),
    }


class StubHub(http.server.BaseHTTPRequestHandler):
    """As much of a hub as one server needs: a version, one user, a place for activity."""

    def do_GET(self) -> None:
        if self.path.rstrip("/").endswith("/hub/api"):
            self.answer({"version": hub_version()}, headers={"X-JupyterHub-Version": hub_version()})
        elif self.path.startswith("/hub/api/user"):
            self.answer(
                {
                    "name": USER,
                    "kind": "user",
                    "admin": False,
                    "groups": [],
                    "scopes": SCOPES,
                    "session_id": None,
                    "server": PREFIX,
                }
            )
        else:
            self.answer({})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer({"last_activity": None})

    def answer(self, told: dict, headers: dict | None = None) -> None:
        body = json.dumps(told).encode()
        self.send_response(200)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The server's own log tells the story."""


def hub_version() -> str:
    from importlib.metadata import version

    return version("jupyterhub")


class Browser:
    """Asks the server as the rehearsal's user, within what is left of the budget."""

    def __init__(self, server: subprocess.Popen, port: int, give_up: float) -> None:
        self.server, self.port, self.give_up = server, port, give_up

    def wait_until_it_listens(self) -> None:
        while True:
            if self.server.poll() is not None:
                code = self.server.returncode
                raise Failure(f"jupyterhub-singleuser ended with code {code} before it listened")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            if time.monotonic() > self.give_up:
                raise Failure(f"the server did not listen within {BUDGET_SECONDS:.0f} s")
            time.sleep(0.05)

    def ask(self, method: str, path: str, *, expect: tuple[int, ...] = (200,), **headers: str):
        # Half of what is left: one answer that never comes does not spend the others' time.
        patience = max(1.0, (self.give_up - time.monotonic()) / 2)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        body = b"{}" if method == "POST" else None
        auth = {"Authorization": f"token {TOKEN}"}
        connection.request(method, PREFIX + path, body=body, headers={**auth, **headers})
        answer = connection.getresponse()
        if answer.status not in expect:
            raise Failure(f"{method} {PREFIX}{path} answered {answer.status} {answer.reason}")
        return answer


def visit(browser: Browser) -> None:
    """A person's first minute: the page, its settings, a kernel and its channel."""
    browser.wait_until_it_listens()
    browser.ask("GET", "api").read()
    browser.ask("GET", "lab", expect=(200, 302, 404)).read()
    for path in (
        "api/contents",
        "api/kernelspecs",
        "lab/api/settings",
        "lab/api/translations/en",
        "lab/api/workspaces",
        "api/terminals",
        "api/status",
    ):
        browser.ask("GET", path, expect=(200, 302, 403, 404)).read()
    start_kernel(browser)


def start_kernel(browser: Browser) -> None:
    started = browser.ask("POST", "api/kernels", expect=(201, 404, 500, 501))
    told = json.loads(started.read() or b"{}")
    if started.status != 201:
        # An image without a kernel of its own is odd, yet its server works.
        return
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "cmVoZWFyc2FsLXJlaGVhcg==",
    }
    channel = browser.ask("GET", f"api/kernels/{told['id']}/channels", expect=(101,), **upgrade)
    # The first frame comes when the kernel answers: by then its machinery is imported.
    with contextlib.suppress(OSError):
        channel.fp.read(1)


def ask_for_modules(server: subprocess.Popen, listing: str, give_up: float) -> list[str]:
    server.send_signal(signal.SIGUSR2)
    while not os.path.exists(listing):
        if server.poll() is not None or time.monotonic() > give_up:
            raise Failure("the server did not say what it had imported")
        time.sleep(0.02)
    with open(listing, encoding="utf-8") as file:
        return json.load(file)


def write_record(names: list[str]) -> None:
    path = os.path.join(PRIVATE, "record.json")
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump({"modules": names, "python": sys.version}, file)
        file.flush()
        os.fsync(file.fileno())
    # Another user than the container's reads it.
    os.chmod(path + ".new", 0o644)
    os.replace(path + ".new", path)


# The other process: the stock server, which lists its modules when asked


def serve(listing: str, script: str) -> None:
    def tell(*_: object) -> None:
        with open(listing + ".new", "w", encoding="utf-8") as file:
            json.dump(importable_again(dict(sys.modules)), file)
        os.replace(listing + ".new", listing)

    signal.signal(signal.SIGUSR2, tell)
    borrow_path_of(script)
    run_stock(script, [])


def importable_again(modules: dict) -> list[str]:
    """Names in order of import, without those that read an identity or were made on the fly."""
    return [name for name, module in modules.items() if is_importable(name, module)]


def is_importable(name: str, module: object) -> bool:
    spec = getattr(module, "__spec__", None)
    if spec is None or spec.name != name or spec.loader is None:
        return False
    return not reads_identity(name) and os.path.dirname(spec.origin or "") != HERE


if __name__ == "__main__":
    if len(sys.argv) == 3:
        serve(sys.argv[1], sys.argv[2])
    else:
        sys.exit(main())
