"""Starts warm_start.py of a folder as it is started, with a clock around its activation's parts.

`areas_of.py FOLDER RESULT`: the areas are written to RESULT as JSON when the server serves.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
areas: Any = importlib.import_module("areas")

FOLDER, RESULT = sys.argv[1:]


def main() -> None:
    sys.path[0] = FOLDER
    activation: Any = importlib.import_module("activation")
    warm_start: Any = importlib.import_module("warm_start")
    clock = areas.Clock()
    stock_run, stock_end = activation.run_stock, activation.Report.serving

    def run(script: str, arguments: list[str]) -> Any:
        clock.enter("import jupyterhub.singleuser")
        importlib.import_module("jupyterhub.singleuser")
        clock.leave()
        return stock_run(script, arguments)

    def become(*asked: Any, **named: Any) -> Any:
        areas.install(clock)
        clock.enter("everything else")
        return stock_become(*asked, **named)

    def serving(report: Any) -> None:
        with open(RESULT, "w", encoding="utf-8") as file:
            json.dump(clock.end(), file)
        stock_end(report)

    stock_become = activation.become
    activation.run_stock, activation.become = run, become
    activation.Report.serving = serving
    sys.exit(warm_start.main())


main()
