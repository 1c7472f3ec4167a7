#!/usr/bin/env bash
# Makes docs/detection.md, .json and .svg: every defect under every strategy, and other tools on the same bugs. Wants a
# quiet machine, and an hour or two of it; what is done is kept in target/detection, and the same command goes on
# where it was interrupted. With libFuzzer if cargo-fuzz is there.
#
#   scripts/detection.sh
#
# SEEDS=5       seeds a defect
# BUDGET=60s    for each trial of the default mix
# OTHERS=20s    for each trial of another strategy
# PEERS=3       seeds under proptest-state-machine; 0: keep what is known of the peers
# THREADS=N     trials at the same time     [one a core]
set -euo pipefail
cd "$(dirname "$0")/.."

work=target/detection
mkdir -p "$work"
cargo build --quiet --release --locked -p triage -p bench
built=${CARGO_TARGET_DIR:-target}/release

status=0
"$built/mm-lockstep" matrix --seeds "${SEEDS:-5}" --budget "${BUDGET:-60s}" --others "${OTHERS:-20s}" \
    ${THREADS:+--threads "$THREADS"} --json docs/detection.json --markdown "$work/matrix.md" --svg docs/detection.svg ||
    status=$?
[ "$status" -le 1 ] || exit "$status"
if [ "${PEERS:-3}" -gt 0 ]; then
    "$built/peers" "${PEERS:-3}" >"$work/peers.new"
    mv "$work/peers.new" "$work/peers.md"
fi
engines=scripts/engine-coverage.sh
if [ "${PEERS:-3}" -gt 0 ] && [ -x "$engines" ] && cargo fuzz --version >/dev/null 2>&1; then
    "$engines" >"$work/engines.new"
    mv "$work/engines.new" "$work/engines.md"
fi
# The picture is beside the page.
sed 's|(\(.*/\)\?detection.svg)|(detection.svg)|' "$work/matrix.md" >docs/detection.md
for part in peers engines; do
    [ ! -f "$work/$part.md" ] || { echo && cat "$work/$part.md"; } >>docs/detection.md
done
exit "$status"
