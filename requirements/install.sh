#!/usr/bin/env bash
# Installs Auricle into .venv from pinned files, in one resolver run. No root needed.
#
#   requirements/install.sh runtime|train|dev
#
# PYTHON=/path/to/python3 chooses the interpreter; else the first fitting one on PATH is taken.
set -euo pipefail
cd "$(dirname "$0")/.."

LEVELS=(runtime train dev)
VENV=.venv
OLDEST=11
NEWEST=14
export UV_SYSTEM_CERTS=1 # like pip: trust what the system trusts

say() { printf 'auricle set-up: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

is_fitting() { # is_fitting PYTHON: a Python from 3.11 up to the newest that torch has wheels for
    "$1" -c "import sys; sys.exit(not (3, $OLDEST) <= sys.version_info[:2] <= (3, $NEWEST))" 2>/dev/null
}

find_python() {
    local candidate found
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
        if command -v "$candidate" >/dev/null && is_fitting "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    found=$("${PYTHON:-python3}" --version 2>&1) || found="no ${PYTHON:-python3}"
    die "expected Python 3.$OLDEST to 3.$NEWEST, got $found;" \
        "install one (Debian, Ubuntu: apt install python3 python3-venv) or name it: PYTHON=/path/to/python3 make demo"
}

make_venv() { # make_venv PYTHON: the first way that works, with pip or uv in it
    local python=$1 log
    log=$(mktemp)
    rm -rf "$VENV"
    if "$python" -c 'import ensurepip' 2>/dev/null && "$python" -m venv "$VENV" >"$log" 2>&1; then
        :
    elif command -v uv >/dev/null && uv venv --quiet --seed --python "$python" "$VENV" >"$log" 2>&1; then
        :
    elif command -v virtualenv >/dev/null && virtualenv --quiet --python "$python" "$VENV" >"$log" 2>&1; then
        :
    elif "$python" -m pip --version >/dev/null 2>&1 && "$python" -m venv --without-pip "$VENV" >"$log" 2>&1 &&
        "$python" -m pip --python "$VENV/bin/python" install --quiet pip >"$log" 2>&1; then
        :
    else
        cat "$log" >&2
        rm -rf "$VENV" "$log"
        die "expected Python's venv module with ensurepip, got a $python without it;" \
            "as root: apt install python3-venv (or put uv or virtualenv on PATH), then run make again"
    fi
    rm -f "$log"
}

adopt_pip_settings() { # uv does not read pip's configuration: take over the registry it names
    local index
    index=$("$VENV/bin/python" -m pip config get global.index-url 2>/dev/null || true)
    index=${PIP_INDEX_URL:-$index}
    if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        export UV_DEFAULT_INDEX=$index
    fi
}

level=${1:-}
[[ " ${LEVELS[*]} " == *" $level "* ]] || die "expected one of ${LEVELS[*]}, got '$level'"

if ! [ -x "$VENV/bin/python" ] || ! is_fitting "$VENV/bin/python"; then
    python=$(find_python)
    say "building $VENV with $("$python" --version) ($python)"
    make_venv "$python"
fi

adopt_pip_settings
if ! cmp --silent requirements/bootstrap.txt "$VENV/.bootstrap.txt"; then
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --requirement requirements/bootstrap.txt
    cp requirements/bootstrap.txt "$VENV/.bootstrap.txt"
fi

say "installing the $level packages (the first time this fetches about 3 GB, mostly torch)"
"$VENV/bin/uv" pip install --python "$VENV/bin/python" --requirement "requirements/$level.txt" \
    --no-build-isolation --editable .

# A level holds those before it, so it also marks them as installed.
for done_level in "${LEVELS[@]}"; do
    touch "$VENV/.installed-$done_level"
    [ "$done_level" = "$level" ] && break
done
