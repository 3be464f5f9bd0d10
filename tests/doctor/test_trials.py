from __future__ import annotations

import pytest

from controlplane.doctor import inside, trials

MARK = inside.MARK.encode()


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (b"", []),
        (b"Entered start.sh\n" + MARK + b'{"up": true}\n', [{"up": True}]),
        (MARK + b"1\nnoise\n" + MARK + b"2\n", [1, 2]),
        (MARK + b'{"half": ', []),
        (b"\xff\xfe\n" + MARK + b"3\n", [3]),
    ],
)
def test_what_was_said_is_found_among_the_image_s_own_words(log: bytes, said: list[object]) -> None:
    assert trials.answers(log) == said


def test_the_container_gets_its_own_entry_and_ours_to_start() -> None:
    with trials.folder() as place:
        package = place / "package"
        names = sorted(file.name for file in package.iterdir())
        modes = {file.stat().st_mode & 0o777 for file in (place, package, *package.iterdir())}

    assert names == ["entry.sh", "warm_start.py"]
    assert modes == {0o755}
    assert not place.exists()
