"""Crashes in the middle: processes that are killed between any two steps, and started again.

nursery   forks real worker processes quickly, in one mount namespace
processes the same from outside
engine    a Docker engine over HTTP whose containers outlive their agent, and are simulated
hubs      a hub process with one GreenroomSpawner, as far as a spawner sees of it
stage     one installation: services, processes, a person's hub, and what tests do to them
lanes     the lease worker in this process, to be tampered with
verdict   what must hold whatever was killed
stories   what happens to a person while one process dies, for each failpoint
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.crashes.stage", "tests.crashes.stories", "tests.crashes.verdict"
)
