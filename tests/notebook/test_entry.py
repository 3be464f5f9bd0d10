from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.notebook.conftest import DEADLINE_SECONDS, NOTEBOOK, PYTHON

# Without a notebook's id warm_start.py ends with 66: it was found, and its interpreter worked.
REACHED_WARM_START = 66
SYSTEM = "/usr/bin:/bin"

STARTS = {
    "a plain path": f"#!{PYTHON}\n",
    "a path with an option": f"#!{PYTHON} -E\n",
    "a space before the path": f"#! {PYTHON}\n",
    "env": "#!/usr/bin/env python-of-the-image\n",
    "pip's way with a long path": f"#!/bin/sh\n'''exec' {PYTHON} \"$0\" \"$@\"\n' '''\n",
    "pip's way in quotes": f"#!/bin/sh\n'''exec' \"{PYTHON}\" \"$0\" \"$@\"\n' '''\n",
}
NO_START = {
    "no interpreter line": ("import jupyterhub\n", "does not begin with an interpreter line"),
    "a shell script": ("#!/bin/sh\nexec python3 -m jupyterhub\n", "is no Python script"),
    "an interpreter that is gone": ("#!/no/such/python\n", "/no/such/python, which does not exist"),
    "nothing at all": ("", "does not begin with an interpreter line"),
}


def enter(
    folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", NOTEBOOK / "entry.sh"],
        env={"PATH": f"{folder}:{SYSTEM}", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def put(folder: Path, text: str) -> None:
    script = folder / "jupyterhub-singleuser"
    script.write_text(text)
    script.chmod(0o755)
    (folder / "python-of-the-image").symlink_to(PYTHON)


@pytest.mark.parametrize("text", STARTS.values(), ids=STARTS.keys())
def test_the_interpreter_is_that_of_the_images_own_script(tmp_path: Path, text: str) -> None:
    put(tmp_path, text)
    ended = enter(tmp_path)

    assert ended.returncode == REACHED_WARM_START, ended.stderr


@pytest.mark.parametrize(("text", "reason"), NO_START.values(), ids=NO_START.keys())
def test_a_script_that_cannot_be_preloaded_is_told(tmp_path: Path, text: str, reason: str) -> None:
    put(tmp_path, text)
    ended = enter(tmp_path)

    assert ended.returncode == 65
    assert reason in ended.stderr


def test_a_missing_jupyterhub_singleuser_is_told_with_what_to_do(tmp_path: Path) -> None:
    ended = enter(tmp_path)

    assert ended.returncode == 64
    assert "no jupyterhub-singleuser on PATH" in ended.stderr
    assert "pip install jupyterhub" in ended.stderr
