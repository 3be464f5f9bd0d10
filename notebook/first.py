"""The first process of a notebook that will run as its person: root at first, that person later.

    lead    let the image's own entry point run as the image's user, with no capability
            take over the environment that it made, and confine what can ever be had here
            start warm_start.py, and from then on only reap, pass signals on, and follow
    tell    at the end of the image's entry point: write down what it made

The image's entry point has ended before anything waits, so that nothing which could change
identity outlives the activation. Standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import stat
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import identity  # noqa: E402

TASK = "GREENROOM_FIRST"
TOLD = "/run/greenroom/told.json"
COMMAND = ("/bin/sh", "/greenroom/entry.sh")
NOBODY = 65534
QUIET = "of greenroom"
EXIT_NO_CAPABILITIES, EXIT_NOTHING_TOLD = 71, 72
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)


def main() -> int:
    task = os.environ.pop(TASK)
    return tell() if task == "tell" else lead(json.loads(task), sys.argv[1:])


def tell() -> int:
    umask = os.umask(0o022)
    if os.environ.get("TINI_SUBREAPER") == QUIET:
        del os.environ["TINI_SUBREAPER"]
    told = {"environment": dict(os.environ), "directory": os.getcwd(), "umask": umask}
    with open(os.open(TOLD, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as file:
        json.dump(told, file)
    return 0


def lead(task: dict, interpreter: list[str]) -> int:
    wanted = sum(1 << each for each in (identity.SETUID, identity.SETGID, identity.SETPCAP))
    if os.getuid() != 0 or identity.held() & wanted != wanted:
        return stop(EXIT_NO_CAPABILITIES, "run_as = user needs root with SETUID, SETGID, SETPCAP")
    for number in PASSED_ON:
        signal.signal(number, lambda number, _: os._exit(128 + number))
    open_streams()
    code = run_entry_point(task["entrypoint"], image_user(task["user"]))
    if code:
        return code
    try:
        with open(TOLD) as file:
            told = json.load(file)
        os.unlink(TOLD)
    except (OSError, ValueError) as error:
        return stop(
            EXIT_NOTHING_TOLD,
            f"the image's entry point did not run its command as the image's user: {error}",
        )
    identity.confine()
    ours, theirs = socket.socketpair()
    warm = start(told, interpreter, theirs)
    theirs.close()
    identity.set_capabilities(identity.SETUID, identity.SETGID)
    return Leader(warm, ours).stay()


def stop(code: int, reason: str) -> int:
    print(f"greenroom: {reason}", file=sys.stderr, flush=True)
    return code


def open_streams() -> None:
    """Whoever the person is may open /dev/stdout and /dev/stderr, as in any container."""
    for number in (1, 2):
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            with contextlib.suppress(OSError):
                os.fchmod(number, 0o666)


def image_user(said: str) -> tuple[int, int, list[int], str]:
    """uid, gid, further groups and home of the image's USER; never root."""
    import grp
    import pwd

    user, _, group = said.partition(":")
    if user in ("", "0", "root"):
        # Images that begin as root and become NB_UID by themselves.
        user, group = os.environ.get("NB_UID", ""), os.environ.get("NB_GID", "")
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        entry = None
    uid = entry.pw_uid if entry else int(user) if user.isdigit() else NOBODY
    gid = entry.pw_gid if entry else NOBODY
    if group:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    groups = os.getgrouplist(entry.pw_name, gid) if entry and not group else [gid]
    return uid or NOBODY, gid, groups, entry.pw_dir if entry else "/"


def run_entry_point(words: list[str], user: tuple[int, int, list[int], str]) -> int:
    """Its exit code. It runs as Docker would have run it for this image."""
    child = os.fork()
    if child:
        return code_of(os.waitpid(child, 0)[1])
    with failing_loudly():
        uid, gid, groups, home = user
        identity.prctl(identity.PR_SET_NO_NEW_PRIVS, 1)
        identity.empty_bounding_set()
        identity.switch({"uid": uid, "gid": gid, "groups": groups})
        if os.environ.get("HOME") == "/root":
            # Docker's word for the user that this container was started as.
            os.environ["HOME"] = home
        # Or a tini that is not the first process explains that for three lines.
        os.environ.setdefault("TINI_SUBREAPER", QUIET)
        os.environ[TASK] = "tell"
        os.execvp((words or COMMAND)[0], [*words, *COMMAND])


def start(told: dict, interpreter: list[str], channel: socket.socket) -> int:
    """warm_start.py, as the image's own entry point would have started it."""
    child = os.fork()
    if child:
        return child
    with failing_loudly():
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_DFL)
        os.umask(told["umask"])
        # Root without its capabilities may not enter a home; then it is there by Docker already.
        with contextlib.suppress(PermissionError):
            os.chdir(told["directory"])
        os.set_inheritable(channel.fileno(), True)
        environment = {**told["environment"], identity.LEADER: str(channel.fileno())}
        command = [*interpreter, os.path.join(HERE, "warm_start.py")]
        os.execvpe(command[0], command, environment)


def code_of(status: int) -> int:
    """As a shell tells it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def failing_loudly():
    """In a child: an exception must not go on as a second parent."""
    try:
        yield
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on
        print(f"greenroom: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(EXIT_NO_CAPABILITIES)


class Leader:
    """Reaps what nobody else does, and becomes the person when its child is told to."""

    def __init__(self, child: int, channel: socket.socket) -> None:
        self.child, self.channel = child, channel

    def stay(self) -> int:
        """Until the child ends; with its code."""
        woken, waking = socket.socketpair()
        for side in (woken, waking):
            side.setblocking(False)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in PASSED_ON:
            signal.signal(number, self.pass_on)
        while True:
            code = self.reap()
            if code is not None:
                return code
            watched = [woken] if self.channel is None else [woken, self.channel]
            readable = select.select(watched, [], [])[0]
            if woken in readable:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(4096)
            if self.channel in readable:
                self.follow()

    def reap(self) -> int | None:
        """The child's exit code, if it has ended."""
        with contextlib.suppress(ChildProcessError):
            while True:
                ended, status = os.waitpid(-1, os.WNOHANG)
                if ended == self.child:
                    return code_of(status)
                if ended == 0:
                    break
        return None

    def pass_on(self, number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.child, number)

    def follow(self) -> None:
        with failing_loudly(), self.channel as channel:
            line = channel.makefile("rb").readline()
            if line:
                identity.switch(json.loads(line))
                channel.sendall(b"1")
        self.channel = None


if __name__ == "__main__":
    sys.exit(main())
