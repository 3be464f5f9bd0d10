#!/bin/bash
# Starts the container's command the way docker-stacks images do:
# source the hooks of two folders, then become the command.
set -e

run_hooks() {
    local folder="$1" hook
    for hook in "${folder}"/*; do
        case "${hook}" in
            *.sh)
                [ -f "${hook}" ] || continue
                # Hooks are sourced, so that what they export reaches the server.
                # shellcheck disable=SC1090
                source "${hook}"
                ;;
            *)
                if [ -f "${hook}" ] && [ -x "${hook}" ]; then "${hook}"; fi
                ;;
        esac
    done
}

[ $# -gt 0 ] || set -- jupyterhub-singleuser
run_hooks /usr/local/bin/start-notebook.d
run_hooks /usr/local/bin/before-notebook.d
exec "$@"
