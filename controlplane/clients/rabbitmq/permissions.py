"""What each login of the broker has to be allowed, and no more. Pure.

Agents and workers share one login: an agent's canary needs the default exchange, which leads
to every queue. A hub needs two exchanges and its own queues, so its login cannot order a
notebook created or activated, answer another hub, or read what anybody else is told.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rights:
    """RabbitMQ's three regular expressions over names of exchanges and queues."""

    configure: str
    write: str
    read: str

    def command(self, login: str, vhost: str) -> str:
        """The line for a shell on the broker's machine."""
        words = ["rabbitmqctl", "set_permissions", "-p", vhost, login]
        return shlex.join([*words, self.configure, self.write, self.read])


def inner(installation: str) -> Rights:
    """For workers, agents and the command line."""
    own = f"^({_name(installation)}[.].*|amq[.]default)$"
    return Rights(configure=own, write=own, read=own)


def hub(installation: str) -> Rights:
    """For hubs: to ask, to hear the answers, and to put aside one that makes no sense."""
    name = _name(installation)
    queues = f"^{name}[.]hub[.].*$"
    return Rights(configure=queues, write=f"^{name}[.](requests|quarantine)$", read=queues)


def _name(installation: str) -> str:
    return re.escape(installation)
