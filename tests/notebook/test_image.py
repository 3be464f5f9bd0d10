from __future__ import annotations

from pathlib import Path

import pytest

from scripts.stack import image as building
from scripts.stack.screen import Trouble

DEB822 = """\
# a comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """\
# deb http://old.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb http://updates.example/debian bookworm-updates main
deb [arch=amd64 signed-by=/x] http://one.example/debian bookworm main
"""


@pytest.mark.parametrize(
    ("file", "text", "mirror"),
    [
        ("sources.list.d/debian.sources", DEB822, "http://mirror.example/debian"),
        ("sources.list", ONE_LINE, "http://one.example/debian"),
    ],
)
def test_the_mirror_is_the_one_that_apt_uses(
    tmp_path: Path, file: str, text: str, mirror: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)

    assert building.mirror_of("bookworm", tmp_path) == mirror


def test_a_machine_without_a_mirror_for_its_suite_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE)

    with pytest.raises(Trouble, match="apt has no source for trixie"):
        building.mirror_of("trixie", tmp_path)


def test_settings_that_name_files_of_this_machine_do_not_enter_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = "global.index-url='https://mirror.example/simple'\nglobal.cert='/etc/ssl/ca.crt'\n"
    more = "global.extra-index-url='file:///opt/wheels'\n:env:.timeout='60'\n"
    monkeypatch.setattr(building, "read", lambda *_, **__: told + more)

    settings = building.pip_settings()

    assert settings == "[global]\nindex-url = https://mirror.example/simple\ntimeout = 60\n"


def test_an_image_that_is_up_to_date_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "label_of", lambda *_: building.fingerprint())
    said: list[str] = []

    assert building.build("unix:///nowhere", say=said.append) is False
    assert said == []


@pytest.mark.parametrize("name", building.RECIPE)
def test_every_part_of_the_recipe_is_part_of_the_fingerprint(name: str) -> None:
    assert any(name in file.parts for file in building.recipe_files())


FAKE_DOCKER = """#!/bin/sh
# `docker --host ENGINE image ACTION ...`, where an engine is a folder.
case "$4" in
    inspect) cat "$2/image" ;;
    save) cat "$2/image" ;;
    load) [ -e "$2/broken" ] && { echo "no space left" >&2; exit 1; }; cat > "$2/image" ;;
esac
"""


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two make-believe engines, the first of which has an image."""
    for name in ("bin", "one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "docker").write_text(FAKE_DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    (tmp_path / "one" / "image").write_text("layers")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "one", tmp_path / "two"


def test_an_image_is_copied_to_an_engine_that_lacks_it_and_not_again(
    engines: tuple[Path, Path],
) -> None:
    one, two = engines
    said: list[str] = []
    for _ in range(2):
        building.copy("demo", source=str(one), target=str(two), say=said.append)

    assert (two / "image").read_text() == "layers"
    assert len(said) == 1


def test_a_copy_that_fails_says_why(engines: tuple[Path, Path]) -> None:
    one, two = engines
    (two / "broken").touch()

    with pytest.raises(Trouble, match="no space left"):
        building.copy("demo", source=str(one), target=str(two), say=lambda _: None)
