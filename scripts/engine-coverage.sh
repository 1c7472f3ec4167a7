#!/usr/bin/env bash
# What guides libFuzzer best to the planted defects: coverage of the code, of the domain (states and schedules of the
# memory managers), or both? Prints a table. Needs cargo-fuzz.
#
#   scripts/engine-coverage.sh [DEFECT...]     [a few of each kind]
#
# SEEDS="1 2 3"   libFuzzer's seeds, a run each       [1 2 3]
# LIMIT=SECONDS   of CPU time for a run               [60]
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=${SEEDS:-1 2 3} limit=${LIMIT:-60}
[ $# -gt 0 ] || set -- fork-shares-pinned unwind-stops-at-null batch-forgotten lost-wakeup gup-fast-no-recheck \
    fork-without-write-protect-seq

triple=$(rustc -vV | sed -n 's/^host: //p')
base=$PWD/${CARGO_TARGET_DIR:-target}/engine-coverage
mkdir -p "$base"
RUSTFLAGS="--cfg fuzzing" cargo build --quiet --release --locked -p fuzz --bin differential --target "$triple" \
    --target-dir "$base/domain"
cargo +stable fuzz build -s none --target-dir "$base/both" differential >&2
# The same sources, but the map of the domain is where libFuzzer does not look.
rm -rf "$base/source" && mkdir "$base/source"
git ls-files -z | xargs -0 cp --parents -t "$base/source"
sed -i '/link_section.*__libfuzzer_extra_counters/d' "$base/source/fuzz/src/cells.rs"
! grep -q __libfuzzer_extra_counters "$base/source/fuzz/src/cells.rs"
(cd "$base/source" && cargo +stable fuzz build -s none --target-dir "$base/code" differential) >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat <<TEXT
## Under libFuzzer

The target \`differential\` from an empty corpus, with coverage of the domain alone, of the code alone, and both; at most
$limit s of CPU time a run. Medians over the seeds $seeds. Made by \`scripts/engine-coverage.sh\`.

| defect | domain: found | executions | s | code: found | executions | s | both: found | executions | s |
|---|---|---|---|---|---|---|---|---|---|
TEXT
middle() { sort -n | sed -n "$((($(wc -w <<<"$seeds") + 1) / 2))p"; }
for defect in "$@"; do
    row="| $defect |"
    for build in domain code both; do
        found=0 execs="" times=""
        for seed in $seeds; do
            seconds=$(
                (ulimit -t "$limit" && MM_LOCKSTEP_DEFECT=$defect exec "$base/$build/$triple/release/differential" \
                    -seed="$seed" -max_len=1024 -print_final_stats=1 -artifact_prefix="$work/") >"$work/log" 2>&1 || true
                times >"$work/times"
                sed -n '2s/ .*//p' "$work/times"
            ) 2>/dev/null
            # "0m1.234s"; what was not found is the longest.
            seconds=$(sed 's/m/ /; s/s//' <<<"$seconds" | awk '{ print $1 * 60 + $2 }')
            if grep -q '^DEDUP_TOKEN' "$work/log"; then
                found=$((found + 1))
                execs+=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")$'\n'
            else
                execs+=999999999$'\n' seconds=999999
            fi
            times+=$seconds$'\n'
        done
        count=$(wc -w <<<"$seeds")
        execs=$(printf %s "$execs" | middle) times=$(printf %s "$times" | middle)
        [ "$execs" -lt 999999999 ] || { execs=- times=-; }
        row+=" $found/$count | $execs | $times |"
    done
    echo "$row"
done
