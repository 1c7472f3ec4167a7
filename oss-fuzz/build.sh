#!/bin/bash -eu
# Builds the fuzz targets into $OUT, with seeds, dictionaries and options. Shared by OSS-Fuzz,
# ClusterFuzzLite and scripts/oss-fuzz-check.sh; each sets SRC, OUT and the flags of the sanitizer.
#
# Licensed under MIT or, at your option, the Apache License, Version 2.0: see
# http://www.apache.org/licenses/LICENSE-2.0

cd "${PROJECT:-$SRC/mm-lockstep}"

# What is fuzzed; `decode` is only measured.
targets="sequential concurrent device longterm differential text"

# The toolchain of the image decides; the project itself needs none but stable.
cargo fuzz build -O --debug-assertions

# The command line makes the seeds; it runs here and is not shipped. The sanitizer's flags would
# slow it down, and the targets' folder is not to be rebuilt without them.
tool=${MM_LOCKSTEP:-}
if [ -z "$tool" ]; then
    tools=${CARGO_TARGET_DIR:-target}/tools
    RUSTFLAGS="" cargo build --release --locked -p triage --target-dir "$tools"
    tool=$tools/release/mm-lockstep
fi

built=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/release
seeds=$(mktemp -d)
for target in $targets; do
    cp "$built/$target" "$OUT/"
    if [ "$target" = text ]; then
        mkdir "$seeds/$target"
        find corpus -name '*.txt' | while read -r file; do
            cp "$file" "$seeds/$target/$(echo "${file#corpus/}" | tr / -)"
        done
    else
        "$tool" corpus export --family "$target" --into "$seeds/$target" corpus
    fi
    rm -f "$OUT/${target}_seed_corpus.zip"
    if [ -n "$(ls "$seeds/$target")" ]; then
        (cd "$seeds/$target" && find . -type f | sort | zip -q "$OUT/${target}_seed_corpus.zip" -@)
    fi
    cp "fuzz/$target.options" "$OUT/"
done
scripts/dictionary.sh >"$OUT/text.dict"
rm -rf "$seeds"
