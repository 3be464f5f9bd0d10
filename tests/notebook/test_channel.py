from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest

from tests.notebook.conftest import Warm

MakeWarm = Callable[..., Warm]
FITS_NO_MESSAGE = 128 * 1024


def test_a_warm_notebook_greets_with_its_id(make_warm: MakeWarm) -> None:
    greeting = make_warm().start().connect().hear()

    assert greeting is not None
    assert greeting["greenroom"] == 1
    assert greeting["notebook"] == "n1"
    assert greeting["state"] == "warm"
    assert greeting["modules"] > 0


def test_looking_and_hanging_up_changes_nothing(make_warm: MakeWarm) -> None:
    warm = make_warm().start()
    for _ in range(5):
        warm.connect().close()
    conversation = warm.connect()
    conversation.hear()
    conversation.send(warm.order())

    assert conversation.hear() == {"accepted": "L"}


def test_an_activation_is_accepted_then_served_then_silent(make_warm: MakeWarm) -> None:
    warm = make_warm().start()
    conversation = warm.connect()
    conversation.hear()
    conversation.send(warm.order())
    accepted, serving, silence = (conversation.hear() for _ in range(3))

    assert accepted == {"accepted": "L"}
    assert serving is not None
    assert serving["serving"] == "L"
    assert list(serving["stages"]) == ["prepare", "initialise", "loop"]
    assert "cold" not in serving
    assert silence is None


def test_the_socket_is_gone_once_an_activation_is_accepted(make_warm: MakeWarm) -> None:
    warm = make_warm().start()
    conversation = warm.connect()
    conversation.hear()
    conversation.send(warm.order())
    conversation.hear()

    assert not (warm.private / "socket").exists()


def test_who_waits_while_somebody_else_activates_is_refused(make_warm: MakeWarm) -> None:
    warm = make_warm().start()
    first = warm.connect()
    first.hear()
    second = warm.connect()
    first.send(warm.order())

    assert first.hear() == {"accepted": "L"}
    assert second.hear() == {"refused": "this notebook is taken"}
    assert second.hear() is None


def bad(**changed: object) -> bytes:
    told = {
        "lease": "L",
        "notebook": "n1",
        "environment": {},
        "arguments": [],
        "directory": "/",
        **changed,
    }
    return json.dumps({"activate": told}).encode() + b"\n"


REFUSED = {
    "not JSON": (b"hello\n", "not JSON"),
    "not text": (b"\xff\xfe\n", "not JSON"),
    "nested too deep": (b"[" * 100_000 + b"\n", "not JSON"),
    "a list": (b"[]\n", "not an activation"),
    "another message": (b'{"retire": {}}\n', "not an activation"),
    "another notebook": (bad(notebook="n2"), "another notebook"),
    "no notebook": (bad(notebook=None), "another notebook"),
    "no lease": (bad(lease=""), "no lease"),
    "a lease that is no text": (bad(lease=7), "no lease"),
    "an environment that is a list": (bad(environment=[]), "environment"),
    "a value that is no text": (bad(environment={"A": 1}), "environment"),
    "a name with an equals sign": (bad(environment={"A=B": "1"}), "environment"),
    "a name of nothing": (bad(environment={"": "1"}), "environment"),
    "a value with a null": (bad(environment={"A": "\0"}), "environment"),
    "a value of half a character": (bad(environment={"A": "\ud800"}), "environment"),
    "arguments that are text": (bad(arguments="--x"), "arguments"),
    "an argument that is no text": (bad(arguments=[None]), "arguments"),
    "a relative directory": (bad(directory="home"), "directory"),
    "two messages": (bad() + bad(), "more than one message"),
    "too long": (bad(environment={"A": "x" * FITS_NO_MESSAGE}), "longer than"),
    "too long and endless": (b"x" * (2 * FITS_NO_MESSAGE), "longer than"),
}


