"""Keeps one node's rules as they should be: set at start, changed at once, looked at and mended.

Where they cannot be set the agent says which promises are missing, or with
`node.firewall = "require"` offers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from controlplane import telemetry
from controlplane.errors import BadSettings, Refused, Retry
from workers.agent.firewall.backend import Backend, find
from workers.agent.firewall.policy import Policy

LOOK_EVERY_SECONDS = 10.0
MISSING = (
    "notebooks reach each other's ports, this node's other ports, the control plane and cloud "
    "metadata, and whoever reaches this node reaches notebooks"
)
ANYBODY = "who reaches a notebook's port is not limited: a rootless engine hides who comes"

Find = Callable[[], Awaitable[Backend | None]]


class Firewall:
    """The rules of one node. `mode` is the setting: require, try or off."""

    def __init__(self, mode: str, find: Find = find) -> None:
        self._mode = mode
        self._find = find
        self._backend: Backend | None = None
        self._policy: Policy | None = None
        self._wanted = ""
        self._seen: int | None = None
        self._why = ""
        self._changing = asyncio.Lock()
        self._log = structlog.get_logger("agent.firewall")

    @property
    def in_place(self) -> bool:
        """The rules are what they should be, as far as the last look saw."""
        return bool(self._wanted) and not self._why

    @property
    def policy(self) -> Policy | None:
        """What the rules say, or should."""
        return self._policy

    @property
    def missing(self) -> str:
        """Why there are no rules, or ""."""
        return self._why

    @property
    def may_offer(self) -> bool:
        """Whether notebooks of this node may be given to people."""
        return self._mode != "require" or self.in_place

    async def open(self, policy: Policy) -> None:
        """The first rules, before the first notebook. `BadSettings` where they are required."""
        if self._mode == "off":
            await self._take_away(policy.name)
            self._failed('node.firewall = "off"')
            return
        try:
            self._backend = await self._find()
        except Refused as error:
            self._failed(str(error))
        else:
            if self._backend is None:
                self._failed("neither nft nor iptables is installed")
        await self.change(policy)
        if self._mode == "require" and not self.in_place:
            raise BadSettings(
                f'node.firewall = "require", and no rules can be set: {self._why}: install '
                'nftables and run the agent as root, or write node.firewall = "try"'
            )
        if self.in_place and policy.clients is None:
            self._log.warning("firewall.partly", missing=ANYBODY)

    async def change(self, policy: Policy) -> None:
        """From here on these rules; the same ones cost nothing."""
        async with self._changing:
            if policy == self._policy and self.in_place:
                return
            self._policy = policy
            if self._backend is not None:
                await self._set(self._backend, policy)

    async def look(self) -> None:
        """Put back what somebody took away."""
        async with self._changing:
            backend, policy = self._backend, self._policy
            if backend is None or policy is None:
                return
            if self.in_place:
                generation = backend.generation()
                if generation is not None and generation == self._seen:
                    return
                try:
                    if await backend.held(policy.name) == self._wanted:
                        self._seen = generation
                        return
                except (Refused, Retry) as error:
                    return self._failed(str(error))
                self._log.warning("firewall.taken_away", by="somebody else", backend=backend.name)
                telemetry.FIREWALL_REPAIRS.inc()
            await self._set(backend, policy)

    async def keep_looking(self) -> None:
        """For as long as the agent lives."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            await self.look()

    async def _take_away(self, name: str) -> None:
        """What an earlier agent set would outlive it, and nobody would tell it where hubs are."""
        try:
            backend = await self._find()
            if backend is not None:
                await backend.remove(name)
        except (Refused, Retry) as error:
            self._log.info("firewall.not_looked_at", why=str(error))

    async def _set(self, backend: Backend, policy: Policy) -> None:
        try:
            await backend.replace(policy)
            generation = backend.generation()
            # As the kernel tells it: what is equal to this was not touched.
            wanted = await backend.held(policy.name)
        except (Refused, Retry) as error:
            return self._failed(str(error))
        except asyncio.CancelledError:
            # Which rules hold is unknown: the next look must not take the old ones for these.
            self._failed("whoever changed the rules was stopped meanwhile")
            raise
        if not wanted:
            return self._failed(f"{backend.name} took the rules and has none")
        if self._why or not self._wanted:
            self._log.info("firewall.in_place", backend=backend.name)
        self._wanted, self._why, self._seen = wanted, "", generation
        telemetry.FIREWALL.set(1)

    def _failed(self, why: str) -> None:
        if why != self._why:
            self._log.warning("firewall.not_in_place", why=why, missing=MISSING)
        self._why = why
        telemetry.FIREWALL.set(0)
