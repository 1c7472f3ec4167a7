#!/usr/bin/env bash
# Hunts with every mix of operations on a version that is meant to be right, one after the other and over again with
# new seeds, and adds up. Ends at the first finding with exit code 1; Ctrl-C ends it at any time.
#
#   scripts/soak.sh [SECONDS] [SEED]   how long in all [3600]; the first seed [1]
#
# EACH=60                            seconds a hunt
# TOOL=FILE                          mm-lockstep, built already
# FINDINGS=DIR                       where findings go [findings]
# VARIANT=NAME                       a variant instead of the usual version
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-3600} seed=${2:-1} each=${EACH:-60}
tool=${TOOL:-}
if [ -z "$tool" ]; then
    cargo build --quiet --release --locked -p triage
    tool=${CARGO_TARGET_DIR:-target}/release/mm-lockstep
fi
mixes="everything sequential concurrent device longterm"

total=0 end=$((SECONDS + seconds))
trap 'printf "%s executions, no finding\n" "$total"' EXIT
while [ "$SECONDS" -lt "$end" ]; do
    for mix in $mixes; do
        family=$([ "$mix" = everything ] || echo "--family $mix")
        status=0
        # shellcheck disable=SC2086
        report=$("$tool" hunt --for "${each}s" --seed "$seed" $family ${VARIANT:+--variant "$VARIANT"} --format json \
            --findings "${FINDINGS:-findings}") || status=$?
        count=$(sed -n 's/^ *"programs": \([0-9]*\),*$/\1/p' <<<"$report" | head -n 1)
        if [ "$status" -ne 0 ]; then
            trap - EXIT
            printf '%s, seed %s: exit code %s after %s executions in all\n' "$mix" "$seed" "$status" "$total"
            exit "$status"
        fi
        total=$((total + count))
        printf '%-12s seed %-6s %12s executions, %s in all\n' "$mix" "$seed" "$count" "$total"
        [ "$SECONDS" -lt "$end" ] || break
    done
    seed=$((seed + 1))
done
