"""How a start that a limit ends is told to the hub and to a person."""

from __future__ import annotations

import jupyterhub

from controlplane.messages import LeaseEnded
from controlplane.spawner.claim import Claim
from controlplane.spawner.outcome import ended

LEASE = "0190f3a0-0000-7000-8000-00000000000a"


def test_a_limit_is_a_refusal_with_its_reason_and_asks_nobody_to_come_back() -> None:
    answer = LeaseEnded(lease=LEASE, reason="quota", detail="you have 1 notebook already")

    error = ended(Claim(LEASE, pool="lab", since=0), answer)

    assert error.status_code == 403
    assert error.jupyterhub_message == (
        f"A limit is reached; you have 1 notebook already. (lease {LEASE})"
    )
    assert not getattr(error, "headers", None)
    if jupyterhub.version_info >= (6,):
        assert error.reason == "quota"
