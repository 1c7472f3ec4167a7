#!/usr/bin/env bash
# The mutation score (docs/mutants.md): all mutants of `optimized` and `reference` in one build, each judged by the
# first executions of the default hunt. Needs cargo-mutants (`cargo install cargo-mutants --locked`), which makes the
# list. What target/mutants/results.json has is not judged again.
#
#   scripts/mutants.sh
#
# EXECS=20000   executions a mutant
# THREADS=2     mutants at the same time
# LIMIT=10      seconds of CPU time after which a mutant is taken for endless
# AGAIN=1       judge again what was not caught
set -euo pipefail
cd "$(dirname "$0")/.."

work=target/mutants
mkdir -p "$work"
cargo mutants --list --json -p optimized -p reference >"$work/list.json"
cargo build --quiet --release --locked -p mutants
"${CARGO_TARGET_DIR:-target}/release/mutants" "$work/list.json" "$PWD/$work" docs/mutants-reasons.txt docs/mutants.md
