"""The one connection of a hub process: what its spawners ask, and who hears the answers.

Connects in the background and stays up through everything. After each connect it says
hello, and the snapshot that answers fills the memory; every 10 s it tells which leases its
spawners know. Answers are given to the claim of their lease; those of no claim are dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from controlplane.clients.rabbitmq import Broker, Delivery, request
from controlplane.errors import BadMessage, GreenroomError, Retry, Unavailable, Unroutable
from controlplane.messages import (
    EVERY_LEASE,
    HubHello,
    HubInventory,
    HubPools,
    HubSnapshot,
    LeaseClaimed,
    LeaseEnded,
    LeaseRelease,
    LeaseRequest,
    LeaseServing,
    LinePlaces,
    LineQuestion,
    Message,
    PoolsQuestion,
    decode,
)
from controlplane.spawner import comes_from, identity, patience
from controlplane.spawner.claim import Claim
from controlplane.spawner.memory import Memory
from controlplane.spawner.offers import Offers
from controlplane.spawner.places import Kept, Places, Who
from controlplane.spawner.road import Address, Road
from controlplane.spawner.spans import spans

INVENTORY_SECONDS = 10.0
# A snapshot also heals answers that were lost without a reconnect.
HELLO_SECONDS = 60.0
HELLO_UNANSWERED_SECONDS = 5.0
# start() must fail within 5 s when there is no broker, a publish may take 2 s of them.
ASK_SECONDS = 4.0
RELEASE_SECONDS = 2.0
AGAIN_SECONDS = 0.2
# Whoever looked at a form does not wait for its answer any longer.
POOLS_QUESTION_MS = 2000
PREFETCH = 64
# Places that nobody came back for are looked for so often.
SWEEP_SECONDS = 2.0
# So long a place in line is kept, where the configuration says nothing else.
KEEP_PLACE_SECONDS = 60.0
# A server that runs, and that the hub gave up because it could not reach it.
KEEP_SERVER_SECONDS = 24 * 3600.0
# What one inventory message can carry.
LEASES_AT_MOST = 1500


class Door:
    """What the spawners of one hub process share. Made and used on the hub's event loop.

    `unsure` names the servers whose lease is not known yet; while there are any, the
    inventory says that it is not complete. `trouble` says why this door can never open:
    the hub lives on, and nothing can be started.
    """

    def __init__(self, address: Address, *, log: Any, trouble: str = "") -> None:
        self.trouble = trouble
        self.hub = address.hub
        self.hub_process = identity.hub_process()
        self.memory = Memory()
        self.unsure: set[Who] = set()
        self.places = Places()
        self.offers = Offers(self._ask_for_pools, self.now)
        self.keep_seconds = KEEP_PLACE_SECONDS
        self._address = address
        self._log = log
        self._claims: dict[str, Claim] = {}
        self._releases: dict[str, LeaseRelease] = {}
        self._sending: set[str] = set()
        self._complaints: set[str] = set()
        self._snapshot = asyncio.Event()
        self._listening = asyncio.Event()
        self._road: Road | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Start connecting. Returns at once, also when there is no broker."""
        road = Broker.start(
            self._address.amqp_url,
            installation=self._address.installation,
            source=f"hub.{self.hub}.{self.hub_process}",
            on_connect=self.greet,
        )
        self.open_on(road)

    def open_on(self, road: Road) -> None:
        """Start talking over a road that calls `greet` whenever it is there again."""
        self._road = road
        self._tasks = [
            asyncio.create_task(self._listen(road), name="greenroom-listen"),
            asyncio.create_task(
                self._repeat(self.tell_inventory, INVENTORY_SECONDS), name="greenroom-inventory"
            ),
            asyncio.create_task(self._ask_for_snapshots(), name="greenroom-hello"),
            asyncio.create_task(
                self._repeat(self.sweep_places, SWEEP_SECONDS), name="greenroom-places"
            ),
        ]

    async def close(self) -> None:
        """End the tasks, then the connection that they use."""
        await self.offers.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._road is not None:
            await self._road.close()

    def now(self) -> float:
        """Seconds of the clock that claims and memory are given."""
        return asyncio.get_running_loop().time()

    @property
    def met(self) -> bool:
        """Whether there ever was a connection."""
        return self._listening.is_set()

    # What spawners ask

    def hold(self, claim: Claim) -> None:
        """From now on answers about this lease go to this claim, and the inventory names it."""
        self._claims[claim.lease] = claim

    def let_go(self, claim: Claim) -> None:
        """Nobody here knows this lease any more."""
        self._claims.pop(claim.lease, None)

    def keep(self, claim: Claim, who: Who, over: Callable[[], None] = lambda: None) -> Kept:
        """Keep this lease for a later start() of its person; the inventory names it meanwhile.

        `over` is called when it is given up instead.
        """
        now = self.now()
        lasts = KEEP_SERVER_SECONDS if claim.phase == "serving" else self.keep_seconds
        kept = Kept(who=who, claim=claim, until=now + lasts, seen=now, over=over)
        self.hold(claim)
        self.places.keep(kept)
        return kept

    async def drop(self, kept: Kept) -> None:
        """Nobody takes this lease up any more. Never fails, as `release`."""
        self.let_go(kept.claim)
        kept.over()
        if kept.claim.ended is None:
            kept.claim.end(LeaseEnded(lease=kept.claim.lease, reason="cancelled"))
            await self.release(kept.claim.lease, "cancelled")

    async def sweep_places(self) -> None:
        """Release the places that nobody came back for in time."""
        for kept in self.places.lapsed(self.now()):
            await self.drop(kept)

    async def snapshot(self, seconds: float) -> bool:
        """Whether a snapshot is there, waiting for the first one for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._snapshot.wait()
        except TimeoutError:
            return False
        return True

    async def ask(self, wanted: LeaseRequest) -> None:
        """Send a request until it is confirmed; `Unavailable` or `Unroutable` after 4 s.

        The same id each time: sent twice, it has one effect.
        """
        trouble: GreenroomError = Unavailable("the hub has no connection to RabbitMQ")

        async def sent() -> None:
            nonlocal trouble
            await self._listening.wait()
            while True:
                try:
                    return await self._send(wanted, expires_ms=wanted.budget_ms)
                except (Retry, Unroutable) as error:
                    trouble = error
                # Who came back was heard of before: that is no word of their new deadline.
                if self._was_heard(wanted.lease) and not wanted.renewed:
                    return
                await asyncio.sleep(AGAIN_SECONDS)

        try:
            await patience.within(ASK_SECONDS, sent())
        except TimeoutError:
            if not self._was_heard(wanted.lease):
                raise trouble from None

    def _was_heard(self, lease: str) -> bool:
        """Somebody answered: so the request is there, though its confirm was not seen."""
        claim = self._claims.get(lease)
        return claim is not None and claim.phase != "asking"

    async def ask_again(self, wanted: LeaseRequest) -> None:
        """The same request for another worker to read. Lost, it is no loss."""
        await self._hint(wanted, expires_ms=wanted.budget_ms)

    async def question(self, lease: str) -> None:
        """Ask where a lease is. A question that gets lost is asked again by its asker."""
        ask = LineQuestion(lease=lease, hub=self.hub, hub_process=self.hub_process)
        await self._hint(ask, expires_ms=15_000)

    async def release(self, lease: str, reason: str) -> None:
        """End a lease. Never fails: what the broker does not confirm now is sent again later."""
        self._releases[lease] = LeaseRelease(lease=lease, hub=self.hub, reason=reason)
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._send_release(lease)
        except (TimeoutError, Retry, Unroutable) as error:
            self._log.warning("Lease %s is released when the broker answers: %s", lease, error)

    # What the broker brings

    async def greet(self) -> None:
        """The connection is there, again: say who we are, and what we know. May raise `Retry`."""
        self._listening.set()
        try:
            await self._hello()
        except Unroutable as error:
            # A hub may well start before the first worker does; _ask_for_snapshots goes on.
            self._complain(error)
        await self.tell_inventory()

    async def hear(self, delivery: Delivery) -> None:
        """Take one answer."""
        try:
            await self._settle(delivery)
        except (Retry, Unroutable) as error:
            # The connection goes, and with it the queue: the snapshot makes up for all of it.
            self._complain(error)

    async def _settle(self, delivery: Delivery) -> None:
        try:
            envelope = decode(delivery.body)
        except BadMessage as error:
            self._log.error("An answer to this hub makes no sense, it is quarantined: %s", error)
            return await delivery.quarantine(error.reason, str(error))
        self._take(envelope.message)
        await delivery.ack()

    def _take(self, answer: Message) -> None:
        match answer:
            case LeaseClaimed() | LeaseServing() | LeaseEnded():
                if claim := self._claims.get(answer.lease):
                    claim.hear(answer, self.now())
            case LinePlaces():
                for place in answer.places:
                    if claim := self._claims.get(place.lease):
                        claim.hear_place(place.place, answer)
            case HubSnapshot() | HubPools() if answer.hub == self.hub:
                self._take_part(answer)
            case _:
                self._log.warning("This hub cannot use a %s", answer.TYPE)

    def _take_part(self, part: HubSnapshot | HubPools) -> None:
        if isinstance(part, HubSnapshot):
            self._take_snapshot(part)
        elif offer := self.offers.hear(part):
            self.memory.pools = offer.pools

    def _take_snapshot(self, part: HubSnapshot) -> None:
        speaks_from = self.memory.hear(part, self.now())
        if speaks_from is None:
            return
        if not self._snapshot.is_set():
            self._adopt_places()
        self._snapshot.set()
        self._complaints.clear()
        for claim in list(self._claims.values()):
            if known := self.memory.leases.get(claim.lease):
                claim.hear_snapshot(known, self.now())
            elif claim.phase == "serving" and claim.since < speaks_from:
                claim.end(
                    LeaseEnded(
                        lease=claim.lease, reason="died", detail="it is not in the hub's snapshot"
                    )
                )

    def _adopt_places(self) -> None:
        """After a restart: leases that no server of this hub names, kept for who comes back."""
        for known in self.memory.leases.values():
            who = known.user, known.server
            if known.lease in self._claims or known.lease in self._releases or who in self.unsure:
                continue
            claim = Claim(known.lease, since=self.now())
            claim.hear_snapshot(known, self.now())
            self.keep(claim, who)

    # What goes on in the background

    async def tell_inventory(self) -> None:
        """Say which leases the spawners of this process know, all of them.

        Before the first snapshot there may be some that an earlier process knew.
        """
        complete = not self.unsure and self._snapshot.is_set()
        leases = sorted(lease for lease, claim in self._claims.items() if claim.ended is None)
        for part, between in spans(leases, LEASES_AT_MOST):
            inventory = HubInventory(
                hub=self.hub,
                hub_process=self.hub_process,
                complete=complete and between == EVERY_LEASE,
                between=between if complete else None,
                leases=tuple(part),
            )
            await self._hint(inventory, expires_ms=int(INVENTORY_SECONDS * 1000))
        await self._send_releases()

    async def _hello(self) -> None:
        self.memory.said_hello(self.now())
        hello = HubHello(
            hub=self.hub,
            hub_process=self.hub_process,
            api_url=self._address.api_url,
            clients=await comes_from.addresses(self._address.proxy),
        )
        await self._send(hello, expires_ms=int(HELLO_UNANSWERED_SECONDS * 2000))

    async def _ask_for_pools(self) -> None:
        ask = PoolsQuestion(hub=self.hub, hub_process=self.hub_process)
        await self._hint(ask, expires_ms=POOLS_QUESTION_MS)

    async def _listen(self, road: Road) -> None:
        await road.consume(f"hub.{self.hub_process}", self.hear, prefetch=PREFETCH)

    async def _ask_for_snapshots(self) -> None:
        await self._listening.wait()
        while True:
            answered = self._snapshot.is_set()
            await asyncio.sleep(HELLO_SECONDS if answered else HELLO_UNANSWERED_SECONDS)
            await self._guarded(self._hello)

    async def _repeat(self, call: Callable[[], Awaitable[None]], seconds: float) -> None:
        await self._listening.wait()
        while True:
            await asyncio.sleep(seconds)
            await self._guarded(call)

    async def _guarded(self, call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except GreenroomError as error:
            self._complain(error)
        except Exception:  # noqa: BLE001 the hub must live on, and the next round may go well
            self._log.exception("A background task of Greenroom's spawner failed, it goes on")

    async def _send_releases(self) -> None:
        for lease in list(self._releases):
            await self._send_release(lease)

    async def _send_release(self, lease: str) -> None:
        # When everybody leaves at once, each sends their own, and nobody another's as well.
        release = self._releases.get(lease)
        if release is None or lease in self._sending:
            return
        self._sending.add(lease)
        try:
            await self._send(release)
            self._releases.pop(lease, None)
        finally:
            self._sending.discard(lease)

    async def _hint(self, message: Message, *, expires_ms: int) -> None:
        try:
            await self._send(message, expires_ms=expires_ms)
        except (Retry, Unroutable) as error:
            self._complain(error)

    def _complain(self, error: GreenroomError) -> None:
        """Once for each kind of trouble, until a snapshot shows that it is over."""
        if str(error) not in self._complaints:
            self._complaints.add(str(error))
            self._log.warning("Greenroom is out of reach for now: %s", error)

    async def _send(self, message: Message, *, expires_ms: int | None = None) -> None:
        if self._road is None:
            raise Unavailable("the connection to RabbitMQ has not been opened")
        lease = getattr(message, "lease", None)
        traceparent = identity.traceparent(lease) if lease else ""
        await self._road.publish(
            message, request(message), expires_ms=expires_ms, traceparent=traceparent
        )
