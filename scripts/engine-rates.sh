#!/usr/bin/env bash
# Executions of each target a second of CPU time under libFuzzer, and their shares of what the same
# programs make in process and of decoding alone under the same instrumentation. Prints a table.
#
#   scripts/engine-rates.sh [BUILD...]     [plain]
#
# BUILD is `plain` (domain coverage alone), `coverage` (of the compiler, too; needs cargo-fuzz) or
# `asan` (needs nightly, too).
# RUNS=NUMBER      executions of a repeat                               [100000]
# REPEATS=NUMBER   the median of so many is told; builds take turns     [3]
set -euo pipefail
cd "$(dirname "$0")/.."

triple=$(rustc -vV | sed -n 's/^host: //p')
base=${CARGO_TARGET_DIR:-target}/rates
folders=()
for build in "${@:-plain}"; do
    case $build in
    plain)
        RUSTFLAGS="--cfg fuzzing" cargo build --quiet --release --locked -p fuzz --target "$triple" \
            --target-dir "$base/$build"
        ;;
    coverage) cargo +stable fuzz build -s none --target-dir "$base/$build" ;;
    asan) cargo +nightly fuzz build --target-dir "$base/$build" ;;
    *) echo "$0: there is no build $build" >&2 && exit 2 ;;
    esac
    folders+=("$build=$base/$build/$triple/release")
done
cargo run --quiet --release --locked -p bench --bin engines -- "${RUNS:-100000}" "${REPEATS:-3}" "${folders[@]}"
