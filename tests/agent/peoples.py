"""Other people's homes: made by themselves, and a machine that has no rights over them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.agent.theatre import Theatre

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebook"

# What a person's own configuration sees when the server reads it, written into their home.
CONFIGURATION = """
import glob, json, os, pathlib, pty, pwd, subprocess

def attempt(call, *arguments):
    try:
        return f"succeeded: {call(*arguments)}"
    except OSError as error:
        return os.strerror(error.errno)

def said(*words):
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout.strip()

def processes():
    for path in glob.glob("/proc/[0-9]*/task/*/status"):
        try:
            lines = open(path).read().splitlines()
        except OSError:
            continue
        yield {name: value.split() for name, _, value in (line.partition(":") for line in lines)
               if name.startswith(("Cap", "Uid", "Gid", "Groups", "NoNewPrivs"))}

def made(path):
    pathlib.Path(path).write_text("mine")
    return [os.stat(path).st_uid, os.stat(path).st_gid]

def terminal():
    shown = []
    def read(channel):
        data = os.read(channel, 1024)
        shown.append(data)
        return data
    shell = [os.environ.get("SHELL", "sh"), "-c", "tty; whoami; id -u; echo $HOME; pwd"]
    devnull = os.open(os.devnull, os.O_RDONLY)
    keep = os.dup(0)
    os.dup2(devnull, 0)
    try:
        pty.spawn(shell, read, lambda channel: b"")
    finally:
        os.dup2(keep, 0)
    return b"".join(shown).decode().split()

umask = os.umask(0)
os.umask(umask)
entry = pwd.getpwuid(os.getuid())
facts = {
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
    "processes": list(processes()),
    "cwd": os.getcwd(), "umask": oct(umask), "id": said("id"), "whoami": said("whoami"),
    "entry": [entry.pw_name, entry.pw_dir, entry.pw_shell],
    "environment": {name: os.environ.get(name) for name in
                    ("HOME", "USER", "LOGNAME", "NB_USER", "NB_UID", "NB_GID", "PATH", "LANG",
                     "GREENROOM_DEMO_HOOK", "JUPYTER_RUNTIME_DIR")},
    "ours": [name for name in os.environ if name.startswith("GREENROOM_")
             and name != "GREENROOM_DEMO_HOOK"],
    "back": {
        "setuid": attempt(os.setuid, 0), "seteuid": attempt(os.seteuid, 0),
        "setresuid": attempt(os.setresuid, 0, 0, 0), "setgid": attempt(os.setgid, 0),
        "setgroups": attempt(os.setgroups, [0]), "chown": attempt(os.chown, os.getcwd(), 0, 0),
        "su": said("su", "-c", "id -u"), "passwd": attempt(open, "/etc/passwd", "a"),
        "in a child": said("python3", "-c", "import os; os.setuid(0); print(os.getuid())"),
    },
    "made": [made(path) for path in ("mine.txt", "/scratch/mine.txt", "/tmp/mine.txt")],
    "data": [open("/data/set.csv").read(), attempt(open, "/data/new", "w")],
    "scratch": os.statvfs("/scratch").f_blocks * os.statvfs("/scratch").f_frsize,
    "mount": [line.split()[5].split(",") for line in open("/proc/self/mountinfo")
              if line.split()[4] == "/home/jovyan"][-1],
    "terminal": terminal(),
    "streams": [attempt(lambda path: open(path, "w").close(), path)
                for path in ("/dev/stdout", "/dev/stderr")],
    "own environ": attempt(lambda: len(open("/proc/self/environ").read()) > 0),
}
pathlib.Path("facts.json").write_text(json.dumps(facts))
"""
MAKE = """
import os, sys
os.umask(0o077)
for name in sys.argv[1].split("/"):
    os.makedirs(name, exist_ok=True)
    os.chdir(name)
os.makedirs(".jupyter")
with open(".jupyter/jupyter_server_config.py", "w") as file:
    file.write(sys.stdin.read())
"""


@dataclass(frozen=True, kw_only=True)
class Somebody:
    """A person of a site, whose files are theirs alone."""

    name: str
    uid: int
    gid: int

    def make_home(self, root: Path, path: str = "") -> Path:
        """As they would on their own machine: without a right over anybody else's files."""
        subprocess.run(
            # The system's: this one may be in a directory that only root may enter.
            ["/usr/bin/python3", "-c", MAKE, path or self.name],
            cwd=root,
            user=self.uid,
            group=self.gid,
            extra_groups=(),
            input=CONFIGURATION,
            text=True,
            check=True,
            timeout=60,
        )
        return root / (path or self.name)


def open_root(homes: Path) -> None:
    """A directory of homes in which everybody may make one."""
    homes.mkdir(exist_ok=True)
    homes.chmod(0o1777)


def squash(theatre: Theatre) -> None:
    """From now on this node's root has no right over anybody's files, as with root_squash."""
    theatre.agent.node.threads._storage = squashed()


def squashed() -> ThreadPoolExecutor:
    """Threads of root that can open, make and give away nothing but root's own."""
    rights = _rights()
    keep = (rights.SETUID, rights.SETGID)
    return ThreadPoolExecutor(4, initializer=rights.set_capabilities, initargs=keep)


def facts(home: Path) -> dict[str, Any]:
    """What the person's configuration saw."""
    return dict(json.loads((home / "facts.json").read_text()))


def be_root() -> None:
    """A skip on a laptop and a failure in CI, where every test must run."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("this test makes files of others")


def _rights() -> ModuleType:
    """`notebook/identity.py`, under a name of its own: the agent has one, too."""
    spec = importlib.util.spec_from_file_location("identity_inside", NOTEBOOK / "identity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
