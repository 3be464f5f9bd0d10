#!/bin/sh
# The container's command: finds the image's jupyterhub-singleuser and starts warm_start.py with
# the interpreter of that script, so that it imports exactly what the stock start would.
set -eu

stop() {
    code="$1"
    shift
    echo "greenroom: $*" >&2
    exit "$code"
}

here=${0%/*}
script=$(command -v jupyterhub-singleuser) || stop 64 \
    "this image has no jupyterhub-singleuser on PATH ($PATH)." \
    "Add it with 'pip install jupyterhub jupyterlab', or name another image in the pool."

IFS= read -r first < "$script" || :
case "$first" in
    '#!'*) interpreter=${first#'#!'} ;;
    *) stop 65 "$script does not begin with an interpreter line (#!), so it cannot be preloaded." ;;
esac

# A path too long for the kernel is written by pip as a shell script that runs Python.
case "$interpreter" in
    */sh | */bash | */sh\ * | */bash\ *)
        interpreter=$(sed -n "2s/^'''exec' \"\{0,1\}\([^\"]*[^\" ]\)\"\{0,1\} \"\$0\" \"\$@\".*/\1/p" "$script")
        ;;
esac

# Split on spaces on purpose: the line may carry options, or be "/usr/bin/env python3".
# shellcheck disable=SC2086
set -- $interpreter
[ $# -gt 0 ] || stop 65 "$script is no Python script, so it cannot be preloaded."
command -v "$1" > /dev/null || stop 65 "$script wants the interpreter $1, which does not exist."

# This shell tells its children where it is; the stock start does so only if its parent did.
grep -qz '^PWD=' "/proc/$$/environ" 2> /dev/null || unset PWD

export GREENROOM_SCRIPT="$script"
# A notebook that will run as its person begins with another process, before the image's own.
if [ -n "${GREENROOM_FIRST-}" ]; then exec "$@" -I -S "$here/first.py" "$@"; fi
exec "$@" "$here/warm_start.py"
