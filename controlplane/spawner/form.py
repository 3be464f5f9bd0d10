"""The options form: one card for each pool, in plain HTML inside the hub's own form. Pure.

Works without JavaScript and with a keyboard: a fieldset of radio buttons. Colours are
Bootstrap's, so it is light and dark as the hub is. Every text of somebody else's is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from controlplane.messages import KnownPool, PoolOutlook
from controlplane.spawner.options import KEY

_STYLE = """<style>
.greenroom-pools legend { font-size: 1.1rem; margin-bottom: .5rem; }
.greenroom-pool { position: relative; display: flex; gap: .75rem; padding: .75rem 1rem;
  margin-bottom: .5rem; border: 1px solid var(--bs-border-color, #ccc);
  border-radius: var(--bs-border-radius, .375rem); overflow-wrap: anywhere; }
.greenroom-pool input { flex: none; margin-top: .3rem; }
.greenroom-pool input:enabled:not(:checked) { border-color: var(--bs-secondary-color, #666); }
.greenroom-pool > div { flex: 1; min-width: 0; }
.greenroom-pool label { font-weight: 600; margin: 0; }
.greenroom-pool label::after { content: ""; position: absolute; inset: 0; cursor: pointer; }
.greenroom-pool p { margin: .15rem 0 0; font-size: .9rem; }
.greenroom-pool .head { display: flex; flex-wrap: wrap; gap: .25rem .75rem;
  align-items: baseline; justify-content: space-between; }
.greenroom-pool .facts { color: var(--bs-secondary-color, #666); }
.greenroom-pool:has(input:checked) { border-color: var(--bs-primary, #0d6efd);
  box-shadow: inset 0 0 0 1px var(--bs-primary, #0d6efd); }
.greenroom-pool:focus-within { outline: 3px solid var(--bs-focus-ring-color, #86b7fe); }
.greenroom-pool.off { background: var(--bs-tertiary-bg, #eee); }
.greenroom-pool.off label::after { cursor: not-allowed; }
</style>"""
_BADGES = {
    "ready": "text-bg-success",
    "warming": "text-bg-warning",
    "at_capacity": "text-bg-secondary",
    "nothing_coming": "text-bg-danger",
}


@dataclass(frozen=True, kw_only=True)
class Card:
    """One pool that a person may use; `off` says why not now, empty when they may."""

    pool: KnownPool
    off: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.pool.display_name.strip() or self.pool.pool


def form(cards: Sequence[Card], wanted: Sequence[str] = ()) -> str:
    """HTML; empty when there is no choice to make. `wanted`: pools to preselect, best first."""
    if len(cards) < 2:
        return ""
    open_ = [card.pool.pool for card in cards if not card.off]
    only = open_ if len(open_) == 1 else []
    selected = next((pool for pool in (*wanted, *only) if pool in open_), "")
    rows = "".join(
        _card(card, number, checked=card.pool.pool == selected)
        for number, card in enumerate(cards, start=1)
    )
    none = (
        ""
        if open_
        else '<p class="alert alert-warning" role="status">None of these can be started now.</p>'
    )
    return (
        f'{_STYLE}<fieldset class="greenroom-pools"><legend>Choose a notebook</legend>'
        f"{none}{rows}</fieldset>"
    )


def _card(card: Card, number: int, *, checked: bool) -> str:
    id = f"greenroom-{KEY}-{number}"
    state = f"{' checked' if checked else ''}{' disabled' if card.off else ' required'}"
    lines = "".join(
        f'<p class="{css}">{escape(text)}</p>'
        for css, text in (
            ("", card.pool.description),
            ("facts", _facts(card.pool)),
            ("why" if card.off else "wait", card.off or _wait(card.pool.outlook)),
        )
        if text
    )
    return (
        f'<div class="greenroom-pool{" off" if card.off else ""}">'
        f'<input type="radio" class="form-check-input" id="{id}" name="{KEY}" '
        f'value="{escape(card.pool.pool)}" aria-describedby="{id}-badge {id}-about"{state}>'
        f'<div><div class="head"><label for="{id}">{escape(card.name)}</label>'
        f'<span id="{id}-badge">{_badge(card)}</span></div>'
        f'<div id="{id}-about">{lines}</div></div></div>'
    )


def _badge(card: Card) -> str:
    outlook = card.pool.outlook
    if card.off:
        css, text = "text-bg-secondary", "paused" if card.pool.paused else "limit reached"
    elif outlook is None:
        css, text = "border text-body-secondary", "not known now"
    else:
        css, text = _BADGES[outlook.why], _short(outlook)
    return f'<span class="badge {css}">{escape(text)}</span>'


def _short(outlook: PoolOutlook) -> str:
    if outlook.why == "ready":
        return f"{outlook.warm} ready"
    if outlook.why == "warming":
        return "ready in a moment" if outlook.wait_seconds is None else _about(outlook.wait_seconds)
    return "all in use" if outlook.why == "at_capacity" else "none is coming"


def _wait(outlook: PoolOutlook | None) -> str:
    if outlook is None:
        return "How long it takes is not known right now."
    waiting = f"{_people(outlook.waiting)} in line" if outlook.waiting else "nobody in line"
    if outlook.why == "ready":
        return "Starts at once."
    if outlook.why == "warming":
        wait = "" if outlook.wait_seconds is None else f", {_about(outlook.wait_seconds)} to wait"
        return f"{outlook.warming} getting ready, {waiting}{wait}."
    detail = f" ({outlook.detail})" if outlook.detail else ""
    if outlook.why == "at_capacity":
        return f"One is free when somebody stops theirs{detail}; {waiting}."
    return f"No notebook is coming{detail}: tell your administrators."


def _facts(pool: KnownPool) -> str:
    parts = []
    if pool.cpus:
        parts.append(f"{pool.cpus:g} CPU{'' if pool.cpus == 1 else 's'}")
    if pool.memory_mib:
        gib = pool.memory_mib / 1024
        parts.append(f"{gib:g} GiB memory" if gib >= 1 else f"{pool.memory_mib} MiB memory")
    return ", ".join(parts)


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
