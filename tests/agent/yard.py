"""A node with two notebooks, and all that is around it, made of network namespaces.

    one, two     notebooks on the node's bridge
    node         the bridge, what the engine does for published ports, and the rules under test
    hub          a hub; also a broker, on another port
    outsider     somebody else on the node's network
    world        the way to everywhere: cloud metadata, a public address, a private one

Something listens everywhere, so that whatever is not refused connects. Each host answers at one
address of IPv4 and one of IPv6.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from tests.agent import yard_listener
from workers.agent import namespaces

T = TypeVar("T")

HOUSES = ("one", "two", "node", "hub", "outsider", "world")
BRIDGE = "gr-0123456789"
SECONDS = 60
NOTEBOOK, API, BROKER, DNS, OTHER = 8888, 8081, 5672, 53, 9100
FIRST_PORT, LAST_PORT = 20_000, 29_999
PUBLISHED = {"one": 20_001, "two": 20_002}

# Nobody's office has these networks (RFC 2544, and a unique local one of ours).
ADDRESSES = {
    4: {
        "gateway": "198.19.30.1",
        "one": "198.19.30.2",
        "two": "198.19.30.3",
        "node": "198.19.7.1",
        "hub": "198.19.7.10",
        "outsider": "198.19.7.11",
        "world": "198.19.7.12",
        "metadata": "169.254.169.254",
        "public": "45.79.1.1",
        "private": "10.9.8.7",
    },
    6: {
        "gateway": "fdb1:30::1",
        "one": "fdb1:30::2",
        "two": "fdb1:30::3",
        "node": "fdb1:7::1",
        "hub": "fdb1:7::10",
        "outsider": "fdb1:7::11",
        "world": "fdb1:7::12",
        "metadata": "fd00:ec2::254",
        "public": "2607:f8b0::1",
        "private": "fdb1:9::7",
    },
}
BITS = {4: 24, 6: 64}
FAR = ("metadata", "public", "private")
CONNECT = """
import errno, json, socket, sys
for host, port, seconds in json.load(sys.stdin):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(seconds)
        try:
            code = probe.connect_ex((host, port))
        except OSError as error:
            code = error.errno
    print("yes" if code == 0 else errno.errorcode.get(code, str(code)))
"""
WHO = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) as probe:
    print(probe.makefile("rb").read().decode().rpartition("\\r\\n\\r\\n")[2])
"""
ASK = """
import socket, sys
host = sys.argv[1]
with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.settimeout(30)
    try:
        probe.connect((host, int(sys.argv[2])))
        probe.send(b"?")
        print(probe.recv(100).decode())
    except OSError as error:
        print(type(error).__name__)
"""


