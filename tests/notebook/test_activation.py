from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import BuiltinImporter, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.notebook.conftest import DEADLINE_SECONDS, NOTEBOOK, PYTHON, Warm

MakeWarm = Callable[..., Warm]
Inside = Callable[[str], ModuleType]


def activate(warm: Warm, **changed: Any) -> dict[str, Any]:
    """Activate and return the last thing that was said."""
    conversation = warm.start().connect()
    conversation.hear()
    conversation.send(warm.order(**changed))
    conversation.hear()
    last = conversation.hear()
    assert last is not None, warm.errors.read_text()
    return last


def give_own_package(home: Path) -> None:
    asked = "import sys; print('python%d.%d' % sys.version_info[:2])"
    version = subprocess.run(
        [PYTHON, "-c", asked], capture_output=True, text=True, check=True, timeout=DEADLINE_SECONDS
    )
    folder = home / ".local" / "lib" / version.stdout.strip() / "site-packages"
    folder.mkdir(parents=True)
    (folder / "own_package.py").write_text("")
    (folder / "own.pth").write_text(str(home / "editable") + "\n")
    (home / "editable").mkdir()


def test_the_server_gets_what_the_lease_says(make_warm: MakeWarm) -> None:
    warm = make_warm(OF_THE_POOL="kept", PWD="/")
    activate(warm)
    facts = warm.facts()

    assert facts["environment"]["JUPYTERHUB_API_TOKEN"] == "secret"
    assert facts["environment"]["HOME"] == str(warm.home)
    assert facts["environment"]["PWD"] == str(warm.home)
    assert facts["environment"]["OF_THE_POOL"] == "kept"
    assert facts["arguments"] == [str(warm.script), "--one", "two three"]
    assert facts["directory"] == str(warm.home)


def test_nothing_of_ours_is_left_for_the_server(make_warm: MakeWarm) -> None:
    warm = make_warm()
    activate(warm)
    facts = warm.facts()

    assert [name for name in facts["environment"] if name.startswith("GREENROOM_")] == []
    assert facts["ours"] == []
    assert facts["main"] == str(warm.script)
    assert str(NOTEBOOK) not in facts["path"]


def test_the_path_is_that_of_the_stock_start(make_warm: MakeWarm) -> None:
    warm = make_warm()
    give_own_package(warm.home)
    activate(warm)
    ours = warm.facts()
    stock = {**warm.environment, "HOME": str(warm.home), "JUPYTERHUB_API_TOKEN": "secret"}
    (warm.home / "facts.json").unlink()
    subprocess.run(
        [PYTHON, warm.script], env=stock, cwd=warm.home, check=True, timeout=DEADLINE_SECONDS
    )

    assert json.loads((warm.home / "facts.json").read_text())["path"] == ours["path"]
    assert ours["own"] is not None


def test_no_identity_is_read_before_the_activation(make_warm: MakeWarm) -> None:
    warm = make_warm()
    warm.record("jupyterhub.services.auth", "jupyterhub.singleuser", "tornado.tcpserver", "sneaky")
    warm.start().connect().hear()
    before = warm.marks.read_text()
    conversation = warm.connect()
    warm.conversations[0].close()
    conversation.hear()
    conversation.send(warm.order())

    assert warm.facts()["token"] == "secret"
    assert before == ""
    assert warm.marks.read_text() == "auth imported for secret\n"


def test_a_library_that_went_on_without_the_hub_is_imported_afresh(make_warm: MakeWarm) -> None:
    warm = make_warm()
    warm.record("tornado.tcpserver", "sneaky")
    activate(warm)

    assert warm.facts()["sneaky_has_hub"] is True


def test_modules_that_cannot_be_imported_now_do_not_matter(make_warm: MakeWarm) -> None:
    warm = make_warm()
    warm.record("no_such_module", "ends_at_import", "tornado.tcpserver")

    assert activate(warm)["serving"] == "L"


@pytest.mark.parametrize("record", ["{", "[]", '{"modules": 7}', '{"modules": null}'])
def test_an_unreadable_record_is_told_and_done_without(make_warm: MakeWarm, record: str) -> None:
    warm = make_warm()
    (warm.private / "record.json").write_text(record)

    assert activate(warm)["serving"] == "L"
    assert "record.json is unreadable" in warm.errors.read_text()


def test_a_record_is_preloaded(make_warm: MakeWarm) -> None:
    warm = make_warm()
    warm.record("tornado.tcpserver", "marks_itself")
    warm.start().connect().hear()

    assert warm.marks.read_text() == "marks_itself imported\n"


def test_the_record_of_another_interpreter_is_not_used(make_warm: MakeWarm) -> None:
    warm = make_warm()
    warm.record("tornado.tcpserver", "marks_itself", python="2.7")
    warm.start().connect().hear()

    assert warm.marks.read_text() == ""


def test_a_variable_that_python_reads_at_start_means_to_start_again(make_warm: MakeWarm) -> None:
    warm = make_warm()
    environment = {"HOME": str(warm.home), "JUPYTERHUB_API_TOKEN": "s", "PYTHONHASHSEED": "7"}
    last = activate(warm, environment=environment)
    asked = "print(hash('a'))"
    expected = subprocess.run(
        [PYTHON, "-c", asked],
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    )

    assert last["serving"] == "L"
    assert last["cold"] == "PYTHONHASHSEED must be set before Python starts"
    assert warm.facts()["hash_of_a"] == int(expected.stdout)
    assert warm.facts()["arguments"] == [str(warm.script), "--one", "two three"]
    assert [name for name in warm.facts()["environment"] if name.startswith("GREENROOM_")] == []


def test_the_same_value_of_such_a_variable_changes_nothing(make_warm: MakeWarm) -> None:
    warm = make_warm(PYTHONHASHSEED="7")
    environment = {"HOME": str(warm.home), "PYTHONHASHSEED": "7"}

    assert "cold" not in activate(warm, environment=environment)


@pytest.mark.parametrize(
    ("file", "loaded_from"),
    [
        ("fruit.py", "later/fruit.py"),
        ("fruit/__init__.py", "later/fruit/__init__.py"),
        ("fruit.cpython-311-x86_64-linux-gnu.so", "later/fruit.py"),
    ],
)
def test_a_persons_own_version_of_a_preloaded_module_is_noticed(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, loaded_from: str
) -> None:
    fruit = ModuleType("fruit")
    fruit.__file__ = str(tmp_path / loaded_from)
    monkeypatch.setitem(sys.modules, "fruit", fruit)
    own = tmp_path / "own" / file
    own.parent.mkdir(parents=True)
    own.write_text("")

    activation = inside("activation")
    assert activation.shadowed_by(str(tmp_path / "own"), {str(tmp_path / "later")}) == "fruit"
    assert activation.shadowed_by(str(tmp_path / "own"), {str(tmp_path / "elsewhere")}) == ""


def test_what_a_rehearsal_records_can_be_imported_by_name_and_reads_no_identity(
    inside: Inside,
) -> None:
    names = ("fruit", "jupyterhub.services.auth", "jupyterhub.singleuser.extension")
    modules = {name: ModuleType(name) for name in names}
    for name, module in modules.items():
        module.__spec__ = ModuleSpec(name, loader=BuiltinImporter)
    on_the_fly = ModuleType("made_on_the_fly")
    more = {"alias_of_fruit": modules["fruit"], "__main__": on_the_fly, "on_the_fly": on_the_fly}
    ours = {"activation": inside("activation")}

    assert inside("rehearsal").importable_again({**modules, **more, **ours}) == ["fruit"]
