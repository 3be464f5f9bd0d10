"""What notebooks reach and who reaches them, as rules of the node's kernel.

policy     what may pass, as a value                                pure
nft        the policy as a table of nftables                        pure
iptables   the policy as chains, where there is no nftables         pure
generation whether anybody changed anything, without a program
backend    reads and writes the kernel's rules with the programs of the system
guard      keeps the rules in place for as long as the agent lives
"""

from __future__ import annotations

from workers.agent.firewall.backend import Backend, remove
from workers.agent.firewall.guard import Firewall
from workers.agent.firewall.policy import Policy

__all__ = ["Backend", "Firewall", "Policy", "remove"]
