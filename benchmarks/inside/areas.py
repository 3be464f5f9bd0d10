"""Runs in a notebook's process, after its preload: which part of the stock start takes how long.

Each area is a stock function; its time is its own, without the areas that it calls. Only the main
thread is told apart, as all others together are the rest of the process' time.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

# (module, class, functions): what the stock start calls, from the outside in.
AREAS = (
    (
        "jupyter_server.serverapp",
        "ServerApp",
        "initialize parse_command_line load_config_file init_ioloop find_server_extensions "
        "init_logging init_event_logger init_server_extensions init_configurables init_webapp "
        "load_server_extensions init_metrics init_httpserver write_server_info_file "
        "write_browser_open_files start_app start_ioloop",
    ),
    ("jupyter_server.extension.manager", "ExtensionPoint", "link load"),
    ("jupyter_server.extension.application", "ExtensionApp", "_link_jupyter_server_extension"),
    ("jupyter_core.application", "JupyterApp", "load_config_file"),
    ("jupyter_server.services.config.manager", "ConfigManager", "get"),
    ("jupyter_events.schema", "EventSchema", "__init__"),
    ("jupyterlab.labapp", "LabApp", "initialize_handlers initialize_settings"),
    ("traitlets.config.loader", "ArgParseConfigLoader", "_create_parser"),
    ("tornado.web", "Application", "__init__ add_handlers"),
    ("jinja2", "Environment", "get_template"),
    ("logging", "StreamHandler", "emit"),
    ("selectors", "EpollSelector", "select"),
    ("ssl", "", "create_default_context"),
)
# Python's own, by the name that it has since 3.11; before that this area is part of the others.
REGULAR_EXPRESSIONS = ("re._compiler", "", "compile")


class Clock:
    """A stack of areas; CPU and wall milliseconds, and calls, of each by itself."""

    def __init__(self) -> None:
        self.open: list[list[Any]] = []
        self.areas: dict[str, list[float]] = {}
        self.thread = threading.get_ident()

    def enter(self, name: str) -> None:
        self.open.append([name, time.thread_time(), time.perf_counter(), 0.0, 0.0])

    def leave(self) -> None:
        name, cpu_begun, wall_begun, cpu_inside, wall_inside = self.open.pop()
        cpu, wall = time.thread_time() - cpu_begun, time.perf_counter() - wall_begun
        area = self.areas.setdefault(name, [0.0, 0.0, 0])
        area[0] += (cpu - cpu_inside) * 1000
        area[1] += (wall - wall_inside) * 1000
        area[2] += 1
        if self.open:
            self.open[-1][3] += cpu
            self.open[-1][4] += wall

    def end(self) -> dict[str, list[float]]:
        while self.open:
            self.leave()
        return self.areas

    def timed(self, stock: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(stock)
        def timed(*asked: Any, **named: Any) -> Any:
            if threading.get_ident() != self.thread or not self.open:
                return stock(*asked, **named)
            self.enter(name)
            try:
                return stock(*asked, **named)
            finally:
                self.leave()

        return timed


def install(clock: Clock) -> None:
    """Put the clock around every area that this image has."""
    for module, owner, names in (*AREAS, REGULAR_EXPRESSIONS):
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        found = getattr(found, owner) if owner else found
        for name in names.split():
            if name in vars(found) and callable(vars(found)[name]):
                label = f"{owner or module.partition('.')[0]}.{name}"
                setattr(found, name, clock.timed(vars(found)[name], label))
