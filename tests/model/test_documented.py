"""A pool key or setting without its row in the docs fails here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from controlplane.poolsfile import EXAMPLES, MODELS
from controlplane.settings import NodeSettings, Settings

DOCS = Path(__file__).parents[2] / "docs"


def rows(page: str) -> dict[str, str]:
    """The rest of each table row whose first cell is a key."""
    text = (DOCS / page).read_text()
    return dict(re.findall(r"^\| `([a-z_.]+)` \|(.*)$", text, re.MULTILINE))


def keys(models: dict[str, type[BaseModel]]) -> set[str]:
    return {
        f"{where}.{name}" if where else name
        for where, model in models.items()
        for name in model.model_fields
    }


def test_every_pool_key_has_a_row_and_every_row_a_key() -> None:
    assert set(rows("pools.md")) == keys(MODELS)


def test_every_pool_key_has_an_example_for_error_messages() -> None:
    assert set(EXAMPLES) == keys(MODELS)


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    assert set(rows("settings.md")) == keys({"": Settings, "node": NodeSettings})


@pytest.mark.parametrize("setting", sorted(keys({"": Settings, "node": NodeSettings}) - {"node"}))
def test_a_setting_s_row_names_its_variable(setting: str) -> None:
    variable = "GREENROOM_" + setting.upper().replace(".", "__")

    assert f" `{variable}` " in rows("settings.md")[setting]
