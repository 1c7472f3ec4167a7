#!/usr/bin/env bash
# Makes a pile of findings from 20 defects with three engines, triages it by what is seen alone, and
# says how many buckets came of it and which of them mix defects.
#
#   scripts/pile.sh DIR [SEED]     DIR must not exist; another seed makes another pile [1]
#
# FUZZES=3 AFLS=3           findings of libFuzzer and AFL++ for each defect; 0: do without it
# EACH=10                   findings for each defect; the hunt finds what is missing
# SECONDS_EACH=5            how long libFuzzer looks for one finding, and AFL++ twice that for all
# TOOL=FILE                 mm-lockstep, built already
# FUZZ=FILE AFL=FILE        the target `sequential`, built already for libFuzzer or AFL++
# AFL++ needs cargo-afl: cargo install cargo-afl --locked
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:?into which folder?}
seed=${2:-1}
fuzzes=${FUZZES:-3} afls=${AFLS:-3} each=${EACH:-10} seconds=${SECONDS_EACH:-5}
target=${CARGO_TARGET_DIR:-target}
defects="put-before-unlock fault-folio-unlocked-by-finalize thp-collect-ref-leak entry-hand-off-unlocks-twice
    failed-migrate-to-ram-loses-page own-pin-blocks-migration gup-sees-device-private batch-below-pmd
    pin-forgets-pincount pin-bias-on-large batch-counts-whole-mask batch-not-clamped grab-not-given-back
    and-instead-of-or unpin-stops-at-null fork-copies-for-parent fork-keeps-exclusive
    fork-leaves-parent-writable mremap-loses-mapcount zap-whole-huge"
mkdir "$dir"

tool=${TOOL:-}
if [ -z "$tool" ]; then
    cargo build --quiet --release --locked -p triage
    tool=$target/release/mm-lockstep
fi
if [ "$fuzzes" -gt 0 ] && [ -z "${FUZZ:-}" ]; then
    triple=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS="--cfg fuzzing" cargo build --quiet --release --locked -p fuzz --bin sequential \
        --target "$triple" --target-dir "$target/pile"
    FUZZ=$target/pile/$triple/release/sequential
fi
if [ "$afls" -gt 0 ] && [ -z "${AFL:-}" ]; then
    cargo afl build --quiet --release --locked -p fuzz --features afl --bin sequential --target-dir "$target/afl"
    AFL=$target/afl/release/sequential
fi
"$tool" corpus export --family sequential --into "$dir/seeds" corpus/seeds >"$dir/log"

# What the three engines leave behind.
findings() { find "$1" -name 'crash-*' -o -path '*/crashes/id:*' -o -path '*/findings-*/*.txt'; }

for defect in $defects; do
    pile=$dir/pile/$defect
    mkdir -p "$pile/artifacts/sequential"
    export MM_LOCKSTEP_DEFECT=$defect
    for ((i = 1; i <= fuzzes; i++)); do
        "$FUZZ" -seed=$((seed * 1000 + i)) -max_total_time="$seconds" \
            -artifact_prefix="$pile/artifacts/sequential/" >>"$dir/log" 2>&1 || true
    done
    if [ "$afls" -gt 0 ]; then
        AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_AFFINITY=1 \
            cargo afl fuzz -s "$seed" -V $((2 * seconds)) -i "$dir/seeds" -o "$pile/afl" "$AFL" \
            >>"$dir/log" 2>&1 || true
        # Keep the first few.
        find "$pile/afl" -path '*/crashes/id:*' | sort | tail -n +$((afls + 1)) | tr '\n' '\0' | xargs -0 -r rm
    fi
    unset MM_LOCKSTEP_DEFECT
    for ((i = 0; i < 2 * each && $(findings "$pile" | wc -l) < each; i++)); do
        "$tool" hunt --defect "$defect" --seed $((seed * 1000 + i)) --execs 1000000 --findings "$pile/findings-$i" \
            >>"$dir/log" 2>&1 || true
    done
done
count() { findings "$dir/pile" | grep -c "$1" || true; }
echo "found by libFuzzer $(count /crash-), by AFL++ $(count /crashes/), by the hunt $(count /findings-)"

begin=$SECONDS
for defect in $defects; do
    "$tool" triage "$dir/pile/$defect" --by-signature --defect "$defect" --findings "$dir/findings" \
        >>"$dir/log" 2>&1 || true
done
echo "triaged in $((SECONDS - begin)) s"

buckets=0 mixed=0
for bucket in "$dir"/findings/*/; do
    shown=$(cat "$bucket"runs/*.json | sed -n 's|.*"file": ".*/pile/\([^/]*\)/.*|\1|p' | sort | uniq -c)
    buckets=$((buckets + 1))
    [ "$(echo "$shown" | wc -l)" = 1 ] || { mixed=$((mixed + 1)) && echo "mixed: $bucket"; }
    echo "$(basename "$bucket"):" $shown
done
inputs=$(cat "$dir"/findings/*/runs/*.json | grep -c '"file": ')
echo "$inputs artifacts of $(echo $defects | wc -w) defects: $buckets buckets, $mixed mixed"
[ "$mixed" = 0 ] && [ "$buckets" -le 22 ]
