"""The rules around this node's notebooks: whether they can be set, and whether they are."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from pydantic import ValidationError

from controlplane.clients.docker import Docker
from controlplane.doctor.finding import Finding, fail, ok, warn
from controlplane.errors import GreenroomError
from controlplane.messages import NodeSurroundings
from controlplane.settings import Settings
from workers.agent.firewall.backend import find
from workers.agent.firewall.guard import ANYBODY, MISSING
from workers.agent.node import bridge_name, network_name

CHECK = "firewall"
START = "journalctl -u greenroom-agent; systemctl restart greenroom-agent"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What was found. `backend` "": `why` there is none; `agent`: its network stands."""

    root: bool
    backend: str = ""
    why: str = ""
    held: bool = False
    agent: bool = False
    rootless: bool = False
    hubs: int = 0


def judge(settings: Settings, rules: Rules) -> Finding:
    """One line; without rules it names the promises that are missing."""
    node = settings.node
    if node.firewall == "off":
        fix = 'node.firewall = "try"; systemctl restart greenroom-agent'
        return warn(CHECK, f'node.firewall = "off": {MISSING}', fix=fix)
    if not rules.root:
        return warn(CHECK, "only root sees the rules", fix="sudo greenroom doctor --node")
    if not rules.backend:
        seen = f"no rules can be set ({rules.why}): {MISSING}"
        level = fail if node.firewall == "require" else warn
        return level(CHECK, seen, fix="apt-get install nftables; systemctl restart greenroom-agent")
    if rules.agent and not rules.held:
        return fail(CHECK, f"the agent's network has no rules: {MISSING}", fix=START)
    if rules.rootless:
        return warn(CHECK, ANYBODY, fix="let the machine's own firewall pass hub and proxy only")
    if not rules.agent:
        return ok(CHECK, f"the agent will set its rules with {rules.backend}")
    more = f" and {node.egress}" if node.egress not in ("none", "") else " alone"
    who = f"{rules.hubs} hubs" if rules.hubs != 1 else "one hub"
    others = f", {node.clients}" if node.clients else ""
    return ok(
        CHECK,
        f"{rules.backend}: notebooks reach {who}, DNS{more}; they are reached by "
        f"{who}{others} and this machine",
    )


async def look(engine: Docker, settings: Settings) -> list[Finding]:
    """Look at the kernel's rules and at what the agent was told."""
    facts = await engine.facts()
    network = network_name(settings)
    backend, held, why = "", False, "neither nft nor iptables is installed"
    root = os.geteuid() == 0
    if root and settings.node.firewall != "off":
        try:
            found = await find()
            if found is not None:
                backend = found.name
                held = bool(await found.held(bridge_name(network).removeprefix("gr-")))
        except GreenroomError as error:
            why = str(error)
    told = await asyncio.to_thread(surroundings, settings)
    rules = Rules(
        root=root,
        backend=backend,
        why=why,
        held=held,
        agent=await engine.gateway(network) is not None,
        rootless=facts.rootless,
        hubs=len(told.hubs),
    )
    return [judge(settings, rules)]


def surroundings(settings: Settings) -> NodeSurroundings:
    """What the agent was told of, as it wrote it down; nothing where it did not."""
    try:
        raw = (settings.node_state_dir / "surroundings.json").read_bytes()
        return NodeSurroundings.model_validate_json(raw)
    except (OSError, ValidationError):
        return NodeSurroundings(stamp=0)
