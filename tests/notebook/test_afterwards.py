"""What an extension does in the background begins when the server serves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from tornado.ioloop import IOLoop

Callback = Callable[..., Awaitable[None]]


class Validator:
    """Counts how often it has to look."""

    looked_at: ClassVar[list[Any]] = []

    def iter_errors(self, told: Any) -> list[str]:
        self.looked_at.append(told)
        return ["bad"] if told == {"bad": 1} else []


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A make-believe `jupyter_lsp.manager` that counts how often packages are read."""
    made: Any = ModuleType("jupyter_lsp.manager")
    made.EP_SPEC_V1, made.EP_LISTENER_ALL_V1 = "specs", "listeners"
    made.asked = []
    made.LANGUAGE_SERVER_SPEC_MAP = Validator()
    made.LanguageServerManager = object
    entry = SimpleNamespace(load=lambda: lambda manager: {"argv": ["pylsp"]})

    def entry_points(**asked: str) -> list[Any]:
        made.asked.append(asked)
        return [entry] if asked == {"group": "specs"} else []

    made.entry_points = entry_points
    monkeypatch.setitem(sys.modules, "jupyter_lsp.manager", made)
    return made


@pytest.fixture
def asked_of_loop(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What reaches the stock loop: (delay, callback, arguments...)."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(IOLoop, "call_later", lambda loop, *told: asked.append(told) or "handle")
    return asked


@pytest.fixture
def afterwards(
    inside: Callable[[str], ModuleType], manager: Any, asked_of_loop: list[tuple[Any, ...]]
) -> Any:
    return inside("afterwards").Afterwards()


def of_extension(done: list[Any], found: Callable[[], Any] = lambda: None) -> Callback:
    async def initialize(*told: Any, **named: Any) -> None:
        done.append((told, named, found()))

    initialize.__module__ = "jupyter_lsp.serverextension"
    return initialize


def later(delay: float, callback: Callback, *told: Any, **named: Any) -> Any:
    return IOLoop.call_later(SimpleNamespace(), delay, callback, *told, **named)  # type: ignore[arg-type]


def test_the_search_for_language_servers_begins_later_with_all_that_it_was_told(
    afterwards: Any, asked_of_loop: list[tuple[Any, ...]]
) -> None:
    done: list[Any] = []
    afterwards.offer()
    handle = later(0, of_extension(done), "app", uri="file:///home")
    afterwards.withdraw()
    [(delay, callback, *told)] = asked_of_loop
    asyncio.run(callback(*told))

    assert handle == "handle"
    assert delay == 1.0
    assert done == [(("app",), {"uri": "file:///home"}, None)]


def test_nothing_else_is_held_back(afterwards: Any, asked_of_loop: list[tuple[Any, ...]]) -> None:
    theirs = of_extension([])
    theirs.__module__ = "somebody.else"
    ours = of_extension([])
    afterwards.offer()
    later(0, theirs)
    later(3, ours)
    afterwards.withdraw()
    later(0, ours)

    assert asked_of_loop == [(0, theirs), (3, ours), (0, ours)]


def test_packages_are_read_while_warm_and_not_again(afterwards: Any, manager: Any) -> None:
    stock = manager.entry_points
    read_while_warm = len(manager.asked)
    done: list[Any] = []
    search = of_extension(done, lambda: manager.entry_points(group="specs"))
    asyncio.run(afterwards.do(search, (), {}))

    assert read_while_warm == 2
    assert len(manager.asked) == read_while_warm
    assert len(done[0][2]) == 1
    assert manager.entry_points is stock


def test_a_search_that_fails_leaves_nothing_behind(afterwards: Any, manager: Any) -> None:
    stock = manager.entry_points

    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(afterwards.do(of_extension([], fail), (), {}))

    assert manager.entry_points is stock
    assert vars(Validator)["iter_errors"].__qualname__ == "Validator.iter_errors"


def test_a_person_with_packages_of_their_own_is_asked_for_them(
    afterwards: Any, manager: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    before = len(manager.asked)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    search = of_extension([], lambda: manager.entry_points(group="specs"))
    asyncio.run(afterwards.do(search, (), {}))

    assert len(manager.asked) == before + 1


def test_only_what_was_valid_while_warm_is_taken_for_valid(afterwards: Any, manager: Any) -> None:
    validator = manager.LANGUAGE_SERVER_SPEC_MAP
    stock = Validator.iter_errors
    done: list[Any] = []

    def errors() -> list[Any]:
        return [validator.iter_errors({"argv": ["pylsp"]}), validator.iter_errors({"bad": 1})]

    Validator.looked_at.clear()
    asyncio.run(afterwards.do(of_extension(done, errors), (), {}))

    assert done[0][2] == [[], ["bad"]]
    assert Validator.looked_at == [{"bad": 1}]
    assert Validator.iter_errors is stock


def test_an_image_without_language_servers_has_nothing_prepared(
    inside: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jupyter_lsp.manager", None)

    assert inside("afterwards").Afterwards().prepared == []


@pytest.fixture
def first_report(
    inside: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Offered, and for it no second passes."""
    module = inside("afterwards")
    monkeypatch.setattr(module, "FIRST_REPORT_SECONDS", (0.0, 0.0))
    made = module.FirstReport()
    made.offer()
    yield made
    made.withdraw()


async def keep_activity_updated(said: list[str]) -> None:
    said.append("active")


async def test_the_first_report_of_activity_comes_later_and_by_itself(
    first_report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    sleep = asyncio.sleep

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        assert said == []
        await sleep(0)

    said: list[str] = []
    monkeypatch.setattr(asyncio, "sleep", wait)
    await asyncio.ensure_future(keep_activity_updated(said))

    assert waited == [0.0]
    assert said == ["active"]


async def test_every_other_task_begins_at_once(
    first_report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def other() -> str:
        return "done"

    monkeypatch.delattr(asyncio, "sleep")

    assert await asyncio.ensure_future(other()) == "done"


async def test_a_server_that_stops_before_its_first_report_makes_none(
    inside: Callable[[str], ModuleType],
) -> None:
    made = inside("afterwards").FirstReport()
    said: list[str] = []
    reporting = keep_activity_updated(said)
    made.offer()
    task = asyncio.ensure_future(reporting)
    made.withdraw()
    await asyncio.wait([task], timeout=0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert said == []
    assert reporting.cr_frame is None


def test_the_loop_has_its_own_way_back_once_the_server_serves(first_report: Any) -> None:
    first_report.withdraw()

    assert asyncio.ensure_future is first_report.stock
