#!/usr/bin/env bash
# Pins every dependency again: `make lock`. The result serves Python 3.11 and newer, and names no registry.
set -euo pipefail
cd "$(dirname "$0")/.."

export UV_SYSTEM_CERTS=1
export UV_CUSTOM_COMPILE_COMMAND="make lock"

compile() { # compile LEVEL [option...]
    local level=$1
    shift
    .venv/bin/uv pip compile pyproject.toml "$@" \
        --universal --python-version 3.11 --fork-strategy fewest --constraint requirements/bootstrap.txt \
        --no-annotate --no-emit-index-url --no-emit-find-links --quiet --output-file "requirements/$level.txt"
}

# Each level holds the one before it, in the same versions.
compile runtime
compile train --extra train --constraint requirements/runtime.txt
compile dev --extra train --extra silero --extra sherpa --extra dev --constraint requirements/train.txt
