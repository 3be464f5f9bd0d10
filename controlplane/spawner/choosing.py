"""Which pool a start is for: the form that offers them, the options that name one.

JupyterHub keeps the options of a server's last start and gives them again to the next, and
it keeps them before anybody looked at them. So what is refused here is taken back: what was
chosen before is chosen again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tornado.web import HTTPError
from traitlets import default

from controlplane.messages import KnownPool
from controlplane.spawner import form, options, outcome, reached
from controlplane.spawner.keeping import Keeping
from controlplane.spawner.offers import Offer

# How long the form waits for the first snapshot after the hub's start.
FORM_SECONDS = 2.0
# How long a start right after the hub's own waits to be told of the pools.
FIRST_SNAPSHOT_SECONDS = 3.0


class Choosing(Keeping):
    """A part of GreenroomSpawner: pools, as people see and choose them."""

    # Of the Spawner that this is a part of.
    user_options: Any
    apply_user_options: Any
    options_from_form: Any
    mem_limit: Any
    cpu_limit: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._accepted: dict[str, Any] = dict(self.user_options)

    def options_from_query(self, query_data: dict[str, list[str]]) -> Any:
        """As inherited: what a URL says is read as a form is."""
        return self.run_options_from_form(query_data)

    def runs_in(self) -> str | None:
        """The pool of this server's lease, empty when unknown; None while it has none."""
        return self._claim.pool if self._claim is not None and self._claim.ended is None else None

    def kept_in(self) -> str | None:
        """The pool in whose line a place is kept for this server; None when there is none."""
        kept = self.door.places.find(self._who)
        return kept.claim.pool if kept is not None and kept.claim.ended is None else None

    @default("options_form")
    def _default_options_form(self) -> Any:
        return _pools_form

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        # The hub keeps what this returns: so it is looked at before.
        return self._options_of_form

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Any:
        return options.accept

    def _options_of_form(self, form_data: Mapping[str, list[Any]]) -> dict[str, Any]:
        given = options.from_form(form_data)
        named = options.chosen(given, others=self._has_hook)
        if named:
            options.the_pool(named, self.door.memory.pools or {}, self.group_names())
        return given

    @property
    def _has_hook(self) -> bool:
        return self.apply_user_options is not options.accept

    async def _pool(self) -> str:
        """The pool of this start, or a refusal."""
        try:
            named = options.chosen(self.user_options, others=self._has_hook)
            pool = await self._named_or_only(named or self.pool)
        except HTTPError as error:
            if error.status_code < 500:
                self._take_back()
            raise
        self._remember(named, pool)
        return pool

    async def _named_or_only(self, name: str) -> str:
        limits = self.mem_limit is not None or self.cpu_limit is not None
        if (not name or limits) and not await self.door.snapshot(FIRST_SNAPSHOT_SECONDS):
            # Only with the pools can one be chosen, or its limits be compared.
            raise outcome.no_snapshot(self.door.met)
        pool = options.the_pool(name, self.door.memory.pools or {}, self.group_names())
        if self._known(pool) is None:
            await self._look_for(pool)
        return pool

    async def _look_for(self, name: str) -> None:
        """A pool that we have not heard of may be new; when nobody says so, the worker decides."""
        entered = self.door.now()
        offer = await self.door.offers.look(within=0)
        if offer is None or offer.at < entered:
            return
        if name not in offer.pools:
            raise options.unknown(name, offer.pools, self.group_names())
        options.the_pool(name, offer.pools, self.group_names())

    def _remember(self, named: str, pool: str) -> None:
        """The pages of the hub show `profile`; only a choice is kept for the next start."""
        self._accepted = dict(self.user_options) | ({options.KEY: pool} if named else {})
        if named and self.orm_spawner.user_options != self._accepted:
            self.orm_spawner.user_options = dict(self._accepted)
        self.user_options = self._accepted | {options.KEY: pool}

    def _take_back(self) -> None:
        before = {} if self.user_options == self._accepted else self._accepted
        self._accepted = dict(before)
        self.user_options = dict(before)
        self.orm_spawner.user_options = dict(before)

    def _known(self, pool: str) -> KnownPool | None:
        return (self.door.memory.pools or {}).get(pool)

    def _off(self, pool: KnownPool, offer: Offer | None) -> str:
        """Why this person cannot start one of it now; empty when they may, for all we know."""
        if pool.paused:
            return "Paused by the administrators: nobody new is let in."
        if offer is None:
            return ""
        own = self.kept_in() or ""
        return reached.limit(pool, offer, self._elsewhere(), self.group_names(), own)

    def _elsewhere(self) -> list[str]:
        """The pools of this person's servers that run, and of others that wait in line.

        A form that is asked of a server that runs is shown for another: the hub takes the
        default server's when the start of a named one was refused.
        """
        servers = [each for each in self.user.spawners.values() if isinstance(each, Choosing)]
        held = [each.runs_in() for each in servers]
        held += [each.kept_in() for each in servers if each is not self]
        return [pool for pool in held if pool is not None]

    def _wanted(self) -> Sequence[str]:
        """The pools to preselect, best first."""
        last = self.user_options.get(options.KEY) or self.user_options.get(options.ALIAS)
        return [name for name in (last, self.pool) if isinstance(name, str)]


async def _pools_form(spawner: Choosing) -> str:
    door, groups = spawner.door, spawner.group_names()
    await door.snapshot(FORM_SECONDS)
    if len(options.usable(door.memory.pools or {}, groups)) < 2:
        return ""
    offer = await door.offers.look()
    known = offer.pools if offer is not None else door.memory.pools
    pools = options.usable(known or {}, groups)
    cards = [form.Card(pool=pool, off=spawner._off(pool, offer)) for pool in pools]
    return form.form(cards, spawner._wanted())
