"""All commands together, and what an error becomes: what, why, what next."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version as installed

import structlog
import typer

from controlplane.cli import database, doctor, leases, nodes, pools, quarantine, status
from controlplane.cli.out import say
from controlplane.cli.words import NotFound
from controlplane.errors import (
    BadSettings,
    Conflict,
    GreenroomError,
    Refused,
    Unavailable,
    Unroutable,
)

app = typer.Typer(
    name="greenroom",
    help="Warm notebooks for JupyterHub on plain Docker hosts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(database.app, name="db")
app.add_typer(pools.app, name="pools")
app.add_typer(nodes.app, name="nodes")
app.add_typer(leases.app, name="leases")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(quarantine.topology, name="topology")
keys = typer.Typer(help="Keys that seal what belongs to one person.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)

_SERVICES = (
    "check that the services run and that GREENROOM_POSTGRES_URL, GREENROOM_AMQP_URL and "
    "GREENROOM_REDIS_URL name them; `greenroom status` shows which one answers"
)
# The first that fits: exit code and what to do next.
_ENDINGS: tuple[tuple[type[GreenroomError], int, str], ...] = (
    (BadSettings, 2, "correct it and try again; docs/pools.md and docs/settings.md list every key"),
    (NotFound, 3, "the list of the same noun shows what there is"),
    (Refused, 4, "change what it says, then try again"),
    (Conflict, 1, "somebody changed it at the same time: try again"),
    (Unavailable, 1, _SERVICES),
    (Unroutable, 1, "greenroom topology apply"),
    (GreenroomError, 1, "greenroom db status; if that is up to date, report this as a bug"),
)


def run(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("error"),
        # Looked up at each line: whoever redirects stderr gets what is said after that.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    # A lost connection is told once, by us.
    for driver in ("aiormq", "aio_pika"):
        logging.getLogger(driver).setLevel(logging.CRITICAL)
    try:
        app(args=arguments, prog_name="greenroom")
    except GreenroomError as error:
        return _told(arguments, error)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        # Somebody piped into `head`: nobody is there to be told.
        sys.stderr.close()
        return 0
    return 0


@app.command()
def version() -> None:
    """The installed version."""
    sys.stdout.write(f"{installed('greenroom')}\n")


@keys.command("new")
def new_key() -> None:
    """A new seal key for GREENROOM_SEAL_KEYS, of hubs and agents; newest first."""
    from cryptography.fernet import Fernet

    sys.stdout.write(f"{Fernet.generate_key().decode()}\n")


def _told(arguments: list[str], error: GreenroomError) -> int:
    words = [word for word in arguments[:2] if not word.startswith("-")]
    code, advice = next((c, a) for kind, c, a in _ENDINGS if isinstance(error, kind))
    why = "\n      ".join(str(error).splitlines())
    say(f"greenroom {' '.join(words)} did not work\nwhy:  {why}\nnext: {advice}")
    return code
