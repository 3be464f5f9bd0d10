"""Notebooks do not reach each other through the node's own address.

`enable_icc=false` keeps neighbours apart on their bridge, but a neighbour's published port is
open on `node.address`, and the gateway takes them there. One rule of the node's firewall
closes that: from the notebooks' bridge to the published ports. It is in place before the
first notebook; where it cannot be set, the agent says which promise is missing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
from dataclasses import dataclass

import structlog

SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Packets from a bridge to a range of this node's ports are rejected."""

    bridge: str
    address: str
    first_port: int
    last_port: int

    def chains(self) -> list[list[str]]:
        """As iptables says it; equal words are the same rule.

        The address is this node's own, or, where the engine is rootless, beyond its namespace.
        """
        beyond = ["-d", f"{self.address}/{self._bits}"]
        return [["INPUT", *self._words([])], ["FORWARD", *self._words(beyond)]]

    def _words(self, where: list[str]) -> list[str]:
        return [
            *("-i", self.bridge, *where, "-p", "tcp"),
            *("-m", "tcp", "--dport", f"{self.first_port}:{self.last_port}"),
            *("-m", "comment", "--comment", "greenroom: notebooks do not reach each other"),
            *("-j", "REJECT", "--reject-with", "tcp-reset"),
        ]

    @property
    def _bits(self) -> int:
        return ipaddress.ip_address(self.address).max_prefixlen

    @property
    def program(self) -> str:
        version = ipaddress.ip_address(self.address).version
        return "iptables" if version == 4 else "ip6tables"


async def close(rule: Rule) -> bool:
    """Put the rule in place unless it is; False, and a line in the log, if it cannot be."""
    why = await _close(rule)
    if why:
        structlog.get_logger("agent.firewall").warning(
            "firewall.not_closed",
            why=why,
            missing=f"a notebook can reach others through {rule.address}",
        )
    return not why


async def open_again(rule: Rule) -> None:
    """Take the rule away, as often as it is there."""
    if shutil.which(rule.program) is None:
        return
    for words in rule.chains():
        while await _run(rule.program, "-D", *words) == "":
            pass


async def _close(rule: Rule) -> str:
    if shutil.which(rule.program) is None:
        return f"{rule.program} is not installed"
    for words in rule.chains():
        if await _run(rule.program, "-C", *words) == "":
            continue
        why = await _run(rule.program, "-I", *words)
        if why:
            return why
    return ""


async def _run(program: str, *words: str) -> str:
    """What went wrong, or "". Once at start: a process costs nothing there."""
    process = await asyncio.create_subprocess_exec(
        program,
        "-w",
        "5",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"{program} did not answer in {SECONDS:g} s"
    return "" if process.returncode == 0 else said.decode("utf-8", "replace").strip() or "failed"
