"""From root with two capabilities to one person with none, and no way back.

For pools with `run_as = "user"` only; docs/container.md tells the whole way. A process that waits
holds SETUID and SETGID and nothing else: nothing to inherit, an empty bounding set, and a root
that means nothing to the kernel. Standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import ctypes
import glob
import json
import os
import re
import socket
import sys

SETGID, SETUID, SETPCAP = 6, 7, 8
HIGHEST_CAPABILITY = 63
# NFS takes sixteen of them; nobody has a use for more than these.
MOST_GROUPS = 64
HIGHEST_ID = 2**32 - 2
LEADER = "GREENROOM_LEADER"
LEADER_SECONDS = 30.0
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]{0,31}")

PR_SET_DUMPABLE, PR_CAPBSET_READ, PR_CAPBSET_DROP = 4, 23, 24
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 28, 38, 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
# Root is nobody special, changing away from it drops everything, and neither can be undone.
NOROOT, NOROOT_LOCKED, FIXUP_LOCKED, KEEP_CAPS_LOCKED = 1, 2, 8, 32
NO_AMBIENT_RAISE, NO_AMBIENT_RAISE_LOCKED = 64, 128
VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)
# The channel to the first process; it is there from `hold` until `become`.
leader: socket.socket | None = None


class Trouble(Exception):
    """The identity cannot be taken, and nothing of the person was read."""


def complaint(order: dict) -> str:
    """Why this order is not for a notebook like this one, or ''."""
    who = order.get("identity")
    if leader is None:
        return "" if who is None else "this notebook runs as the image's user"
    if not isinstance(who, dict):
        return "this notebook needs an identity"
    ids = [who.get("uid"), who.get("gid"), *(who.get("groups") or ())]
    if not all(type(each) is int and 0 < each <= HIGHEST_ID for each in ids):
        return "identity has an id that is no number, or is root's"
    if len(ids) - 2 > MOST_GROUPS:
        return f"identity has more than {MOST_GROUPS} groups"
    if not (isinstance(who.get("name"), str) and NAME.fullmatch(who["name"])):
        return "identity has no name that a passwd entry can hold"
    home = who.get("home")
    if not (isinstance(home, str) and re.fullmatch(r"/[^:\0\n]*", home)):
        return "identity has no home that a passwd entry can hold"
    return ""


def hold() -> None:
    """At warm time: keep the two capabilities for this process, and let nobody inherit them."""
    global leader
    channel = os.environ.pop(LEADER, "")
    if channel:
        leader = socket.socket(fileno=int(channel))
        leader.set_inheritable(False)
        leader.settimeout(LEADER_SECONDS)
        set_capabilities(SETUID, SETGID)


def become(order: dict) -> None:
    """Be the order's person from here on; `Trouble` or `OSError` leaves nothing half usable."""
    global leader
    who = order.pop("identity", None)
    if leader is None or who is None:
        return
    settle_names(who)
    # The first process goes first: after us comes the person's own code.
    leader.sendall(json.dumps(who).encode() + b"\n")
    if leader.recv(1) != b"1":
        raise Trouble("the first process of this container did not take the identity")
    leader.close()
    leader = None
    switch(who)
    tell_environment(who, order["environment"])


def switch(who: dict) -> None:
    """Groups, then gid, then uid; then nothing is left that could undo it."""
    os.setgroups(sorted(set(who["groups"]) - {who["gid"]}))
    os.setresgid(who["gid"], who["gid"], who["gid"])
    os.setresuid(who["uid"], who["uid"], who["uid"])
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    set_capabilities()
    # Or the kernel keeps this process' own /proc from it, as after a setuid program.
    prctl(PR_SET_DUMPABLE, 1)
    prove(who["uid"], who["gid"])


def prove(uid: int, gid: int) -> None:
    """Every thread is this person and holds nothing; else this process ends here."""
    for path in glob.glob("/proc/self/task/*/status"):
        with open(path, encoding="utf-8", errors="replace") as file:
            told = dict(line.split(":", 1) for line in file)
        held = {name: int(told[name], 16) for name in told if name.startswith("Cap")}
        ids = {*told["Uid"].split(), *told["Gid"].split()}
        if any(held.values()) or not ids <= {str(uid), str(gid)} or int(told["NoNewPrivs"]) != 1:
            print(f"greenroom: {path} still holds {held} as {ids}", file=sys.stderr, flush=True)
            os._exit(71)


