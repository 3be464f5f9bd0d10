"""A start that steps aside: its place in line is kept, and a later start takes it up again.

Also what the hub gives up without anybody's wish: at its own start it stops what it cannot
reach in time. The lease is kept, for its person to start again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import uniform
from typing import Any
from urllib.parse import urlsplit

import jupyterhub
from jupyterhub import orm
from jupyterhub.utils import url_escape_path, url_path_join
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import object_session

from controlplane.errors import BadSettings
from controlplane.messages import LeaseRequest
from controlplane.spawner import asking, page, patience, resumption
from controlplane.spawner.claim import Claim
from controlplane.spawner.configuration import Configuration
from controlplane.spawner.in_line import InLine, Standing
from controlplane.spawner.places import Kept, Who
from controlplane.spawner.resumption import Resumption

# A warm start knows more by then; for the others the hub writes down what it asked for.
WARM_SECONDS = 0.25
# Whoever heard nothing for so long stands in line, or there is nobody who could say so.
HEARD_SECONDS = 5.0
# Whether a server that was given up can be reached again.
REACH_SECONDS = 3.0
# A lease ends at its deadline, also of somebody who only looks: after such a part of its time a
# page starts again, which counts it anew. Not all of a burst in the same moment.
RENEW = (0.3, 0.7)


class Keeping(Configuration):
    """A part of GreenroomSpawner: which lease a start is for, and what becomes of it after."""

    # Of the Spawner that this is a part of.
    api_token: Any
    start_timeout: Any
    will_resume: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._claim: Claim | None = None
        self._again: Resumption | None = None
        self._standing: Standing | None = None
        self._resumes = False
        super().__init__(*args, **kwargs)

    async def get_options_form(self) -> str:
        """As inherited; above it, how somebody stands who chose and waits in line."""
        form: str = await super().get_options_form()
        # With a handler it was asked for by a person, who may want to choose something else.
        kept = self.door.places.of_user(self.user.name) if self.handler is None else None
        if not form or kept is None:
            return form
        chosen = self if kept.who == self._who else self.user.spawners.get(kept.who[1])
        standing = getattr(chosen, "_standing", None)
        if standing is None:
            return form
        return f'<p class="alert alert-info">{standing.html(self.door.now())}</p>{form}'

    @property
    def _who(self) -> Who:
        return self.user.name, self.name

    def _load_resumption(self, state: dict[str, Any]) -> None:
        try:
            self._again = Resumption.of(state, self.seal_keys) or self._again
        except BadSettings:
            # The door says so, and nothing can be started.
            self._again = None

    def _resumption_state(self) -> dict[str, str]:
        """For the hub's row of this server, while a later start could take its lease up."""
        again, claim, kept = self._again, self._claim, self.door.places.find(self._who)
        claims = (claim, kept.claim if kept is not None else None)
        if again is None or not any(c is not None and c.lease == again.lease for c in claims):
            return {}
        return again.state(self.seal_keys)

    async def _lease_to_take_up(self, choice: str) -> str | None:
        """The lease that is kept for exactly this start; from here on with its token."""
        kept, again = self.door.places.find(self._who), self._again
        if kept is None or again is None or kept.claim.ended is not None:
            return None
        if (again.lease, again.choice) != (kept.claim.lease, choice):
            return None
        # Somebody is here: what follows, an identity hook too, may outlast what was left.
        kept.until = max(kept.until, self.door.now() + self.door.keep_seconds)
        if kept.claim.url is not None and not await _reachable(kept.claim.url):
            # They want to work now: the newer lease takes this one's place.
            return None
        self.api_token = again.token
        return again.lease

    def _choice(self, pool: str) -> str:
        return resumption.choice(pool, self.server.base_url, self.user_options)

    def _claim_of(self, request: LeaseRequest) -> Claim:
        """The claim that was kept, or a new one, which takes the place of any other."""
        kept = self.door.places.take(self._who)
        if kept is not None and kept.claim.lease == request.lease and kept.claim.ended is None:
            kept.claim.take_up(self._notify)
            kept.claim.pool = request.pool
            return kept.claim
        if kept is not None:
            self.door.let_go(kept.claim)
            kept.over()
        self._again = Resumption(
            lease=request.lease, choice=self._choice(request.pool), token=self.api_token
        )
        return Claim(request.lease, pool=request.pool, since=self.door.now(), on_end=self._notify)

    async def _stand_in_line(self, claim: Claim) -> None:
        """Wait in this start() if there is room for one more, else step aside."""
        with suppress(TimeoutError):
            await patience.within(WARM_SECONDS, claim.heard())
        if claim.phase in ("asking", "waiting"):
            self._save_state()
        with suppress(TimeoutError):
            await patience.within(HEARD_SECONDS, claim.heard())
        places = self.door.places
        if claim.phase not in ("asking", "waiting"):
            return
        if places.held >= self.hold_in_start:
            return claim.step_aside()
        places.held += 1
        try:
            await asyncio.Event().wait()
        finally:
            places.held -= 1

    def _keep_place(self, claim: Claim) -> Kept:
        """Keep its lease, for whoever starts this server next."""
        if self._claim is claim:
            self._claim = None
        # Else the hub deletes the token and the OAuth client that the notebook knows.
        self._resumes = bool(not self.will_resume)
        self.will_resume = True
        token = self._again.token if self._again is not None else ""
        return self.door.keep(claim, self._who, over=lambda: self._revoke(token))

    def _in_line(self, claim: Claim) -> InLine:
        """The refusal of a start that stepped aside."""
        self._standing = self._standing_of(self._keep_place(claim))
        return InLine(self._standing, self.door.now)

    def _standing_of(self, kept: Kept) -> Standing:
        return Standing(
            kept,
            self.door.places,
            hold=self.hold_in_start,
            seconds=self.door.keep_seconds,
            addresses=self._addresses(),
            renew_at=self.door.now() + asking.budget(self.start_timeout) * uniform(*RENEW),
        )

    def _addresses(self) -> page.Addresses:
        server = (self.user.escaped_name, url_escape_path(self.name))
        prefix = "opt-" if jupyterhub.version_info >= (6,) else ""
        after = _next_of(self.handler)
        fields = page.query(self.user_options, prefix=prefix, after=after)
        return page.Addresses(
            api=url_path_join(self.hub.base_url, "api", "/"),
            look=url_path_join(self.hub.base_url, "spawn-pending", *server)
            + page.query({}, prefix="", after=after),
            start=url_path_join(self.hub.base_url, "spawn", *server) + fields,
        )

    def _save_state(self) -> None:
        """Also when the hub is killed now, the place in line is found again."""
        self.orm_spawner.state = self.get_state()
        session = object_session(self.orm_spawner)
        if session is None:
            return
        try:
            session.commit()
        except SQLAlchemyError as error:
            # The start goes on, in the hub or aside; the place is only not found after a kill.
            session.rollback()
            self.log.warning("A place of %s was not written down: %s", self._log_name, type(error))

    def _revoke(self, token: str) -> None:
        """A token that no notebook will have."""
        session = object_session(self.orm_spawner)
        if session is None or not token:
            return
        try:
            found = orm.APIToken.find(session, token)
            if found is not None:
                session.delete(found)
                session.commit()
        except SQLAlchemyError as error:
            # Its lease, and those of the others whose time is up, are let go all the same.
            session.rollback()
            self.log.warning("A token of %s was not revoked: %s", self._log_name, type(error))

    def _notify(self) -> None:
        raise NotImplementedError


def _next_of(handler: Any) -> str:
    """Where the hub's page sends this person in the end; empty for requests that say nothing."""
    if handler is None:
        return ""
    try:
        after = handler.get_query_argument("next", "")
    except AttributeError:
        return ""
    return str(after)


async def _reachable(url: str) -> bool:
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(REACH_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
