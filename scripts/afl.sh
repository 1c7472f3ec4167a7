#!/usr/bin/env bash
# Fuzzes one target with AFL++: a main instance and secondaries that sync through one folder.
#
#   scripts/afl.sh TARGET [INSTANCES [SECONDS]]
#
# SEEDS=DIR   first inputs            [made from corpus/]
# OUT=DIR     the folder that they sync through; more machines that share it help each other,
#             each with a NAME of its own           [afl/TARGET]
# NAME=WORD   this machine            [host name]
# ROLE=main|more   whether this machine has the main instance   [main]
#
# Needs cargo-afl: cargo install cargo-afl --locked
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:?which target? sequential, concurrent, device, longterm, differential, text}
instances=${2:-$(nproc)}
seconds=${3:-}
out=${OUT:-afl/$target}
name=${NAME:-$(hostname | tr -cd 'A-Za-z0-9-' | cut -c1-20)}
build=${CARGO_TARGET_DIR:-target}/afl

cargo afl build --quiet --release --locked -p fuzz --features afl --bin "$target" --target-dir "$build"
seeds=${SEEDS:-}
if [ -z "$seeds" ]; then
    seeds=$(mktemp -d)
    trap 'rm -rf "$seeds"' EXIT
    scripts/seeds.sh "$target" "$seeds"
fi

export AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_AUTORESUME=1
# Several instances on few cores would else refuse to start for want of a free one.
if [ "$instances" -gt 1 ]; then export AFL_NO_AFFINITY=1; fi
mkdir -p "$out"

pids=()
stop() { kill "${pids[@]}" 2>/dev/null || true; }
trap 'stop; [ -n "${SEEDS:-}" ] || rm -rf "$seeds"' EXIT
for number in $(seq 1 "$instances"); do
    role=(-S "$name-$number")
    if [ "$number" = 1 ] && [ "${ROLE:-main}" = main ]; then role=(-M "$name-$number"); fi
    cargo afl fuzz -i "$seeds" -o "$out" "${role[@]}" ${seconds:+-V "$seconds"} \
        "$build/release/$target" >"$out/$name-$number.log" 2>&1 &
    pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done

for stats in "$out"/*/fuzzer_stats; do
    field() { sed -n "s/^$1 *: //p" "$stats"; }
    echo "$(basename "$(dirname "$stats")"): $(field execs_done) executions, $(field execs_per_sec)/s," \
        "stability $(field stability), $(field corpus_count) inputs, $(field saved_crashes) crashes"
done
if [ "$status" -ne 0 ]; then
    tail -n 20 "$out/$name"-*.log
fi
exit "$status"