class Yard:
    """Open it with `laid()`."""

    def __init__(self) -> None:
        self.name = f"gry{secrets.token_hex(3)}"
        self._listeners: list[subprocess.Popen[str]] = []

    def namespace(self, house: str) -> str:
        return f"{self.name}-{house}"

    def path(self, house: str) -> str:
        return f"/run/netns/{self.namespace(house)}"

    def reach(
        self, house: str, places: Iterable[tuple[str, int]], *, seconds: float = 30
    ) -> list[str]:
        """For each place: `yes`, or the kernel's word for why not; EAGAIN after so long."""
        asked = json.dumps([(*place, seconds) for place in places])
        return self.inside(house, sys.executable, "-c", CONNECT, say=asked).split()

    def ask(self, house: str, host: str, port: int) -> str:
        """What a server of UDP says."""
        return self.inside(house, sys.executable, "-c", ASK, host, str(port)).strip()

    def who(self, house: str, host: str, port: int) -> str:
        """Which house answers there."""
        return self.inside(house, sys.executable, "-c", WHO, host, str(port)).strip()

    def pid(self, house: str) -> int:
        """A process that runs there."""
        return self._listeners[HOUSES.index(house)].pid

    def inside(self, house: str, *words: str, say: str = "") -> str:
        """What this program prints there."""
        return _run("nsenter", f"--net={self.path(house)}", *words, say=say)

    def live(self, house: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do this there: what it starts is there as well."""
        done: list[T] = []
        failed: list[BaseException] = []

        def there() -> None:
            namespaces.enter_network(self.path(house))
            try:
                done.append(asyncio.run(_awaited(work)))
            except BaseException as error:  # noqa: BLE001 told to the test below
                failed.append(error)

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return done[0]

    def lay(self) -> None:
        switch = self.namespace("wire")
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        for house in HOUSES:
            _ip("netns", "add", self.namespace(house))
            # Without its search for doubles an address of IPv6 can be used at once.
            self._set(house, *(f"net.ipv6.conf.{a}.accept_dad=0" for a in ("all", "default")))
            _ip("-n", self.namespace(house), "link", "set", "lo", "up")
        self._lay_bridge()
        for house in ("node", "hub", "outsider", "world"):
            self._plug(house, switch, "switch", house)
        for house in ("one", "two"):
            self._plug(house, self.namespace("node"), BRIDGE, house)
        self._lay_routes()
        self._publish()
        self._site()

    def listen(self) -> None:
        """Everybody listens on every port that means something."""
        tcp = [NOTEBOOK, API, BROKER, DNS, OTHER, *PUBLISHED.values()]
        ports = json.dumps({"tcp": tcp, "udp": [DNS]})
        for house in HOUSES:
            words = (sys.executable, yard_listener.__file__, house, ports)
            started = subprocess.Popen(
                ("nsenter", f"--net={self.path(house)}", *words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._listeners.append(started)
        for started in self._listeners:
            assert started.stdout is not None
            assert started.stdout.readline() == "up\n"

    def settle(self) -> None:
        """Until everybody has found everybody: bridges and neighbours learn as they go."""
        give_up = time.monotonic() + SECONDS
        for house in ("one", "two", "hub", "outsider"):
            ways = [(at[to], OTHER) for at in ADDRESSES.values() for to in at if to != house]
            while left := [
                w for w, a in zip(ways, self.reach(house, ways), strict=True) if a != "yes"
            ]:
                assert time.monotonic() < give_up, f"{house} does not find {left}"

    def clear(self) -> None:
        for started in self._listeners:
            started.kill()
            started.wait(SECONDS)
            for stream in (started.stdin, started.stdout):
                if stream is not None:
                    stream.close()
        for house in (*HOUSES, "wire"):
            subprocess.run(
                ["ip", "netns", "delete", self.namespace(house)], capture_output=True, check=False
            )

    def _lay_bridge(self) -> None:
        node = self.namespace("node")
        _ip("-n", node, "link", "add", BRIDGE, "type", "bridge")
        for version, known in ADDRESSES.items():
            _address(node, known["gateway"], BITS[version], BRIDGE)
        _ip("-n", node, "link", "set", BRIDGE, "up")
        self._set("node", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        # As the engine does it for a network whose containers do not talk to each other.
        self._set("node", "net.bridge.bridge-nf-call-iptables=1")
        self._set("node", "net.bridge.bridge-nf-call-ip6tables=1")

    def _plug(self, house: str, where: str, switch: str, port: str) -> None:
        there = self.namespace(house)
        peer = ("type", "veth", "peer", "name", port, "netns", where)
        _ip("-n", there, "link", "add", "eth0", *peer)
        _ip("-n", where, "link", "set", port, "master", switch, "up")
        for version, known in ADDRESSES.items():
            _address(there, known[house], BITS[version], "eth0")
        _ip("-n", there, "link", "set", "eth0", "up")

    def _lay_routes(self) -> None:
        for version, known in ADDRESSES.items():
            family = f"-{version}"
            for house in ("one", "two"):
                gateway = known["gateway"]
                _ip(family, "-n", self.namespace(house), "route", "add", "default", "via", gateway)
            # Answers find back; and who knows the route tries the bridge itself.
            for house in ("hub", "outsider", "world"):
                back = ("default", "via", known["node"])
                _ip(family, "-n", self.namespace(house), "route", "add", *back)
            node = self.namespace("node")
            _ip(family, "-n", node, "route", "add", "default", "via", known["world"])
            for far in FAR:
                single = 32 if version == 4 else 128
                _address(self.namespace("world"), known[far], single, "lo")

    def _publish(self) -> None:
        """As the engine: DNAT for whoever comes from outside the bridge, its proxy for others."""
        rules = "".join(
            f'iifname != "{BRIDGE}" ip{"" if v == 4 else "6"} daddr {known["node"]} tcp dport '
            f"{port} dnat ip{'' if v == 4 else '6'} to {_host(known[house])}:{NOTEBOOK}\n"
            for v, known in ADDRESSES.items()
            for house, port in PUBLISHED.items()
        )
        chain = f"chain prerouting {{ type nat hook prerouting priority -100;\n{rules} }}"
        self.inside("node", "nft", "-f", "-", say=f"table inet engine {{ {chain}\n}}\n")

    def without_proxy(self) -> None:
        """As an engine with `"userland-proxy": false`: notebooks too are taken by DNAT."""
        back = f'oifname "{BRIDGE}" iifname "{BRIDGE}" masquerade'
        ways = "".join(
            f'iifname "{BRIDGE}" {ip} daddr {{ {at["node"]}, {at["gateway"]} }} tcp dport '
            f"{PUBLISHED['two']} dnat {ip} to {_host(at['two'])}:{NOTEBOOK}\n"
            for ip, at in (("ip", ADDRESSES[4]), ("ip6", ADDRESSES[6]))
        )
        taken = f"chain pre {{ type nat hook prerouting priority -100;\n{ways}\n}}"
        sent = f"chain post {{ type nat hook postrouting priority 100;\n{back}\n}}"
        self.inside("node", "nft", "-f", "-", say=f"table inet hairpin {{\n{taken}\n{sent}\n}}\n")

    def with_proxy(self) -> None:
        """As it was."""
        self.inside("node", "nft", "delete", "table", "inet", "hairpin")

    def _site(self) -> None:
        """Rules that were here before us: they are nobody else's business."""
        rules = ("-N SITE", "-A SITE -p tcp --dport 22 -j ACCEPT", "-A INPUT -j SITE")
        for program in ("iptables-restore", "ip6tables-restore"):
            self.inside("node", program, say="\n".join(["*filter", *rules, "COMMIT", ""]))

    def _set(self, house: str, *what: str) -> None:
        self.inside(house, "sysctl", "-q", "-w", *what)


@contextmanager
def laid() -> Iterator[Yard]:
    """The whole yard, taken away again whatever happens."""
    yard = Yard()
    with ExitStack() as last:
        last.callback(yard.clear)
        yard.lay()
        yard.listen()
        yard.settle()
        yield yard


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _address(namespace: str, address: str, bits: int, link: str) -> None:
    quick = ("nodad",) if ":" in address else ()
    _ip("-n", namespace, "addr", "add", f"{address}/{bits}", "dev", link, *quick)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str, say: str = "") -> str:
    done: Any = subprocess.run(
        words, input=say, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return str(done.stdout)