@pytest.mark.parametrize(("sent", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_activation_of_this_notebook_is_refused(
    make_warm: MakeWarm, sent: bytes, reason: str
) -> None:
    warm = make_warm().start()
    conversation = warm.connect()
    conversation.hear()
    conversation.send(sent)
    refused = conversation.hear()

    assert refused is not None
    assert reason in refused["refused"]
    assert conversation.hear() is None


def test_a_refusal_leaves_the_notebook_warm(make_warm: MakeWarm) -> None:
    warm = make_warm().start()
    refused = warm.connect()
    refused.hear()
    refused.send(b"hello\n")
    refused.hear()
    conversation = warm.connect()
    conversation.hear()
    conversation.send(warm.order())

    assert conversation.hear() == {"accepted": "L"}


def test_the_third_refusal_ends_the_notebook(make_warm: MakeWarm) -> None:
    warm = make_warm().start()
    for _ in range(3):
        conversation = warm.connect()
        conversation.hear()
        conversation.send(warm.order(notebook="n2"))
        conversation.hear()

    assert warm.end() == 69
    assert "3 messages were refused" in warm.errors.read_text()
    assert not (warm.private / "socket").exists()


def test_a_message_cut_short_is_refused(make_warm: MakeWarm) -> None:
    warm = make_warm().start()
    conversation = warm.connect()
    conversation.hear()
    conversation.send(warm.order()[:-1])
    conversation.socket.shutdown(1)

    assert conversation.hear() == {"refused": "the message does not end with a newline"}


def test_a_server_that_exits_is_reported_and_keeps_its_code(make_warm: MakeWarm) -> None:
    warm = make_warm(FAKE_BEHAVIOUR="exit").start()
    conversation = warm.connect()
    conversation.hear()
    conversation.send(warm.order())
    conversation.hear()
    failed = conversation.hear()

    assert failed is not None
    assert failed["failed"] == "L"
    assert "code 3" in failed["reason"]
    assert warm.end() == 3


def test_a_server_that_raises_is_reported_with_its_reason(make_warm: MakeWarm) -> None:
    warm = make_warm(FAKE_BEHAVIOUR="raise").start()
    conversation = warm.connect()
    conversation.hear()
    conversation.send(warm.order())
    conversation.hear()

    assert conversation.hear() == {"failed": "L", "reason": "OSError: the home is full"}
    assert warm.end() == 1


def test_a_directory_that_is_missing_is_reported(make_warm: MakeWarm) -> None:
    warm = make_warm().start()
    conversation = warm.connect()
    conversation.hear()
    conversation.send(warm.order(directory=str(warm.home / "gone")))
    conversation.hear()
    failed = conversation.hear()

    assert failed is not None
    assert "No such file or directory" in failed["reason"]


def test_the_server_serves_even_if_the_agent_hung_up(make_warm: MakeWarm) -> None:
    warm = make_warm().start()
    conversation = warm.connect()
    conversation.hear()
    conversation.send(warm.order())
    conversation.close()

    assert warm.end() == 0
    assert warm.facts()["token"] == "secret"


def test_without_a_notebook_id_it_says_who_should_start_it(make_warm: MakeWarm) -> None:
    warm = make_warm(GREENROOM_NOTEBOOK="").start()

    assert warm.end() == 66
    assert "GREENROOM_NOTEBOOK is not set" in warm.errors.read_text()


def test_without_its_private_directory_it_says_so(make_warm: MakeWarm) -> None:
    warm = make_warm()
    warm.private.rmdir()
    warm.start()

    assert warm.end() == 67
    assert f"cannot listen in {warm.private}" in warm.errors.read_text()


def test_without_jupyter_it_says_so(make_warm: MakeWarm) -> None:
    warm = make_warm(PYTHONPATH="").start()

    assert warm.end() == 68
    assert "cannot import Jupyter's server" in warm.errors.read_text()


def test_sigterm_ends_a_warm_notebook_at_once(make_warm: MakeWarm) -> None:
    warm = make_warm().start()
    warm.connect().hear()
    assert warm.process is not None
    warm.process.send_signal(signal.SIGTERM)

    assert warm.end() == 143
