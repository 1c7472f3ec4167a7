#!/bin/sh
# The nightly job: the reference beside the guest, over the whole corpus and over random programs in
# each kind of memory. Exit code: that of the first run that is not clean. Not part of .ci/run.
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
