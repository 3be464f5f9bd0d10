"""What a warm notebook knows beforehand is what the stock code would have answered."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from jupyter_events import schema as event_schemas
from traitlets import Int, List, Unicode
from traitlets.config import Application, Configurable
from traitlets.config.loader import ArgParseConfigLoader, KVArgParseConfigLoader
from traitlets.traitlets import HasTraits

SCHEMA = """
$id: https://example.org/one
version: "1"
title: One
personal-data: true
type: object
properties: {action: {type: string, description: What}}
"""


class Fruit(Configurable):
    color = Unicode("green", config=True)
    private = Int(1)


class Pear(Fruit):
    seeds = List(config=True)


class Basket(Application):
    size = Int(3, config=True)
    classes: ClassVar[list[Any]] = [Fruit, Pear]
    aliases: ClassVar[dict[str, str]] = {"size": "Basket.size", "color": "Fruit.color"}
    flags: ClassVar[dict[str, Any]] = {"large": ({"Basket": {"size": 9}}, "much")}


class Shop:
    def open_until(self, day: str) -> str:
        return f"asked about {day}"


@pytest.fixture
def answers(inside: Callable[[str], ModuleType]) -> ModuleType:
    return inside("answers")


@pytest.fixture
def offered() -> Iterator[Callable[..., None]]:
    stand_ins: list[Any] = []

    def offer(made: list[Any]) -> None:
        stand_ins.extend(made)
        for each in made:
            each.offer()

    yield offer
    for each in stand_ins:
        each.withdraw()


def closed_on_sunday(shop: Shop, day: str) -> str | None:
    return "closed" if day == "sunday" else None


def test_what_is_known_is_answered_and_everything_else_is_asked(answers: Any) -> None:
    stand_in = answers.StandIn(Shop, "open_until", closed_on_sunday)
    stand_in.offer()
    during = [Shop().open_until("sunday"), Shop().open_until("monday")]
    stand_in.withdraw()

    assert during == ["closed", "asked about monday"]
    assert Shop().open_until("sunday") == "asked about sunday"


def test_a_withdrawn_stand_in_leaves_the_stock_callable_itself(answers: Any) -> None:
    stock = vars(Shop)["open_until"]
    stand_in = answers.StandIn(Shop, "open_until", closed_on_sunday)
    stand_in.offer()
    during = vars(Shop)["open_until"]
    stand_in.withdraw()

    assert during is not stock
    assert vars(Shop)["open_until"] is stock


def test_who_keeps_a_stand_in_longer_than_it_is_offered_gets_stock_answers(answers: Any) -> None:
    stand_in = answers.StandIn(Shop, "open_until", closed_on_sunday)
    stand_in.offer()
    kept = Shop().open_until
    stand_in.withdraw()

    assert kept("sunday") == "asked about sunday"


def test_what_somebody_put_in_its_place_stays(
    answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = answers.StandIn(Shop, "open_until", closed_on_sunday)
    stand_in.offer()
    monkeypatch.setattr(Shop, "open_until", lambda *_: "theirs")
    stand_in.withdraw()

    assert Shop().open_until("sunday") == "theirs"


def test_traits_of_a_class_and_an_object_are_those_that_they_would_say(
    answers: Any, offered: Callable[..., None]
) -> None:
    def told(asked: type[HasTraits]) -> list[dict[str, Any]]:
        return [
            asked.class_traits(config=True),
            asked.class_own_traits(config=True),
            asked().traits(config=True),
            asked.class_traits(),
            asked().traits(config=None),
        ]

    stock = [told(each) for each in (Fruit, Pear, Basket)]
    offered(answers.about_traits())

    assert [told(each) for each in (Fruit, Pear, Basket)] == stock
    assert [sorted(each) for each in stock[1][:2]] == [["color", "seeds"], ["seeds"]]


def test_an_answer_belongs_to_who_asked(answers: Any, offered: Callable[..., None]) -> None:
    offered(answers.about_traits())
    Fruit.class_traits(config=True).clear()
    Fruit.class_own_traits(config=True).clear()
    Fruit().traits(config=True).clear()

    assert list(Fruit.class_traits(config=True)) == ["color"]
    assert list(Fruit.class_own_traits(config=True)) == ["color"]
    assert list(Fruit().traits(config=True)) == ["color"]


def test_a_class_or_object_that_came_or_changed_since_is_asked_itself(
    answers: Any, offered: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(answers.about_traits())

    class Plum(Fruit):
        stone = Int(1, config=True)

    fruit = Fruit()
    fruit.add_traits(taste=Unicode("sweet", config=True))

    pear = Pear()
    monkeypatch.setattr(Pear, "_traits", {"stalk": Unicode().tag(config=True)})

    assert list(Pear.class_traits(config=True)) == ["stalk"]
    assert list(pear.traits(config=True)) == ["stalk"]
    assert "stone" in Plum.class_traits(config=True)
    assert "stone" in Plum().traits(config=True)
    assert "taste" in fruit.traits(config=True)


@pytest.mark.parametrize("arguments", [[], ["--size=5"], ["--large"], ["--Fruit.color=red", "x"]])
def test_a_command_line_says_the_same(
    answers: Any, offered: Callable[..., None], arguments: list[str]
) -> None:
    def told() -> list[Any]:
        basket = Basket()
        basket.parse_command_line(arguments)
        return [basket.cli_config, basket.extra_args, basket.size, basket.config]

    stock = told()
    offered(answers.about_command_lines())

    assert told() == stock


def test_only_an_empty_command_line_for_the_stock_loader_is_known(
    answers: Any, offered: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Theirs(KVArgParseConfigLoader):
        pass

    made: list[str] = []
    stock = ArgParseConfigLoader._create_parser
    monkeypatch.setattr(
        ArgParseConfigLoader,
        "_create_parser",
        lambda loader: made.append(type(loader).__name__) or stock(loader),  # type: ignore[func-returns-value]
    )
    offered(answers.about_command_lines())
    KVArgParseConfigLoader(argv=[]).load_config()
    Theirs(argv=[]).load_config()
    KVArgParseConfigLoader(argv=["--A.b=1"]).load_config()

    assert made == ["Theirs", "KVArgParseConfigLoader"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this image's jupyter_server keeps its schemas."""
    server = ModuleType("jupyter_server")
    monkeypatch.setattr(server, "DEFAULT_EVENTS_SCHEMA_PATH", tmp_path, raising=False)
    monkeypatch.setitem(sys.modules, "jupyter_server", server)
    (tmp_path / "one.yaml").write_text(SCHEMA)
    return tmp_path


