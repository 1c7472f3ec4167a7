#!/usr/bin/env bash
# How soon libFuzzer with domain coverage alone finds concurrent defects, from nothing, on one core.
# Prints a table.
#
#   scripts/engine-detection.sh [DEFECT...]     [those of corpus/defects that need CPUs or speculation]
#
# SEEDS="1 2 3"   libFuzzer's seeds, a run each       [1]
# LIMIT=SECONDS   of CPU time for a run               [300]
# LENGTH=BYTES    of inputs, at most                    [208]
# TARGET=NAME     [concurrent]
set -euo pipefail
cd "$(dirname "$0")/.."

target=${TARGET:-concurrent}
limit=${LIMIT:-300}
length=${LENGTH:-208}
seeds=${SEEDS:-1}
if [ $# -eq 0 ]; then
    # File names are ID-NAME.txt.
    set -- $(grep -lE '^ *(phase|schedule):|faults=spf' corpus/defects/*.txt |
        sed 's|.*/[^-]*-||; s|\.txt$||')
fi

triple=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing" cargo build --quiet --release --locked -p fuzz --bin "$target" --target "$triple"
binary=${CARGO_TARGET_DIR:-target}/$triple/release/$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "| defect | found as | seed | executions | CPU time |"
echo "|---|---|---|---|---|"
missed=0
for defect in "$@"; do
    for seed in $seeds; do
        # CPU time: wall clock says little on a machine that does other things, too.
        seconds=$(
            (ulimit -t "$limit" && MM_LOCKSTEP_DEFECT=$defect exec "$binary" -seed="$seed" -max_len="$length" \
                -print_final_stats=1 -artifact_prefix="$work/") >"$work/log" 2>&1 || true
            times >"$work/times" # not through a pipe, which would be another shell
            sed -n '2s/ .*//p' "$work/times"
        ) 2>/dev/null
        field() { sed -n "s/^$1: *//p" "$work/log" | head -1; }
        found=$(field DEDUP_TOKEN)
        # What the correct version shows as well is not the defect.
        for input in "$work"/crash-*; do
            [ -z "$found" ] || "$binary" "$input" >/dev/null 2>&1 || found=
            rm -f "$input"
        done
        if [ -z "$found" ]; then missed=$((missed + 1)); fi
        echo "| \`$defect\` | ${found:-not found} | $seed | $(field stat::number_of_executed_units)" \
            "| $seconds |"
    done
done
[ "$missed" -eq 0 ] || { echo "$missed not found" >&2; exit 1; }
