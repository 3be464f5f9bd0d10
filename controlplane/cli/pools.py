"""`greenroom pools`: what is offered."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from controlplane import poolsfile
from controlplane.cli.doors import with_postgres
from controlplane.cli.out import Shape, say, show
from controlplane.cli.words import Output
from controlplane.clients.postgres import Change, Postgres
from controlplane.decide.refill import Snapshot, plan
from controlplane.errors import Refused
from controlplane.model import Limits, NodeState, NotebookPhase, Pool, PoolSpec

app = typer.Typer(help="Pools: what is offered, and how many are warm.", no_args_is_help=True)

_COUNTED = [p for p in NotebookPhase if p not in (NotebookPhase.GONE, NotebookPhase.LOST)]
# A screen is narrower than a JSON object: fewer and shorter words.
COLUMNS = ["pool", "rev", "target", "max", "coming", "ready", "leased", "going", "waiting"]
COLUMNS += ["image", "why"]


@app.command()
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="the pools file (TOML)")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would change")] = False,
    remove_missing: Annotated[
        bool, typer.Option("--remove-missing", help="also remove pools that the file leaves out")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask before removing")] = False,
    output: Output = Shape.TABLE,
) -> None:
    """Make the pools what this file says: all of them, or none when something is wrong."""
    wanted = poolsfile.load(file)

    async def call(postgres: Postgres) -> list[Change]:
        expected = changes(wanted.pools, await postgres.pools.list(), remove_missing=remove_missing)
        limits, version = await postgres.pools.limits()
        after = wanted.limits or (Limits() if remove_missing else limits)
        expected += limits_change(limits, after, version)
        if dry_run:
            return expected
        _ask_before_removing(expected, yes=yes)
        return await postgres.pools.apply(
            wanted.pools, remove_missing=remove_missing, limits=wanted.limits
        )

    done = with_postgres(call)
    rows = [{"pool": c.pool, "what": c.what, "revision": c.revision} for c in done]
    show(rows, ["pool", "what", "revision"], output, empty="no pool is in the file")
    if dry_run:
        say("nothing was written: leave out --dry-run to apply it")


@app.command("list")
def list_pools(output: Output = Shape.TABLE) -> None:
    """Every pool with its notebooks by phase, and what keeps it from its target."""
    found = with_postgres(rows)
    if output is Shape.TABLE:
        found = [on_screen(row) for row in found]
    show(found, COLUMNS, output, empty="no pool yet: greenroom pools apply -f FILE")


def on_screen(row: dict[str, Any]) -> dict[str, Any]:
    """A row with what COLUMNS names as well."""
    return {
        **row,
        "rev": row["revision"],
        "max": row["maximum"],
        "coming": row["creating"] + row["warming"],
        "going": row["retiring"] + row["failed"],
    }


async def rows(postgres: Postgres) -> list[dict[str, Any]]:
    """One row for each pool, with its notebooks counted by phase."""
    return [_row(await postgres.pools.snapshot(p.name)) for p in await postgres.pools.list()]


def changes(
    specs: Sequence[PoolSpec], known: Sequence[Pool], *, remove_missing: bool
) -> list[Change]:
    """What applying these would do; `revision` is the present one, 0 for a new pool."""
    present = {pool.name: pool for pool in known}
    found = [_change(spec, present.get(spec.name)) for spec in specs]
    if remove_missing:
        left = sorted(present.keys() - {spec.name for spec in specs})
        found += [Change(pool=n, what="removed", revision=present[n].revision) for n in left]
    return found


def limits_change(before: Limits, after: Limits, version: int) -> list[Change]:
    """What applying these limits over all pools would do; `version` is the present one."""
    if before == after:
        return []
    if before == Limits():
        return [Change(pool="[limits]", what="created", revision=version)]
    gone = after == Limits()
    return [Change(pool="[limits]", what="removed" if gone else "changed", revision=version)]


def _change(spec: PoolSpec, pool: Pool | None) -> Change:
    if pool is None:
        return Change(pool=spec.name, what="created", revision=0)
    return Change(
        pool=spec.name,
        what="unchanged" if pool.spec == spec else "changed",
        revision=pool.revision,
    )


def _ask_before_removing(expected: Sequence[Change], *, yes: bool) -> None:
    removed = [change.pool for change in expected if change.what == "removed"]
    if not removed or yes:
        return
    question = f"remove {', '.join(removed)}? warm notebooks of pools go, people keep theirs"
    if not sys.stdin.isatty():
        raise Refused(f"{question}: say --yes to do it without being asked")
    if not typer.confirm(question, err=True):
        raise Refused("nothing was changed")


def _row(snapshot: Snapshot) -> dict[str, Any]:
    pool, spec = snapshot.pool, snapshot.pool.spec
    ready_nodes = sum(n.state is NodeState.READY for n in snapshot.nodes)
    return {
        "pool": pool.name,
        "display_name": spec.display_name,
        "description": spec.description,
        "revision": pool.revision,
        "image": spec.container.image,
        "target": spec.target(ready_nodes),
        "maximum": spec.maximum,
        "max_per_user": spec.max_per_user,
        "max_per_group": spec.max_per_group,
        "paused": spec.paused,
        "changed_at": pool.changed_at,
        **{p.value: sum(n.phase is p for n in snapshot.notebooks) for p in _COUNTED},
        "waiting": snapshot.waiting,
        "why": plan(snapshot, snapshot.taken_at).why,
    }
