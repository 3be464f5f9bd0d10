"""The kernel's rules, read and written with nft, or else with iptables.

Both change all rules of one node at once, and neither touches a rule that is not ours. nftables
comes first, also beside an engine that uses iptables: its tables are asked one after the other,
so ours stands before the engine's whatever that does, and a packet has to please both.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import Protocol

from controlplane.errors import Refused, Retry, Unavailable
from workers.agent.firewall import generation, iptables, nft
from workers.agent.firewall.policy import Policy

SECONDS = 20.0
# iptables waits so long for whoever else is at it.
LOCK_SECONDS = "5"


class Backend(Protocol):
    """Errors of every call: `Refused` (the kernel or the program said no), `Unavailable`."""

    name: str

    async def replace(self, policy: Policy) -> None:
        """Put exactly these rules in place, all at once."""

    async def held(self, name: str) -> str:
        """Our rules as they are, in a form that is the same as long as they are; "" without."""

    async def remove(self, name: str) -> None:
        """Take them away; nothing to do where there are none."""

    def generation(self) -> int | None:
        """The same number again: nobody changed any rule. None: the kernel does not say."""


class Nft:
    """A table of our own."""

    name = "nftables"

    async def replace(self, policy: Policy) -> None:
        await _run("nft", "-f", "-", say=nft.replace(policy))

    async def held(self, name: str) -> str:
        try:
            # -s: without counters, which move by themselves.
            return await _run("nft", "-s", "list", "table", *nft.table(name).split())
        except Refused:
            return ""

    async def remove(self, name: str) -> None:
        await _run("nft", "-f", "-", say=nft.remove(name))

    def generation(self) -> int | None:
        return generation.current()


class Iptables:
    """Chains of our own and jumps to them. IPv6 where ip6tables is there."""

    name = "iptables"

    def __init__(self) -> None:
        programs = iptables.PROGRAMS.items()
        self._families = {v: program for v, program in programs if shutil.which(program)}

    async def replace(self, policy: Policy) -> None:
        for version, program in self._families.items():
            say = iptables.replace(policy, version, await self._present(program))
            await self._restore(program, say)

    async def held(self, name: str) -> str:
        found = [
            line
            for program in self._families.values()
            for line in iptables.ours(name, await self._present(program))
        ]
        return "\n".join(found)

    async def remove(self, name: str) -> None:
        for program in self._families.values():
            if say := iptables.remove(name, await self._present(program)):
                await self._restore(program, say)

    def generation(self) -> int | None:
        # Rules of the older kind, without nftables, are not counted.
        return None

    async def _present(self, program: str) -> list[str]:
        return (await _run(f"{program}-save", "-t", "filter")).splitlines()

    async def _restore(self, program: str, say: str) -> None:
        await _run(f"{program}-restore", "--noflush", "--wait", LOCK_SECONDS, say=say)


async def find() -> Backend | None:
    """The better one of those that work here; None without any. `Refused` with the reason."""
    why: Exception | None = None
    for there, backend in ((_has("nft"), Nft), (_has("iptables-restore"), Iptables)):
        if not there:
            continue
        found = backend()
        try:
            await _ask(found)
        except (Refused, Retry) as error:
            why = error
        else:
            return found
    if why is not None:
        raise Refused(str(why))
    return None


async def remove(bridge: str) -> None:
    """Take away what an agent set for this bridge, with whatever it set it."""
    name = bridge.removeprefix("gr-")
    for there, backend in ((_has("nft"), Nft), (_has("iptables-restore"), Iptables)):
        if not there:
            continue
        found = backend()
        try:
            await _ask(found)
        except Refused:
            # The program is here, and the kernel or our rights are not: no agent set any with it.
            continue
        await found.remove(name)


async def _ask(found: Nft | Iptables) -> None:
    """A kernel without this kind of rules says so to whoever reads them."""
    if isinstance(found, Nft):
        await _run("nft", "list", "tables")
    else:
        await found.held("")


def _has(program: str) -> bool:
    return shutil.which(program) is not None


async def _run(program: str, *words: str, say: str = "") -> str:
    """What it printed."""
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise Refused(f"{program}: {error.strerror}") from None
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate(say.encode())
    except TimeoutError:
        raise Unavailable(f"{program} did not answer in {SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        words_of_it = err.decode("utf-8", "replace").strip()[:500]
        raise Refused(f"{program}: {words_of_it or f'ended with {process.returncode}'}")
    return out.decode("utf-8", "replace")
