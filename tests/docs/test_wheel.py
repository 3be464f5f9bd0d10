"""What an installed package puts where."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_has_no_top_level_name_that_jupyter_uses() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = told["tool"]["hatch"]["build"]["targets"]["wheel"]

    tops = {
        Path(place).parts[0] for place in (*wheel["packages"], *wheel["force-include"].values())
    }
    assert tops == {"controlplane", "workers"}