def test_a_schema_that_was_valid_is_not_looked_at_again_and_any_other_is(
    answers: Any, offered: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[Any] = []
    stock = event_schemas.validate_schema

    def validate(told: Any) -> None:
        looked_at.append(told["title"])
        stock(told)

    monkeypatch.setattr(event_schemas, "validate_schema", validate)
    offered(answers.about_event_schemas())
    looked_at.clear()
    known = event_schemas.EventSchema(schema=folder / "one.yaml")
    event_schemas.EventSchema(schema=SCHEMA.replace("title: One", "title: Other"))

    assert known.id == "https://example.org/one"
    assert looked_at == ["Other"]


def test_a_schema_that_became_bad_is_refused_as_always(
    answers: Any, offered: Callable[..., None], folder: Path
) -> None:
    offered(answers.about_event_schemas())
    bad = SCHEMA.replace("properties: {action", "properties: {__action")

    with pytest.raises(Exception, match=r"__action. is an invalid property name"):
        event_schemas.EventSchema(schema=bad)


def test_an_image_without_these_libraries_has_no_answers(
    answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("traitlets.config", "traitlets.config.loader", "jupyter_events", "jinja2"):
        monkeypatch.setitem(sys.modules, name, None)

    assert answers.work_out() == []


def test_what_processor_this_is_is_asked_once(
    answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(platform, "_uname_cache", None)
    monkeypatch.setattr(subprocess, "check_output", lambda *told, **_: asked.append(told) or "any")
    answers.fill_platform()
    while_warm = len(asked)
    tuple(platform.uname())

    assert [while_warm, len(asked)] == [1, 1]
