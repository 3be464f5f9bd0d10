"""The options form: what it offers, what it says, and that nobody writes HTML into it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from controlplane.errors import Unavailable
from controlplane.messages import (
    HubPools,
    KnownPool,
    LeaseRequest,
    Message,
    PoolOutlook,
    PoolsQuestion,
)
from controlplane.spawner import offers
from controlplane.spawner.claim import Claim
from controlplane.spawner.door import Door
from controlplane.spawner.form import Card, form
from tests.spawner import stage

HOSTILE = """"><script>alert(1)</script><b>'&amp; \u202e {{7*7}} %s"""


class Page(HTMLParser):
    """The elements of a form, each with its attributes, and the text of each card."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.radios: dict[str, dict[str, str | None]] = {}
        self.ids: list[str | None] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        if "id" in named:
            self.ids.append(named["id"])
        if named.get("type") == "radio":
            self.radios[str(named["value"])] = named

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def checked(self) -> list[str]:
        return [value for value, attrs in self.radios.items() if "checked" in attrs]

    @property
    def off(self) -> list[str]:
        return [value for value, attrs in self.radios.items() if "disabled" in attrs]


def outlook(why: Any = "ready", **numbers: Any) -> PoolOutlook:
    return PoolOutlook(why=why, **{"warm": 0} | numbers)


def cards(*pools: KnownPool) -> list[Card]:
    return [Card(pool=pool) for pool in pools]


def test_every_pool_is_a_radio_with_a_label_in_a_fieldset_with_a_legend() -> None:
    page = Page(form(cards(stage.pool("a"), stage.pool("b")), ["b"]))

    assert page.tags.count("fieldset") == page.tags.count("legend") == 1
    assert page.tags.count("label") == len(page.radios) == 2
    assert {attrs["name"] for attrs in page.radios.values()} == {"profile"}
    assert page.checked == ["b"]


def test_what_describes_a_radio_is_there() -> None:
    page = Page(form(cards(stage.pool("a"), stage.pool("b"))))

    for attrs in page.radios.values():
        assert set(str(attrs["aria-describedby"]).split()) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_hostile_words_stay_words() -> None:
    plain = Page(form(cards(stage.pool("a", description="x", display_name="y"), stage.pool("b"))))
    html = form(
        [
            Card(
                pool=stage.pool(
                    "a",
                    display_name=HOSTILE,
                    description=HOSTILE,
                    outlook=outlook("at_capacity", detail=HOSTILE),
                )
            ),
            Card(pool=stage.pool("b"), off=HOSTILE),
        ]
    )

    page = Page(html)

    assert page.tags == plain.tags
    assert page.text.count(HOSTILE) == 4


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (outlook(warm=6, wait_seconds=0), ["6 ready", "Starts at once."]),
        (
            outlook("warming", warming=3, waiting=2, wait_seconds=41.6),
            ["about 42 s", "3 getting ready, 2 people in line, about 42 s to wait."],
        ),
        (outlook("warming", wait_seconds=200), ["about 3 min", "0 getting ready, nobody in line"]),
        (outlook("warming", warming=1), ["ready in a moment", "1 getting ready, nobody in line."]),
        (
            outlook("at_capacity", waiting=1, detail="all 4 notebooks are in use"),
            ["all in use", "(all 4 notebooks are in use); 1 person in line."],
        ),
        (outlook("nothing_coming"), ["none is coming", "tell your administrators."]),
        (None, ["not known now", "How long it takes is not known right now."]),
    ],
)
def test_a_card_says_what_to_expect(seen: PoolOutlook | None, said: list[str]) -> None:
    page = Page(form(cards(stage.pool("a", outlook=seen), stage.pool("b", outlook=seen))))

    assert all(words in page.text for words in said)


def test_a_display_name_of_blanks_is_none() -> None:
    page = Page(form(cards(stage.pool("a", display_name="  "), stage.pool("b"))))

    assert {"a", "b"} <= set(page.texts)


def test_a_card_says_what_the_pool_is() -> None:
    small = stage.pool("small", display_name="Small one", description="for all", memory_mib=1536)

    page = Page(form(cards(small, stage.pool("tiny", cpus=1.0, memory_mib=512))))

    for words in ("Small one", "for all", "2 CPUs, 1.5 GiB memory", "1 CPU, 512 MiB memory"):
        assert words in page.text


def test_what_cannot_be_started_now_is_off_with_its_reason_and_never_preselected() -> None:
    page = Page(
        form(
            [Card(pool=stage.pool("a"), off="You have 1."), Card(pool=stage.pool("b"))], ["a", "b"]
        )
    )

    assert page.off == ["a"]
    assert page.checked == ["b"]
    assert "You have 1." in page.text
    assert "required" not in page.radios["a"]


def test_the_only_one_that_can_be_started_is_preselected() -> None:
    page = Page(form([Card(pool=stage.pool("a"), off="no"), Card(pool=stage.pool("b"))], ["a"]))

    assert page.checked == ["b"]


def test_without_a_wish_nothing_is_preselected_and_one_must_be_chosen() -> None:
    page = Page(form(cards(stage.pool("a"), stage.pool("b")), ["gone"]))

    assert page.checked == []
    assert all("required" in attrs for attrs in page.radios.values())


def test_when_nothing_can_be_started_it_says_so_first() -> None:
    page = Page(form([Card(pool=stage.pool(name), off="no") for name in "ab"], ["a"]))

    assert page.checked == []
    assert "None of these can be started now." in page.text


def told(*pools: KnownPool, **limits: Any) -> stage.Answer:
    """A lease worker that says this to whoever asks, and keeps all others in line."""

    def answer(message: Message) -> Any:
        if isinstance(message, PoolsQuestion):
            yield HubPools(hub="hub1", snapshot="p", pools=pools, **limits)
        yield from stage.serve(message)

    return answer


async def page_of(spawner: Any) -> Page:
    return Page(await spawner.get_options_form())


SMALL, LARGE = stage.pool("small"), stage.pool("large", groups=("staff",))


@pytest.fixture
async def door(road: stage.Road) -> Any:
    door = await stage.open_door(road, pools=[SMALL, LARGE])
    yield door
    await door.close()


async def test_who_may_use_one_pool_has_no_form_and_asks_nobody(
    road: stage.Road, door: Door
) -> None:
    assert await stage.spawner(door).get_options_form() == ""
    assert road.all(PoolsQuestion) == []


async def test_the_form_tells_what_is_warm_now(road: stage.Road, door: Door) -> None:
    road.answer = told(SMALL.model_copy(update={"outlook": outlook(warm=6)}), LARGE)

    page = await page_of(stage.spawner(door, groups=["staff"]))

    assert "6 ready" in page.text
    assert page.checked == ["small"]


async def test_many_who_look_at_once_ask_once(road: stage.Road, door: Door) -> None:
    road.answer = told(SMALL, LARGE)

    for user in ("ann", "bob", "cat"):
        await page_of(stage.spawner(door, user=user, groups=["staff"]))

    assert len(road.all(PoolsQuestion)) == 1


async def test_without_an_answer_the_form_works_and_does_not_wait_each_time(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offers, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(offers, "QUIET_SECONDS", 3600)

    first = await page_of(stage.spawner(door, groups=["staff"]))
    again = await page_of(stage.spawner(door, groups=["staff"]))

    assert list(first.radios) == list(again.radios) == ["large", "small"]
    assert "not known now" in first.text
    assert len(road.all(PoolsQuestion)) == 1


async def test_with_the_broker_away_the_form_works(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offers, "WAIT_SECONDS", 0.01)
    road.broken = Unavailable("no broker")

    page = await page_of(stage.spawner(door, groups=["staff"]))

    assert list(page.radios) == ["large", "small"]


async def test_a_pool_that_is_new_is_offered_at_once(road: stage.Road, door: Door) -> None:
    road.answer = told(SMALL, LARGE, stage.pool("fresh"))

    page = await page_of(stage.spawner(door, groups=["staff"]))

    assert list(page.radios) == ["fresh", "large", "small"]


async def test_what_was_chosen_last_is_chosen_again(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door, groups=["staff"])
    for kept in ({"profile": "large"}, {"pool": "large"}):
        spawner.user_options = kept

        assert (await page_of(spawner)).checked == ["large"]


@pytest.mark.parametrize(
    "kept", [{"profile": ["x"]}, {"profile": 5}, {"a": 1}, {"profile": HOSTILE}]
)
async def test_whatever_the_hub_kept_the_form_is_shown(
    road: stage.Road, door: Door, kept: Any
) -> None:
    spawner = stage.spawner(door, groups=["staff"])
    spawner.user_options = kept

    assert (await page_of(spawner)).checked == ["small"]


async def test_a_paused_pool_is_off(road: stage.Road, door: Door) -> None:
    road.answer = told(SMALL.model_copy(update={"paused": True}), LARGE)

    page = await page_of(stage.spawner(door, groups=["staff"]))

    assert page.off == ["small"]
    assert "Paused by the administrators" in page.text


async def test_a_limit_that_another_server_of_the_person_reached_is_shown(
    road: stage.Road, door: Door
) -> None:
    road.answer = told(SMALL, LARGE.model_copy(update={"max_per_user": 1}))
    other = stage.spawner(door, groups=["staff"])
    other.user_options = {"profile": "large"}
    await other.start()

    page = await page_of(stage.beside(other, "second"))

    assert [request.pool for request in road.all(LeaseRequest)] == ["large"]
    assert page.off == ["large"]
    assert "You have 1 notebook of this pool already, and 1 is the limit." in page.text
    # What the hub shows when the start of a named server was refused.
    assert (await page_of(other)).off == ["large"]
    await other.stop()
    assert (await page_of(stage.beside(other, "third"))).off == []


async def test_a_place_in_line_counts_for_other_servers_and_not_for_its_own(
    road: stage.Road, door: Door
) -> None:
    full = {"max_per_user": 1, "max_per_group": {"staff": 1}, "held": {"staff": 1}}
    road.answer = told(SMALL, LARGE.model_copy(update=full))
    waits = stage.spawner(door, groups=["staff"])
    claim = Claim("0190f3a0-0000-7000-8000-00000000000b", pool="large", since=door.now())
    door.keep(claim, waits._who)

    assert (await page_of(waits)).off == []
    assert (await page_of(stage.beside(waits, "second"))).off == ["large"]


async def test_a_limit_of_a_group_is_shown_to_its_members(road: stage.Road, door: Door) -> None:
    full = {"max_per_group": {"staff": 4}, "held": {"staff": 4}}
    road.answer = told(SMALL, LARGE.model_copy(update=full), stage.pool("other"))

    assert (await page_of(stage.spawner(door, groups=["staff"]))).off == ["large"]
    assert (await page_of(stage.spawner(door, groups=["guests"]))).off == []


async def test_after_a_restart_of_the_hub_its_leases_still_count(road: stage.Road) -> None:
    lease = "0190f3a0-0000-7000-8000-00000000000a"
    known = stage.KnownLease(
        lease=lease, user="ann", server="", phase="serving", pool="large", url=stage.URL
    )
    road.answer = told(SMALL, LARGE, max_per_user=1)
    door = await stage.open_door(road)
    other = stage.spawner(door, groups=["staff"])
    other.load_state({"lease": lease, "url": stage.URL})
    await road.tell(stage.snapshot(pools=[SMALL, LARGE], leases=[known]))

    page = await page_of(stage.beside(other, "second"))
    await door.close()

    assert other.runs_in() == "large"
    assert page.off == ["large", "small"]
