#!/bin/sh
# The nightly job: the reference beside the guest, over the whole corpus and over random programs in
# each kind of memory; then with wrong rules in the reference, which are to be found. Exit code: that
# of the first run that is not clean, or 1. Not part of .ci/run.
set -eu
cd "$(dirname "$0")/../.."
seed=${SEED:-$(date +%Y%m%d)}
execs=${EXECS:-2500}

live/guest/build.sh
live() { cargo run --release --locked --quiet -- live --guest "$@"; }
live corpus
MOVABLE=256M live corpus
live --seed "$seed" --execs "$execs"
MOVABLE=256M live --seed "$seed" --execs "$execs"
CMA=640M live --seed "$seed" --execs "$execs"

for rule in pins-are-gets longterm-stays nothing-splits; do
    echo "a wrong rule: $rule"
    MOVABLE=256M live/guest/boot.sh --seed "$seed" --execs 1000 --planted $rule |
        grep -a '^guest exit 1' || { echo "not found: $rule"; exit 1; }
done
