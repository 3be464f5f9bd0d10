"""The simulated notebook's side of docs/container.md."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.simulated.ledger import Ledger
from benchmarks.simulated.notebook import LONGEST_ORDER, NotAnActivation, Notebook, checked
from workers.agent import channel, probe
from workers.agent.channel import NotListening

DEADLINE_SECONDS = 60


class Warm:
    """One warm notebook, and how it ended."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.ledger = Ledger()
        self.ended: list[int] = []
        port = socket.socket()
        port.setblocking(False)
        port.bind(("127.0.0.1", 0))
        self.port = port.getsockname()[1]
        self.notebook = Notebook(
            "n1", run=run, port=port, ledger=self.ledger, ended=self.ended.append
        )

    async def say(self, line: bytes) -> list[dict[str, Any]]:
        """Everything that it answers to this."""
        reader, writer = await asyncio.open_unix_connection(str(self.run / "socket"))
        writer.write(line)
        writer.write_eof()
        async with asyncio.timeout(DEADLINE_SECONDS):
            raw = await reader.read()
        writer.close()
        return [json.loads(part) for part in raw.splitlines()]


@pytest.fixture
async def warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Warm]:
    # A socket's path may be longer than a socket's address: it is reached from within.
    monkeypatch.chdir(tmp_path)
    run = Path(".")
    warm = Warm(run)
    await warm.notebook.warm()
    yield warm
    warm.notebook.close()


def order(lease: str = "l1", **changes: Any) -> bytes:
    about = {
        "lease": lease,
        "notebook": "n1",
        "environment": {"JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8888/user/ann/"},
        "arguments": [],
        "directory": "/",
    }
    return json.dumps({"activate": {**about, **changes}}).encode() + b"\n"


async def test_the_agents_own_channel_and_probe_are_content_with_it(warm: Warm) -> None:
    async with channel.connect(warm.run) as connection:
        hello = await connection.hello("n1")
    async with channel.connect(warm.run) as connection:
        await connection.order(order())
        served = await connection.served("l1")
    await probe.ask("127.0.0.1", warm.port, "/user/ann/")
    with pytest.raises(probe.NotServing, match="404"):
        await probe.ask("127.0.0.1", warm.port, "/user/bob/")
    with pytest.raises(NotListening):
        async with channel.connect(warm.run):
            pass

    assert (hello.uid, hello.gid) == (os.geteuid(), os.getegid())
    assert served.cold == ""
    assert not (warm.run / "socket").exists()
    assert [a.lease for a in warm.ledger.activations] == ["l1"]


async def test_nothing_answers_on_its_port_before_it_is_activated(warm: Warm) -> None:
    with pytest.raises(probe.NotServing, match="connect"):
        await probe.ask("127.0.0.1", warm.port, "/user/ann/")


async def test_two_orders_at_once_are_one_activation(warm: Warm) -> None:
    said = await asyncio.gather(
        warm.say(order("l1")), warm.say(order("l2")), return_exceptions=True
    )
    answers = [each for each in said if isinstance(each, list)]
    accepted = [part["accepted"] for each in answers for part in each if "accepted" in part]

    assert len(accepted) == 1
    assert [a.lease for a in warm.ledger.activations] == accepted


async def test_a_look_costs_it_nothing(warm: Warm) -> None:
    for _ in range(5):
        (hello,) = await warm.say(b"")
        assert hello["state"] == "warm"

    assert (warm.ended, warm.ledger.activations) == ([], [])


async def test_the_third_refused_message_ends_it(warm: Warm) -> None:
    for _ in range(3):
        _, said = await warm.say(order(notebook="another"))
        assert "refused" in said

    assert warm.ended == [69]
    assert warm.notebook.lease == ""


@pytest.mark.parametrize(
    "raw",
    [
        b"what?\n",
        b"{}\n",
        b"[]\n",
        order()[:-1],
        order() + order(),
        order(notebook="another"),
        order(environment={"A=B": "1"}),
        order(environment={"A": 1}),
        order(environment=None),
        order(arguments=[1]),
        order(directory=None),
        order(environment={"LONG": "x" * LONGEST_ORDER}),
    ],
)
def test_what_is_no_activation_is_refused(raw: bytes) -> None:
    with pytest.raises(NotAnActivation):
        checked(raw, "n1")
