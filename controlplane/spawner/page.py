"""What a browser shows to somebody in line, and what makes it go on by itself.

The hub puts this HTML into pages of its own: the error page, "server not running", the
options form, and the events of a start. All of them run inline scripts, so this does too;
without JavaScript a `meta refresh` does the same. Pure.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

# How often a held page looks whether the hub went away.
WATCH_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Paths of this hub. `look` shows how it stands and starts nothing; `start` starts."""

    api: str
    look: str
    start: str


def query(options: Any, *, prefix: str, after: str) -> str:
    """Options as the hub's spawn page reads them from a URL, and where to go afterwards.

    What a URL cannot hold is left out: then the hub takes what it kept of the last start.
    """
    fields: dict[str, list[str]] = {}
    for name, value in options.items() if isinstance(options, Mapping) else ():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in values):
            fields.clear()
            break
        fields[f"{prefix}{name}"] = values
    if after:
        fields["next"] = [after]
    return f"?{urlencode(fields, doseq=True)}" if fields else ""


def retry(words: str, *, url: str, seconds: int, addresses: Addresses) -> str:
    """These words, and a page that goes to `url` after so many seconds, once the hub answers."""
    link = html.escape(url, quote=True)
    return (
        f'{_ALONE}<span class="greenroom-line">{html.escape(words)}</span> '
        f'<a class="greenroom-retry" href="{link}">Look now</a>'
        f'<noscript><meta http-equiv="refresh" content="{seconds}; url={link}"></noscript>'
        f"<script>{_once('Retry')}{_HEADING}"
        f"function go(){{fetch({_js(addresses.api)},{{cache:'no-store'}}).then(function(r){{"
        f"if(!r.ok)throw 0;location.replace({_js(url)})}}).catch(function(){{"
        f"setTimeout(go,3000)}})}}setTimeout(go,{seconds * 1000})}})()</script>"
    )


def watched(words: str, addresses: Addresses) -> str:
    """These words, for a page that waits; when the hub went and came back, it starts again.

    The hub forgets starts under way when it ends, and its page would wait for ever.
    """
    return (
        f"{html.escape(words)}<script>{_once('Watch')}"
        f"function gone(){{window.greenroomWatch=2}}"
        f"setInterval(function(){{fetch({_js(addresses.api)},{{cache:'no-store'}}).then("
        f"function(r){{if(!r.ok)gone();else if(window.greenroomWatch===2)"
        f"location.replace({_js(addresses.start)})}}).catch(gone)}},"
        f"{WATCH_SECONDS * 1000})}})()</script>"
    )


# The hub's pages call every 429 a failure, and offer to start again by hand.
_ALONE = (
    "<style>div:has(>p>.greenroom-line)>:is(p,a):not(:has(.greenroom-line)){display:none}</style>"
)
_HEADING = (
    "var h=document.querySelector('.error h1,.text-center h1');"
    "if(h)h.textContent='You are in line';"
)


def _once(name: str) -> str:
    """The hub shows the HTML of an event twice: as the message and in the log."""
    return f"(function(){{if(window.greenroom{name})return;window.greenroom{name}=1;"


def _js(text: str) -> str:
    """A string in a script inside HTML."""
    return json.dumps(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
