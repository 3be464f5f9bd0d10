"""The one moment a warm notebook learns who it is for.

    accept    refused, or in the journal: from here on nobody else can get this notebook
    run       turn ─▶ mount ─▶ handover ─▶ serve ─▶ probe ─▶ report

`accept` decides before its first await, so of two orders at once one wins. The same order
again gets the same answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog

from controlplane import failpoints, telemetry
from controlplane.errors import GreenroomError, Refused, Retry
from controlplane.messages import ActivateNotebook, RunAccepted, RunActivated, RunFailed, RunRefused
from controlplane.seal import Contents
from workers.agent import channel, environment, opening, probe, recipe, syscalls
from workers.agent.channel import HungUp, NotListening
from workers.agent.homes import HomeRefused, HomeUnreachable
from workers.agent.journal import Run
from workers.agent.node import Node
from workers.agent.opening import Opened
from workers.agent.registry import Item, Leaving
from workers.agent.stages import Stages

# What is over by then was accepted as well. An order whose answer is outstanding is given again
# after a second, and a lease moves on after three.
ACCEPTED_WAITS_SECONDS = 0.25
# How long the end of a container may take to be seen after its channel broke.
END_SEEN_SECONDS = 5.0


class NoActivation(GreenroomError):
    """Refused before anything was done. `reason` is for reports."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Activations:
    """Activates notebooks, as many at once as the node has turns."""

    def __init__(self, node: Node, let_through: Callable[[str], Awaitable[None]]) -> None:
        self._node = node
        self._let_through = let_through
        self._log = structlog.get_logger("agent.activation")

    async def accept(self, command: ActivateNotebook) -> None:
        """Return when the order is in the journal or its refusal is on its way."""
        item = self._node.registry.get(command.notebook)
        if item is not None and item.claimed_by == command.lease:
            return self._again(item, command)
        try:
            contents = self._check(item, command)
        except NoActivation as error:
            return self._refuse(command, error.reason, str(error))
        assert item is not None
        failpoints.reach("agent.accept.checked")
        item.claimed_by = command.lease
        stages = Stages()
        work = self._run(item, command, contents, stages)
        run = _run_of(command)
        try:
            await self._node.registry.step(item, phase="accepted", run=run)
        except (OSError, Leaving) as error:
            item.claimed_by = ""
            work.close()
            return self._refuse(command, "journal", f"the journal cannot be written: {error}")
        failpoints.reach("agent.accept.journaled")
        stages.end("accept")
        telling = self._tell_if_it_lasts(item)
        self._node.tasks.create_task(telling, name=f"acceptance {command.notebook}")
        item.work = self._node.tasks.create_task(work, name=f"activation {command.notebook}")

    def tell_outcome(self, item: Item) -> None:
        """Report what became of the activation, also once more."""
        entry, run = item.entry, item.entry.run
        assert run is not None
        about = {"notebook": entry.notebook, "lease": run.lease, "attempt": run.attempt}
        post = self._node.reports.post
        if run.refused:
            post(RunRefused, **about, reason=run.refused, detail=run.detail, terminal=run.terminal)
        elif run.failed:
            post(RunFailed, **about, reason=run.failed, detail=run.detail)
        elif entry.phase == "serving":
            url = self._node.url(entry.port)
            post(RunActivated, **about, url=url, stages=run.stages, home=run.home)
        else:
            self._tell_accepted(item)

    async def resume(self, item: Item) -> None:
        """After a restart: accepted and not served. Listening means it was never handed over."""
        with suppress(NotListening, HungUp, Refused):
            async with channel.connect(self._node.slots.run(item.entry.notebook)) as connection:
                await connection.hello(item.entry.notebook)
                return
        stages = Stages()
        item.work = self._node.tasks.create_task(
            self._only_probe(item, stages), name=f"resumed activation {item.entry.notebook}"
        )

    def _again(self, item: Item, command: ActivateNotebook) -> None:
        run = item.entry.run
        if run is None or item.retiring:
            return  # on its way into the journal, or out: whoever is at it answers
        if run.attempt != command.attempt:
            return self._refuse(command, "taken", "it serves another attempt of this lease")
        if item.entry.phase != "accepted" or item.busy or run.refused or run.failed:
            return self.tell_outcome(item)
        # Accepted by an earlier agent that did not come to hand it over.
        try:
            contents = self._node.seal.open(command, datetime.now(UTC))
        except Refused as error:
            return self._refuse(command, "seal", str(error))
        self._tell_accepted(item)
        work = self._run(item, command, contents, Stages())
        item.work = self._node.tasks.create_task(work, name=f"activation {command.notebook}")

    def _check(self, item: Item | None, command: ActivateNotebook) -> Contents:
        """What is inside the seal, or `NoActivation`. Decides without a single await."""
        if item is None:
            raise NoActivation("unknown_notebook", "no such notebook is on this node")
        if command.epoch != self._node.reports.epoch:
            raise NoActivation("stale_epoch", "the order was made for another start of this agent")
        if item.claimed_by:
            raise NoActivation("taken", "this notebook was activated before")
        if item.entry.phase != "ready" or item.retiring:
            phase = "removing" if item.retiring else item.entry.phase
            raise NoActivation("not_ready", f"this notebook is {phase}")
        try:
            return self._node.seal.open(command, datetime.now(UTC))
        except Refused as error:
            raise NoActivation("seal", str(error)) from None

    async def _run(
        self, item: Item, command: ActivateNotebook, contents: Contents, stages: Stages
    ) -> None:
        try:
            await self._try(item, command, contents, stages)
        except Exception as error:  # noqa: BLE001 - one notebook's bug must not stop a node
            # The traceback's locals may hold the environment: only the kind is logged.
            self._log.error("activation.bug", notebook=item.entry.notebook, kind=repr(type(error)))
            await self._end(item, failed="bug", detail=type(error).__name__)

    async def _try(
        self, item: Item, command: ActivateNotebook, contents: Contents, stages: Stages
    ) -> None:
        try:
            async with asyncio.timeout(command.budget_ms / 1000):
                await self._hand_over(item, contents, stages)
            await self._served(item, stages)
        except HomeRefused as error:
            await self._end(item, refused=error.reason, detail=str(error), terminal=True)
        except HomeUnreachable as error:
            await self._end(item, refused="home_unreachable", detail=str(error))
        except NotListening:
            # Handed over by an earlier life of this agent, or its process is gone.
            await self._only_probe(item, stages)
        except HungUp as error:
            await self._unless_it_ended(item, "hung_up", str(error))
        except TimeoutError:
            detail = f"not served within its budget of {command.budget_ms} ms: {stages}"
            await self._end(item, failed="deadline", detail=detail)
        except Refused as error:
            await self._unless_it_ended(item, "failed", str(error))
        except (Retry, OSError) as error:
            await self._unless_it_ended(item, "broken", str(error))

    async def _hand_over(self, item: Item, contents: Contents, stages: Stages) -> None:
        node, entry = self._node, item.entry
        # A hub's first lease may be faster than the word that there is such a hub.
        await self._let_through(contents.plain().get("JUPYTERHUB_API_URL", ""))
        opened = await opening.open_home(node, entry, contents)
        try:
            await self._keep_in_mind(item, opened)
            stages.end("home")
            async with node.turns:
                stages.end("turn")
                self._mount(item, opened)
                failpoints.reach("agent.home.mounted")
                stages.end("mount")
                await self._converse(item, contents, stages, opened.who)
        finally:
            if opened.home is not None:
                os.close(opened.home)
        self._log.debug("activation.done", notebook=entry.notebook, stages=str(stages))

    async def _keep_in_mind(self, item: Item, opened: Opened) -> None:
        """Whatever happens after the mount, the report says on which home it is."""
        run = item.entry.run
        assert run is not None
        if opened.kind != run.home:
            await self._node.registry.step(item, run=run.model_copy(update={"home": opened.kind}))

    def _mount(self, item: Item, opened: Opened) -> None:
        """Microseconds, as the storage was reached when the handle was opened."""
        slots, notebook = self._node.slots, item.entry.notebook
        # An earlier agent's mount of a root that hangs by now would hang us; the topmost is seen.
        if opened.home is not None and (opened.kind or not slots.has_home(notebook)):
            syscalls.bind(opened.home, slots.home(notebook), read_only=opened.read_only)

    async def _converse(
        self, item: Item, contents: Contents, stages: Stages, who: dict[str, Any] | None
    ) -> None:
        entry = item.entry
        order = channel.activation(
            contents.lease,
            entry.notebook,
            environment=environment.for_container(contents.plain(), prefix=contents.prefix),
            arguments=(*recipe.arguments(entry.spec), *contents.arguments),
            directory=entry.directory,
            identity=who,
        )
        async with channel.connect(self._node.slots.run(entry.notebook)) as connection:
            await connection.order(order)
            failpoints.reach("agent.handover.given")
            stages.end("handover")
            served = await connection.served(contents.lease)
        stages.end("serve")
        stages.add({f"serve_{name}": ms for name, ms in served.stages.items()})
        if served.cold:
            self._log.info("activation.cold", notebook=entry.notebook, why=served.cold)
        await self._prove(item, contents.prefix)
        stages.end("probe")

    async def _prove(self, item: Item, prefix: str, *, seconds: float = 30.0) -> None:
        if self._node.settings.node.probe_host:
            host = self._node.place.address
            await probe.until_it_answers(host, item.entry.port, prefix, seconds=seconds)

    async def _only_probe(self, item: Item, stages: Stages) -> None:
        """The channel is closed: what answers now is all that can be known."""
        run = item.entry.run
        assert run is not None
        try:
            await self._prove(item, run.prefix)
        except Retry as error:
            return await self._unless_it_ended(item, "not_listening", str(error))
        stages.end("probe")
        await self._served(item, stages)

    async def _served(self, item: Item, stages: Stages) -> None:
        run = item.entry.run
        assert run is not None
        told = run.model_copy(update={"stages": stages.milliseconds()})
        about = {"notebook": item.entry.notebook, "lease": run.lease, "attempt": run.attempt}
        failpoints.reach("agent.probe.answered")
        # Known and reported first: a crash before the journal probes again and says the same.
        item.entry = item.entry.model_copy(update={"phase": "serving", "run": told})
        url = self._node.url(item.entry.port)
        self._node.reports.post(RunActivated, **about, url=url, stages=told.stages, home=told.home)
        with suppress(Leaving):
            await self._node.registry.step(item, phase="serving", run=told)
            failpoints.reach("agent.served.journaled")
        telemetry.ACTIVATION_SECONDS.observe(stages.seconds())
        telemetry.ACTIVATION_WAIT_SECONDS.observe(told.stages.get("turn", 0.0) / 1000)
        if told.home:
            telemetry.ON_BACKUP.labels(access=told.home.removeprefix("backup-")).inc()
            self._log.warning("notebook.on_backup", **about, user=run.user, home=told.home)
        self._log.info("notebook.activated", **about, **told.stages)

    async def _unless_it_ended(self, item: Item, failed: str, detail: str) -> None:
        """A dead container is reported with its evidence by who sees it; else this is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SEEN_SECONDS):
                await item.ended.wait()
                return
        await self._end(item, failed=failed, detail=detail)

    async def _end(
        self,
        item: Item,
        *,
        refused: str = "",
        failed: str = "",
        detail: str,
        terminal: bool = False,
    ) -> None:
        run = item.entry.run
        assert run is not None
        outcome = {"refused": refused, "failed": failed, "terminal": terminal}
        told = run.model_copy(update={**outcome, "detail": detail[:2000]})
        with suppress(Leaving):
            await self._node.registry.step(item, run=told)
            self.tell_outcome(item)
        if refused:
            telemetry.REFUSALS.labels(reason=refused).inc()
        self._log.warning("activation.ended", notebook=item.entry.notebook, **outcome)

    async def _tell_if_it_lasts(self, item: Item) -> None:
        await asyncio.sleep(ACCEPTED_WAITS_SECONDS)
        run = item.entry.run
        over = run is None or run.refused or run.failed or item.retiring
        if item.entry.phase == "accepted" and not over:
            self._tell_accepted(item)

    def _tell_accepted(self, item: Item) -> None:
        run = item.entry.run
        assert run is not None
        about = {"notebook": item.entry.notebook, "lease": run.lease, "attempt": run.attempt}
        self._node.reports.post(RunAccepted, **about)

    def _refuse(self, command: ActivateNotebook, reason: str, detail: str) -> None:
        telemetry.REFUSALS.labels(reason=reason).inc()
        self._log.warning("activation.refused", notebook=command.notebook, reason=reason)
        self._node.reports.post(
            RunRefused,
            notebook=command.notebook,
            lease=command.lease,
            attempt=command.attempt,
            reason=reason,
            detail=detail[:2000],
        )


def _run_of(command: ActivateNotebook) -> Run:
    return Run(
        lease=command.lease,
        attempt=command.attempt,
        hub=command.hub,
        user=command.user,
        server=command.server,
        prefix=command.prefix,
        accepted_at=datetime.now(UTC),
    )
