from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What reached the stock function; each answer is a new object."""
    asked: list[dict[str, Any]] = []

    def stock(purpose: object = ssl.Purpose.SERVER_AUTH, **told: Any) -> object:
        asked.append({"purpose": purpose, **told})
        return SimpleNamespace(number=len(asked))

    monkeypatch.setattr(ssl, "create_default_context", stock)
    return asked


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text("certificates")
    return tmp_path / "ca.pem"


@pytest.fixture
def store(inside: Callable[[str], ModuleType], asked: list[dict[str, Any]], bundle: Path) -> Any:
    store = inside("certificates").Store(str(bundle))
    store.offer()
    return store


def test_the_first_fitting_question_gets_the_store_and_the_next_a_new_one(
    store: Any, asked: list[dict[str, Any]], bundle: Path
) -> None:
    first = ssl.create_default_context(cafile=str(bundle))
    second = ssl.create_default_context(cafile=str(bundle))

    assert first is store.context
    assert second is not store.context
    assert len(asked) == 2


def test_another_question_gets_what_it_asked_for(
    store: Any, asked: list[dict[str, Any]], bundle: Path
) -> None:
    other = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(bundle))
    more = ssl.create_default_context(cafile=str(bundle), cadata="mine")

    assert other is not store.context
    assert more is not store.context
    assert asked[1]["purpose"] == ssl.Purpose.CLIENT_AUTH
    assert asked[2]["cadata"] == "mine"
    assert ssl.create_default_context(cafile=str(bundle)) is store.context


def test_a_lease_that_names_other_certificates_is_obeyed(
    store: Any, monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/home/jovyan/certificates")

    assert ssl.create_default_context(cafile=str(bundle)) is not store.context


def test_a_bundle_that_was_replaced_is_read_again(store: Any, bundle: Path) -> None:
    newer = bundle.with_name("newer.pem")
    newer.write_text("more certificates")
    newer.replace(bundle)

    assert ssl.create_default_context(cafile=str(bundle)) is not store.context


def test_a_withdrawn_offer_leaves_no_trace(
    inside: Callable[[str], ModuleType], asked: list[dict[str, Any]], bundle: Path
) -> None:
    before = ssl.create_default_context
    store = inside("certificates").Store(str(bundle))
    store.offer()
    during = ssl.create_default_context
    store.withdraw()

    assert during is not before
    assert ssl.create_default_context is before
