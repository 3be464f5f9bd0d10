"""`scripts/down` takes back what an agent of the demo set, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from scripts.stack import commands, down

PRESENT = """\
-P INPUT ACCEPT
-N DOCKER
-N GR-0123456789-HOST
-N GR-ffffffffff-HOST
-A INPUT -i gr-0123456789 -j GR-0123456789-HOST
-A INPUT -i gr-ffffffffff -j GR-ffffffffff-HOST
-A INPUT -p tcp -m comment --comment "greenroom is nice" -j ACCEPT
-A GR-0123456789-HOST -j RETURN
"""


def test_only_rules_of_these_bridges_go(monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[Sequence[str]] = []

    def read(words: Sequence[str]) -> str:
        run.append(words)
        return PRESENT if words == ["iptables", "-S"] else ""

    monkeypatch.setattr(commands, "read", read)
    down.forget_rules({"gr-0123456789", "br-aaaaaaaaaaaa", ""})

    changes = [" ".join(words) for words in run if words[1:] != ["-S"]]
    assert changes == [
        "nft delete table inet greenroom_0123456789",
        "iptables -D INPUT -i gr-0123456789 -j GR-0123456789-HOST",
        "iptables -F GR-0123456789-HOST",
        "iptables -X GR-0123456789-HOST",
    ]
