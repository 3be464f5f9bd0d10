"""Answers that need no identity: worked out while warm, given during the start, then forgotten.

The stock start asks the same questions of the image's own classes every time: which of their
traits may be configured, what an empty command line says, whether Jupyter's own event schemas are
valid. Each stand-in answers exactly the questions whose answer is known and passes on every
other; all are gone when the server serves. Standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform


class StandIn:
    """A stock callable that knows some answers while it is offered, and none before or after.

    `answer(*asked)` returns what the stock callable would, or None for what it does not know.
    """

    def __init__(self, owner: object, name: str, answer) -> None:
        self.owner, self.name, self.answer = owner, name, answer
        self.stock = vars(owner)[name]
        self.offered = False
        self.made = self.make()

    def make(self):
        ask_stock = self.stock

        def stand_in(*asked, **named):
            # Who took this one for the stock callable may keep it longer than it is offered.
            known = self.answer(*asked, **named) if self.offered else None
            return ask_stock(*asked, **named) if known is None else known

        return stand_in

    def offer(self) -> None:
        self.offered = True
        setattr(self.owner, self.name, self.made)

    def withdraw(self) -> None:
        self.offered = False
        # What somebody put in its place meanwhile is theirs.
        if vars(self.owner).get(self.name) is self.made:
            setattr(self.owner, self.name, self.stock)


class ClassStandIn(StandIn):
    """The same for a class method, whose first argument is the class that was asked."""

    def make(self):
        ask_stock = self.stock.__func__

        def stand_in(cls, **named):
            known = self.answer(cls, **named) if self.offered else None
            return ask_stock(cls, **named) if known is None else known

        return classmethod(stand_in)


def work_out() -> list[StandIn]:
    """Everything that can be known now. An image with other libraries has fewer answers."""
    found: list[StandIn] = []
    for make in (about_traits, about_command_lines, about_event_schemas):
        # What is not there, or is there in another way, answers for itself as always.
        with contextlib.suppress(Exception):
            found += make()
    for fill in (fill_jinja, fill_platform):
        with contextlib.suppress(Exception):
            fill()
    return found


def about_traits() -> list[StandIn]:
    """Which traits of a class may be configured: asked some two hundred times per start."""
    from traitlets.config import Configurable
    from traitlets.traitlets import HasTraits

    configurable = {"config": True}
    # With the table that it was read from: a class whose traits changed since is asked itself.
    all_of = {
        each: (each._traits, each.class_traits(config=True)) for each in classes_below(Configurable)
    }
    own_of = {each: (each._traits, each.class_own_traits(config=True)) for each in all_of}

    def of_instance(asked, **named):
        return known(all_of, type(asked), asked._traits) if named == configurable else None

    def of_class(asked, **named):
        return known(all_of, asked, asked._traits) if named == configurable else None

    def own_of_class(asked, **named):
        return known(own_of, asked, asked._traits) if named == configurable else None

    def known(answers, asked, traits):
        table, answer = answers.get(asked, (None, None))
        return answer.copy() if table is traits and answer is not None else None

    return [
        StandIn(HasTraits, "traits", of_instance),
        ClassStandIn(HasTraits, "class_traits", of_class),
        ClassStandIn(HasTraits, "class_own_traits", own_of_class),
    ]


def classes_below(top: type) -> set[type]:
    found, to_look_at = {top}, [top]
    while to_look_at:
        new = set(to_look_at.pop().__subclasses__()) - found
        found |= new
        to_look_at += new
    return found


def about_command_lines() -> list[StandIn]:
    """An empty command line configures nothing; the parser made to find that out is large."""
    from traitlets.config.loader import ArgParseConfigLoader, KVArgParseConfigLoader

    def load_config(loader, argv=None, *others, **named):
        empty = not (loader.argv if argv is None else argv)
        stock = type(loader) is KVArgParseConfigLoader and not others and not named
        if not (empty and stock) or "_ARGCOMPLETE" in os.environ:
            return None
        loader.clear()
        loader.extra_args = []
        return loader.config

    return [StandIn(ArgParseConfigLoader, "load_config", load_config)]


def about_event_schemas() -> list[StandIn]:
    """Jupyter's own event schemas are files of the image: what was valid once is valid."""
    from jupyter_events import schema
    from jupyter_server import DEFAULT_EVENTS_SCHEMA_PATH

    valid = set()
    stock = schema.validate_schema

    def remember(told):
        stock(told)
        valid.add(as_text(told))

    schema.validate_schema = remember
    try:
        for path in DEFAULT_EVENTS_SCHEMA_PATH.rglob("*.yaml"):
            schema.EventSchema(schema=path)
    finally:
        schema.validate_schema = stock

    # The stock one says nothing about a valid schema; anything but None says that it was known.
    return [StandIn(schema, "validate_schema", lambda told: as_text(told) in valid or None)]


def as_text(told: object) -> str:
    return json.dumps(told, sort_keys=True, default=repr)


def fill_jinja() -> None:
    """Its lexer's expressions are compiled once per process: now, not for the first page."""
    import jinja2

    jinja2.Environment(extensions=["jinja2.ext.i18n"], autoescape=True).from_string("{{ x }}")


def fill_platform() -> None:
    """Python asks another program once per process what processor this is."""
    platform.processor()
