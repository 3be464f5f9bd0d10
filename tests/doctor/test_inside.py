from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from controlplane.doctor import inside


def test_an_import_that_fails_is_told_and_ends_nothing() -> None:
    told = inside.timed("no_such_extension", extension=True)

    assert told["error"].startswith("ModuleNotFoundError")


def test_an_extension_that_ends_the_process_at_import_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ends_all_of_it.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))

    told = inside.timed("ends_all_of_it")

    assert told["error"] == "SystemExit: 3"
    assert "ends_all_of_it" not in sys.modules


def test_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    told = inside.write(str(tmp_path))

    assert (told["wrote"], told["uid"]) == (True, os.getuid())
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_the_kernel_s_word_is_told(tmp_path: Path) -> None:
    told = inside.write(str(tmp_path / "none"))

    assert (told["wrote"], told["error"]) == (False, "No such file or directory")


def test_a_file_that_was_there_before_is_no_mount_that_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").touch()

    assert inside.wait_for(str(tmp_path / "here"), 0) == {"before": True, "seen": True}
    assert inside.wait_for(str(tmp_path / "none"), 0) == {"before": False, "seen": False}
    assert inside.MARK in capsys.readouterr().out