def tell_environment(who: dict, lease: dict) -> None:
    """What a login would say; the lease's own words win."""
    told = {"HOME": who["home"], "USER": who["name"], "LOGNAME": who["name"]}
    os.environ.update({name: value for name, value in told.items() if name not in lease})
    # Images of docker-stacks name their user in these; they are true again.
    real = {"NB_USER": who["name"], "NB_UID": str(who["uid"]), "NB_GID": str(who["gid"])}
    os.environ.update({name: value for name, value in real.items() if name in os.environ})


# Names


def settle_names(who: dict) -> None:
    """One passwd entry, and a group entry for each number without a name, in the container."""
    shell = os.environ.get("SHELL", "")
    if not re.fullmatch(r"/[^:\0\n]*", shell) or not os.path.exists(shell):
        shell = "/bin/sh"
    try:
        rewrite("/etc/passwd", lambda lines: with_person(lines, who, shell))
        rewrite("/etc/group", lambda lines: with_groups(lines, who))
    except OSError as error:
        # A number without a name is a nuisance, and no reason to keep somebody waiting.
        print(f"greenroom: {who['uid']} stays nameless: {error}", file=sys.stderr, flush=True)


def with_person(lines: list[str], who: dict, shell: str) -> list[str]:
    """The entry of who had this uid or name goes; system accounts keep their names."""
    uid, gid = str(who["uid"]), str(who["gid"])
    entries = [(line, line.split(":")) for line in lines]
    others = [(line, parts) for line, parts in entries if parts[2:3] != [uid]]
    name = who["name"]
    if any(parts[0] == name and is_system(parts) for _, parts in others):
        name = f"u{uid}"
    kept = [line for line, parts in others if parts[0] != name]
    return [*kept, f"{name}:x:{uid}:{gid}::{who['home']}:{shell}"]


def with_groups(lines: list[str], who: dict) -> list[str]:
    entries = [line.split(":") for line in lines]
    names, numbers = {parts[0] for parts in entries}, {parts[2] for parts in entries if parts[2:]}
    made = []
    for gid in dict.fromkeys([who["gid"], *who["groups"]]):
        if str(gid) not in numbers:
            name = who["name"] if gid == who["gid"] and who["name"] not in names else f"g{gid}"
            made.append(f"{name}:x:{gid}:")
    return [*lines, *made]


def is_system(parts: list[str]) -> bool:
    return len(parts) < 3 or not parts[2].isdigit() or int(parts[2]) < 1000


def rewrite(path: str, change) -> None:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        before = file.read().splitlines()
    after = change(before)
    if after == before:
        return
    text = "\n".join(after) + "\n"
    with open(f"{path}.greenroom", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
    os.replace(f"{path}.greenroom", path)


# The kernel


def confine() -> None:
    """In the first process, once: only SETUID and SETGID can be had in this container.

    They go on to what is started from here, and only until `hold`.
    """
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    set_capabilities(SETUID, SETGID, SETPCAP, inheritable=(SETUID, SETGID))
    for capability in (SETUID, SETGID):
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)
    empty_bounding_set()
    root = NOROOT | NOROOT_LOCKED | FIXUP_LOCKED | KEEP_CAPS_LOCKED
    prctl(PR_SET_SECUREBITS, root | NO_AMBIENT_RAISE | NO_AMBIENT_RAISE_LOCKED)
    set_capabilities(SETUID, SETGID, inheritable=(SETUID, SETGID))


def empty_bounding_set() -> None:
    for capability in range(HIGHEST_CAPABILITY + 1):
        # An unknown number ends the list of this kernel's capabilities.
        if libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) < 0:
            return
        prctl(PR_CAPBSET_DROP, capability)


def held() -> int:
    """The effective capabilities, one bit each."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapEff"))


def set_capabilities(*capabilities: int, inheritable: tuple[int, ...] = ()) -> None:
    """Of this thread: permitted and effective are these."""
    bits, passed = (sum(1 << each for each in some) for some in (capabilities, inheritable))
    words = []
    for shift in (0, 32):
        word = (bits >> shift) & 0xFFFFFFFF
        words += [word, word, (passed >> shift) & 0xFFFFFFFF]
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)(*words)) != 0:
        raise error_of("capset")


def prctl(option: int, second: int, third: int = 0) -> None:
    words = (ctypes.c_ulong(each) for each in (second, third, 0, 0))
    if libc.prctl(ctypes.c_int(option), *words) != 0:
        raise error_of(f"prctl({option}, {second}, {third})")


def error_of(call: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}")
