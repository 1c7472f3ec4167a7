#!/usr/bin/env bash
# What a corpus covers of the sources, as HTML.
#
#   scripts/coverage.sh TARGET [CORPUS]     the report is coverage/TARGET/index.html
#
# Needs LLVM 19 or newer (Debian: llvm-19), or the rustup component llvm-tools.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:?which target? sequential, concurrent, device, longterm, differential, text}
corpus=${2:-}
tool() {
    local sysroot
    sysroot=$(rustc --print sysroot)
    find "$sysroot" -name "$1" -type f 2>/dev/null | head -1 | grep . && return
    for version in 22 21 20 19; do
        command -v "$1-$version" && return
    done
    echo "coverage: no $1 of LLVM 19 or newer" >&2
    return 1
}
profdata=$(tool llvm-profdata)
cov=$(tool llvm-cov)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "$corpus" ]; then
    corpus=$work/seeds
    scripts/seeds.sh "$target" "$corpus"
fi
build=${CARGO_TARGET_DIR:-target}/coverage
RUSTFLAGS="-Cinstrument-coverage" \
    cargo build --quiet --release --locked -p fuzz --bin "$target" --target-dir "$build"
binary=$build/release/$target

# The `main` that replays files: no engine is needed to see what a corpus reaches.
find "$corpus" -type f -print0 |
    LLVM_PROFILE_FILE="$work/%m-%p.profraw" xargs -0 -n 2000 "$binary" >/dev/null
"$profdata" merge -sparse "$work"/*.profraw -o "$work/all.profdata"
filter=(-instr-profile="$work/all.profdata" "$binary" -ignore-filename-regex='/rustc/|/registry/src/')
mkdir -p "coverage/$target"
"$cov" show -format=html -output-dir="coverage/$target" "${filter[@]}"
"$cov" report "${filter[@]}" | tail -1
echo "coverage/$target/index.html"
