"""What `scripts/up`, `down`, `test` and `check` do.

Everything here runs with the system's Python before any virtual environment exists, so it
imports only the standard library; what needs more (`proof`, `image`) is started with
`.venv/bin/python`. One noun per module:

places      directories of one stack            screen     steps with timers, failures
commands    run one command into a log          processes  start and stop daemons by pid
packages    apt and npm                         venv       virtual environments
ports       free ports, remembered              engine     a Docker engine
mounts      what is mounted where we remove    ending     the last screen of up
postgres, redis, rabbitmq, compose              services   the three of them, as addresses
demo        agent, workers, proxy, hub          proof      one click and `1+1`, timed
up, down, tests, check                          the four commands
"""

from __future__ import annotations
