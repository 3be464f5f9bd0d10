from __future__ import annotations

from pathlib import Path

from scripts.stack.check import LONGEST_FILE, shape

HEADER = "from __future__ import annotations\n"


def test_a_file_of_the_longest_length_passes(tmp_path: Path) -> None:
    path = tmp_path / "notebooks.py"
    path.write_text(HEADER + "\n" * (LONGEST_FILE - 1))

    assert shape([path]) == ""


def test_a_longer_file_is_named_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / "notebooks.py"
    path.write_text(HEADER + "\n" * LONGEST_FILE)

    assert f"notebooks.py: {LONGEST_FILE + 1} lines" in shape([path])


def test_a_module_without_a_name_has_no_home(tmp_path: Path) -> None:
    path = tmp_path / "utils.py"
    path.write_text(HEADER)

    assert "called utils" in shape([path])
