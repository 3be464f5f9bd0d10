"""GreenroomSpawner: JupyterHub's door to Greenroom.

`start()` asks for a lease and returns when its notebook proved that it answers; `poll()`
answers from memory and says running unless there is evidence; `stop()` releases the lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import chain, repeat
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_escape_path, url_path_join
from tornado.web import HTTPError

from controlplane import failpoints
from controlplane.errors import BadSettings, GreenroomError
from controlplane.messages import LeaseEnded, LeaseRequest
from controlplane.spawner import asking, identity, outcome, page, traits, whose
from controlplane.spawner.choosing import Choosing
from controlplane.spawner.claim import Claim
from controlplane.spawner.in_line import InLine
from controlplane.spawner.refusal import refusal, uncount

# The first question heals a lost answer, the others a lost place in the line.
FIRST_QUESTION_SECONDS = 1.5
QUESTION_SECONDS = 15.0
# A worker that stands still with the request in hand would keep it until its connection dies.
HEDGE_SECONDS = 3.0
# The lease worker ends a lease at its deadline; this is for the case that nobody does.
PATIENCE_SECONDS = 3.0
# Below the hub's own timeout, which it takes for a failure that counts.
BEFORE_TIMEOUT_SECONDS = 1.0
# A start that was given up waits so long for its release, which goes on without it.
GIVE_UP_SECONDS = 0.5
# Who has the backup of a home is told so on the page, which must be there long enough to be read.
BACKUP_SAID_SECONDS = 6.0
# How long a poll after the hub's start waits for the first snapshot.
ADOPTION_SECONDS = 5.0
ADOPTED_QUESTION_SECONDS = 2.0


class GreenroomSpawner(Choosing, Spawner):
    """Hands each user a warm notebook. docs/hub.md describes its settings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._restored = False
        # From get_url(), which only a hub that starts calls, until it decided.
        self._hub_checks = False
        self._asked = asyncio.Event()
        self._notices: set[asyncio.Task[Any]] = set()
        if self.user is not None:
            # Connects when the first spawner is made, not when the first user waits.
            self.door  # noqa: B018

    async def start(self) -> str:
        """The URL of a notebook that answers as this server.

        Raises a refusal (4xx, 503) that the hub shows and does not count as a failure.
        """
        try:
            return await self._start()
        except HTTPError:
            uncount(self)
            raise

    async def poll(self) -> int | None:
        """None unless there is evidence that the server is over. Never raises."""
        try:
            return await self._status()
        except Exception:  # the hub takes an exception of poll for a death
            self.log.exception("poll of %s failed; it counts as running", self._log_name)
            return None

    async def stop(self, now: bool = False) -> None:
        """Release the lease. Returns as soon as that is safe; removing is not the hub's wait."""
        if self._hub_checks and self._claim is not None and self._claim.ended is None:
            # Not reached by a hub that just started: nobody wanted this.
            self._hub_checks = False
            self._keep_place(self._claim)
            return
        kept = self.door.places.take(self._who)
        if kept is not None:
            await self.door.drop(kept)
        claim = self._forget()
        if claim is not None and claim.ended is None:
            claim.end(LeaseEnded(lease=claim.lease, reason="stopped"))
            failpoints.reach("spawner.release.made")
            await self.door.release(claim.lease, "stopped")
            failpoints.reach("spawner.release.confirmed")

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What happens to this start. Any number of listeners, at any time."""
        # A listener may be earlier than the hooks that run before start().
        await self._asked.wait()
        if self._claim is not None:
            addresses = self._addresses()
            async for event in self._claim.progress():
                if "queue" in event:
                    event["html_message"] = page.watched(event["message"], addresses)
                yield event

    async def get_url(self) -> str:
        """Where the server is: from the lease, also when this hub died while it started."""
        self._hub_checks = True
        if self._who in self.door.unsure and await self.door.snapshot(self.http_timeout):
            await self._adopt()
        claim = self._claim
        if claim is None:
            return str(self.server.url)
        await self._wait_served(claim, self.http_timeout, repeat(ADOPTED_QUESTION_SECONDS))
        if claim.url is None or _same_place(claim.url, self.server.url):
            return str(self.server.url)
        self.orm_spawner.state = self.get_state()
        return str(url_path_join(claim.url, self.server.base_url))

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` said before the hub restarted."""
        super().load_state(state)
        self._load_resumption(state)
        if self.server is None:
            return
        lease, url = state.get("lease"), state.get("url")
        if not isinstance(lease, str) or not isinstance(url, str):
            # The hub died in the middle of a start, or another spawner started this.
            self.door.unsure.add(self._who)
            return
        claim = self._new_claim(lease, pool="")
        claim.phase, claim.url = "serving", url
        self._hold(claim)
        self._restored = True

    def get_state(self) -> dict[str, Any]:
        """Lease and URL; the token that takes the lease up again is sealed."""
        state: dict[str, Any] = super().get_state() | self._resumption_state()
        if self._claim is not None and self._claim.phase == "serving":
            state |= {"lease": self._claim.lease, "url": self._claim.url}
            failpoints.reach("spawner.state.told")
        return state

    def clear_state(self) -> None:
        """Forget the last server."""
        super().clear_state()
        self._forget()
        if self._resumes:
            self._resumes = self.will_resume = False
        self._asked.clear()

    async def delete_forever(self) -> None:
        """The user or the named server is deleted. Homes are never Greenroom's to delete."""
        await self.stop()

    async def rename(self, old_name: str, new_name: str) -> None:
        """The hub renames stopped servers only, and a stopped server has nothing here."""
        if self._claim is not None and self._claim.ended is None:
            raise HTTPError(409, f"{self._log_name} still holds a notebook: stop it first")

    def add_poll_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """As inherited; and a server that died before the hub listened is told now."""
        super().add_poll_callback(callback, *args, **kwargs)
        self._hub_checks = False
        if self._claim is not None and self._claim.ended is not None:
            self._notify()

    async def _start(self) -> str:
        entered = self.door.now()
        request = await self._request()
        claim = self._claim_of(request)
        self._hold(claim)
        self._asked.set()
        try:
            return await self._served(claim, request, entered)
        except InLine:
            raise
        except BaseException:
            # Also when the hub cancels this: whatever happened, nobody waits for it any more.
            await self._give_up(claim)
            raise

    async def _served(self, claim: Claim, request: LeaseRequest, entered: float) -> str:
        if claim.phase == "serving" and claim.url is not None:
            # Also of a claim that was served while its person waited outside the hub.
            await self._say_backup(claim, entered)
            if claim.ended is not None:
                raise outcome.ended(claim, claim.ended)
            return claim.url
        failpoints.reach("spawner.request.made")
        try:
            await self.door.ask(request)
        except GreenroomError as error:
            raise outcome.not_asked(error) from None
        failpoints.reach("spawner.request.confirmed")
        await self._wait_answer(claim, request, entered)
        if claim.aside and not claim.settled:
            raise self._in_line(claim)
        failpoints.reach("spawner.serving.heard")
        await self._say_backup(claim, entered)
        if claim.ended is not None:
            raise outcome.ended(claim, claim.ended)
        if claim.url is None:
            late = LeaseEnded(lease=claim.lease, reason="expired", detail="nobody answered")
            raise outcome.ended(claim, late)
        stages = claim.served.stages if claim.served else {}
        self.log.info("lease.serving lease=%s server=%s %s", claim.lease, self._log_name, stages)
        return claim.url

    async def _say_backup(self, claim: Claim, entered: float) -> None:
        """Stay on the page with what it says, unless the home is the person's own."""
        if claim.home:
            self.log.warning("lease.on_backup server=%s home=%s", self._log_name, claim.home)
            await asyncio.sleep(min(BACKUP_SAID_SECONDS, max(0.0, self._left(entered))))

    async def _wait_answer(self, claim: Claim, request: LeaseRequest, entered: float) -> None:
        seconds = request.budget_ms / 1000
        patience = min(PATIENCE_SECONDS, seconds / 4)
        pauses = chain((FIRST_QUESTION_SECONDS,), repeat(QUESTION_SECONDS))
        beside = (self._hedge(claim, request), self._stand_in_line(claim))
        tasks = [asyncio.ensure_future(each) for each in beside]
        try:
            await self._wait_served(claim, min(seconds + patience, self._left(entered)), pauses)
        finally:
            for task in tasks:
                task.cancel()

    def _left(self, entered: float) -> float:
        return self.start_timeout - BEFORE_TIMEOUT_SECONDS - (self.door.now() - entered)

    async def _hedge(self, claim: Claim, request: LeaseRequest) -> None:
        """Ask once more, with the same id, when nobody said anything at all."""
        await asyncio.sleep(HEDGE_SECONDS)
        if claim.phase == "asking":
            left_ms = max(0, request.budget_ms - int(HEDGE_SECONDS * 1000))
            await self.door.ask_again(request.model_copy(update={"budget_ms": left_ms}))

    async def _wait_served(self, claim: Claim, seconds: float, pauses: Any) -> None:
        deadline = self.door.now() + seconds
        for pause in pauses:
            left = deadline - self.door.now()
            if await claim.wait_settled(min(pause, left)) or left <= pause:
                return
            await self.door.question(claim.lease)

    async def _give_up(self, claim: Claim) -> None:
        if self._claim is claim:
            self._forget()
        if claim.ended is not None:
            return
        claim.end(LeaseEnded(lease=claim.lease, reason="cancelled"))
        release = asyncio.ensure_future(self.door.release(claim.lease, "cancelled"))
        self._keep(release)
        # The door keeps what the broker does not take; wait() leaves it alone in any case.
        await asyncio.wait({release}, timeout=GIVE_UP_SECONDS)

    async def _request(self) -> LeaseRequest:
        try:
            door, keys = self.door, self.seal_keys
            if door.trouble:
                raise BadSettings(door.trouble)
            pool = await self._pool()
            self._check_traits(pool)
            kept = await self._lease_to_take_up(self._choice(pool))
            environment = asking.check_environment(self.get_env())
            asking.check_hub_url(environment)
            expected = url_path_join(self.user.base_url, url_escape_path(self.name), "/")
            asking.check_prefix(self.server.base_url, expected)
            start = asking.Start(
                lease=kept or identity.lease_id(),
                hub=door.hub,
                hub_process=door.hub_process,
                user=self.user.name,
                server=self.name,
                prefix=self.server.base_url,
                pool=pool,
                groups=self.group_names(),
                budget_seconds=asking.budget(self.start_timeout),
                identity=await whose.identity_of(self),
            )
            arguments = asking.check_arguments(self.get_args())
            request = asking.request(start, environment, arguments, keys)
            return request.model_copy(update={"renewed": kept is not None})
        except BadSettings as error:
            self.log.error("Greenroom's settings: %s", error)
            raise refusal(
                f"Greenroom is not set up in this hub: {error}", reason="settings", status=503
            ) from None

    def _check_traits(self, pool: str) -> None:
        values = {name: getattr(self, name) for name in traits.OWNED}
        sections = [self.config.get(cls.__name__, {}) for cls in type(self).__mro__]
        for section in [*sections, vars(self)]:
            values |= {name: section[name] for name in traits.FOREIGN if name in section}
        problems = list(traits.conflicts(values, self._known(pool)))
        if problems:
            raise refusal("This server cannot be started: " + "; ".join(problems), reason="trait")

    async def _status(self) -> int | None:
        if self._restored:
            # Once, after the hub's start: the hub would wait half a minute for a dead server.
            self._restored = False
            await self.door.snapshot(ADOPTION_SECONDS)
        if self._claim is not None:
            return self._claim.status()
        if self._who not in self.door.unsure:
            return 0
        return await self._adopt()

    async def _adopt(self) -> int | None:
        """After a hub that died during a start: is there a lease for this server?"""
        if not await self.door.snapshot(ADOPTION_SECONDS):
            return None
        known = self.door.memory.of(*self._who)
        self.door.unsure.discard(self._who)
        if known is None:
            return 0
        if self._claim is not None:
            return None
        claim = self._new_claim(known.lease, pool="")
        claim.hear_snapshot(known, self.door.now())
        if claim.phase == "waiting":
            # The hub forgot this start; its person comes back for the place.
            self._keep_place(claim)
            return 0
        self._hold(claim)
        return None

    def _new_claim(self, lease: str, *, pool: str) -> Claim:
        return Claim(lease, pool=pool, since=self.door.now(), on_end=self._notify)

    def _hold(self, claim: Claim) -> None:
        self._claim = claim
        self.door.hold(claim)

    def _forget(self) -> Claim | None:
        claim, self._claim = self._claim, None
        self.door.unsure.discard(self._who)
        if claim is not None:
            self.door.let_go(claim)
        return claim

    def _notify(self) -> None:
        if self.pending == "stop":
            # The hub ends it itself, and would take our word for a second death.
            return
        # While the hub does not listen yet this tells nobody: add_poll_callback calls again.
        self._keep(asyncio.ensure_future(self.poll_and_notify()))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        # The loop holds its tasks weakly.
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)


def _same_place(url: str, other: str) -> bool:
    first, second = urlsplit(url), urlsplit(other)
    return (first.scheme, first.hostname, first.port) == (
        second.scheme,
        second.hostname,
        second.port,
    )
