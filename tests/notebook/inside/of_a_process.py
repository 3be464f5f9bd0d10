"""What one process is like, as JSON-able facts in `told`. Run in a kernel; see facts.py."""

from __future__ import annotations

import json
import locale
import os
import resource
import subprocess
import sys
import time


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.split()


def status(start):
    with open("/proc/self/status") as lines:
        return [line.split() for line in lines if line.startswith(start)]


told = {
    "environment": dict(os.environ),
    "path": sys.path,
    "prefix": [sys.prefix, sys.base_prefix, sys.executable],
    "directory": os.getcwd(),
    "identity": [os.getuid(), os.geteuid(), os.getgid(), os.getegid(), sorted(os.getgroups())],
    "umask": [int(line[1], 8) for line in status("Umask")],
    "capabilities": status("Cap"),
    "limits": {
        name: resource.getrlimit(getattr(resource, name))
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    },
    "locale": [
        locale.setlocale(locale.LC_ALL),
        locale.getpreferredencoding(),
        sys.getfilesystemencoding(),
        sys.stdout.encoding,
    ],
    "time_zone": [time.tzname, time.timezone, time.strftime("%z")],
    "jupyter_paths": json.loads(" ".join(run("jupyter", "--paths", "--json"))),
    "own": run(sys.executable, "-c", "import parity_probe; print(parity_probe.__file__)"),
}
