"""What is mounted below a directory that we are about to remove."""

from __future__ import annotations

from pathlib import Path

from scripts.stack import commands
from scripts.stack.screen import Trouble


def unmount_below(directory: Path) -> None:
    """Unmount everything below, innermost first: what follows removes only our own files."""
    for mount in sorted(below(directory), key=len, reverse=True):
        commands.read(["umount", "--lazy", mount])
    if left := below(directory):
        raise Trouble(
            f"cannot unmount {', '.join(left)}; nothing below {directory} was removed",
            advice="See what uses it: findmnt, fuser -vm",
        )


def below(directory: Path) -> list[str]:
    """Where something is mounted below this directory."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # The kernel writes spaces and the like as octal escapes.
    found = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [mount for mount in found if mount.startswith(f"{directory}/")]
