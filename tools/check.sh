#!/usr/bin/env bash
# All checks in one go, the tests last so that pytest's closing line is the last one. Every check runs, whatever the
# ones before it found; the exit status is 0 only if all of them passed.
set -uo pipefail
cd "$(dirname "$0")/.."

jobs="${JOBS:-2}"
failed=()

check() {
    local name="$1" start=$SECONDS
    printf '\n== %s\n' "$name"
    "${@:2}" || failed+=("$name")
    printf '== %s took %d s\n' "$name" $((SECONDS - start))
}

check lint make --no-print-directory lint
check types make --no-print-directory types
check contracts make --no-print-directory contracts

if [ -n "${CHROMIUM:=$(command -v chromium)}" ]; then
    export CHROMIUM
    browser="browser tests in $CHROMIUM"
else
    browser="no Chromium here (CHROMIUM=... names one), so the browser tests are skipped"
fi
printf '\n== tests, in %s processes; %s\n' "$jobs" "$browser"
((${#failed[@]})) && printf '== already failed: %s\n' "${failed[*]}"

# One thread a process: two processes with two threads each would only get in each other's way on two cores.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# A worker that dies is a failure that names its test; with another in its place xdist may wait for ever.
# shellcheck disable=SC2086  # PYTEST holds several arguments
.venv/bin/python -m pytest -n "$jobs" --dist loadfile --max-worker-restart=0 --cov --cov-report=term ${PYTEST:+--cov-fail-under=0} ${PYTEST:-} || failed+=(tests)

if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
