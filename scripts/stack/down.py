"""`scripts/down`: stop what `up` started, by pid, and nothing else; `--wipe` removes its data."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from scripts.stack import commands, demo, engine, mounts, packages, processes, services
from scripts.stack.places import CHECKOUT, UP, Place
from scripts.stack.screen import Screen, Trouble

# Kept by --wipe: they are made from the checkout alone and take minutes to make again.
KEPT = {"node", "cache", "log", "test", "lock", "bench"}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/down", description=__doc__)
    parser.add_argument(
        "--wipe", action="store_true", help="remove containers, homes and data as well"
    )
    wipe = parser.parse_args(arguments).wipe
    screen = Screen()
    if not UP.directory.exists():
        screen.say("Nothing to stop: scripts/up never ran in this checkout.")
        return 0
    try:
        _become_root(arguments)
        _down(UP, wipe=wipe, screen=screen)
    except Trouble as trouble:
        screen.failed(trouble, retry=" ".join(["scripts/down", *arguments]))
        return 1
    return 0


def _down(place: Place, *, wipe: bool, screen: Screen) -> None:
    stopped = [name for name in reversed(demo.ALL) if processes.stop(place, name)]
    with screen.step("notebooks of this demo") as step:
        step.note = f"{remove_containers(place)} removed"
    stopped += services.stop(place.directory)
    if engine.stop(place.directory):
        stopped.append(engine.NAME)
    screen.say(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")
    if not wipe:
        screen.say("Homes and data are kept; scripts/up goes on with them.")
        return
    services.wipe(place.directory)
    engine.wipe(place.directory)
    for path in place.directory.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    screen.say(f"Removed homes, data and settings below {place.directory}.")


def remove_containers(place: Place) -> int:
    """Containers and networks with this stack's label, and the agent's mounts; how many.

    Nothing else runs that would look after them: the next agent finds them gone and says so.
    """
    removed = 0
    host = place.remembered("demo.json").get("docker_host")
    if host and engine.answers(host):
        docker = ["docker", "--host", host]
        label = f"label=greenroom.installation={demo.installation(place)}"
        log = place.log / "down.log"
        containers = (commands.read([*docker, "ps", "-aq", "--filter", label]) or "").split()
        if containers:
            commands.run([*docker, "rm", "-f", *containers], log=log, timeout_seconds=300)
            removed = len(containers)
        networks = (
            commands.read([*docker, "network", "ls", "-q", "--filter", label]) or ""
        ).split()
        if networks:
            name = '{{index .Options "com.docker.network.bridge.name"}}'
            told = commands.read([*docker, "network", "inspect", "--format", name, *networks])
            commands.run([*docker, "network", "rm", *networks], log=log, timeout_seconds=60)
            forget_rules(set((told or "").split()))
    mounts.unmount_below(place.directory)
    return removed


def forget_rules(bridges: set[str]) -> None:
    """Take back the rules that agents set for these bridges: they outlive agent and bridge.

    As the agent's own wipe does it, with nothing but the programs: a demo whose virtual
    environment is broken goes away too.
    """
    for name in {bridge.removeprefix("gr-") for bridge in bridges if bridge.startswith("gr-")}:
        commands.read(["nft", "delete", "table", "inet", f"greenroom_{name}"])
        for program in ("iptables", "ip6tables"):
            _forget_chains(program, f"GR-{name}-")


def _forget_chains(program: str, prefix: str) -> None:
    rules = (commands.read([program, "-S"]) or "").splitlines()
    for words in (rule.split() for rule in rules):
        if words[0] == "-A" and words[-1].startswith(prefix):
            commands.read([program, "-D", *words[1:]])
    chains = [rule.split()[1] for rule in rules if rule.startswith(f"-N {prefix}")]
    for how in ("-F", "-X"):
        for chain in chains:
            commands.read([program, how, chain])


def _become_root(arguments: Sequence[str]) -> None:
    """What root started, only root can stop."""
    if os.geteuid() != 0:
        again = [*packages.privileged(), str(CHECKOUT / "scripts" / "down"), *arguments]
        os.execvp(again[0], again)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
