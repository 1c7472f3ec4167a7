#!/usr/bin/env bash
# Builds the fuzz targets as OSS-Fuzz does and checks them as its bad-build check does, without
# docker: instrumented enough, no start-up crash, an empty corpus and the seeds run, from another
# folder, with the outputs read-only.
#
#   scripts/oss-fuzz-check.sh            as they build, if there are nightly and cargo-fuzz
#   scripts/oss-fuzz-check.sh --quick    for CI: stable alone, little optimised, into a folder that is
#                                        removed; where a tool is missing it says so and skips
#
# Needs a C++ compiler, file, objdump, zip and unzip. TOOLCHAIN=nightly is what OSS-Fuzz uses; with
# TOOLCHAIN=stable the sanitizer is unlocked by RUSTC_BOOTSTRAP. Without cargo-fuzz the same flags are
# given to cargo. MM_LOCKSTEP=FILE is the command line, built already, which makes the seeds.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

quick=
case ${1:-} in
--quick) quick=1 ;;
?*) echo "usage: $0 [--quick]" >&2; exit 2 ;;
esac
missing() {
    if [ -n "$quick" ]; then echo "skipped: $1" && exit 0; fi
    echo "oss-fuzz-check: $1" >&2
    exit 2
}

for tool in c++ file objdump zip unzip; do
    command -v "$tool" >/dev/null || missing "$tool is missing"
done

work=$(mktemp -d)
cleanup() { chmod -R u+w "$work"; rm -rf "$work"; }
trap cleanup EXIT
mkdir "$work/built" "$work/bin"

toolchain=${TOOLCHAIN:-nightly}
if [ -z "$quick" ] && rustup run "$toolchain" rustc --version >/dev/null 2>&1; then
    export RUSTUP_TOOLCHAIN=$toolchain
fi
if ! rustc --version | grep -q nightly; then export RUSTC_BOOTSTRAP=1; fi
host=$(rustc -vV | sed -n 's/^host: //p')
[ "$host" = x86_64-unknown-linux-gnu ] || missing "the check is for x86_64-unknown-linux-gnu, this is $host"
[ -n "$(find "$(rustc --print sysroot)/lib/rustlib/$host/lib" -name 'librustc*_rt.asan.a')" ] ||
    missing "this rustc has no AddressSanitizer"

# What OSS-Fuzz sets beside the sanitizer.
flags="-Cdebuginfo=1 -Cforce-frame-pointers"
if [ -n "$quick" ]; then
    flags=
    export CARGO_TARGET_DIR=$work/target CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0
fi
if [ -n "$quick" ] || ! command -v cargo-fuzz >/dev/null; then
    # `cargo fuzz build -O --debug-assertions` comes to this.
    cat >"$work/bin/cargo-fuzz" <<'END'
#!/bin/bash -eu
export RUSTFLAGS="$RUSTFLAGS -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions"
RUSTFLAGS=$(echo $RUSTFLAGS)
cargo build --quiet --release --locked -p fuzz --bins --target x86_64-unknown-linux-gnu
END
    chmod +x "$work/bin/cargo-fuzz"
    PATH=$work/bin:$PATH
fi

say() { printf '== %s\n' "$*"; }
failures=0
fail() { echo "FAILED $*"; failures=$((failures + 1)); }

say "the project folder"
scripts/oss-fuzz-project.sh https://example.org/repository somebody@example.org "$work/project"
! grep -rn '@[A-Z]*@' "$work/project" || fail "the project folder: something is not filled in"
for key in homepage main_repo language primary_contact sanitizers fuzzing_engines; do
    grep -q "^$key:" "$work/project/project.yaml" || fail "project.yaml: no $key"
done

# Their presubmit check asks for it.
for file in Dockerfile build.sh; do
    grep -q http://www.apache.org/licenses/LICENSE-2.0 "$work/project/$file" || fail "$file: no licence"
done

say "build, $(rustc --version)"
SRC=$(dirname "$root") PROJECT=$root OUT=$work/built SANITIZER=address FUZZING_ENGINE=libfuzzer \
    ARCHITECTURE=x86_64 FUZZING_LANGUAGE=rust \
    RUSTFLAGS="--cfg fuzzing -Zsanitizer=address $flags" \
    bash -eu oss-fuzz/build.sh
if [ -n "$quick" ]; then rm -r "$CARGO_TARGET_DIR"; fi

# Whatever a target was told at build time about folders must not matter.
out=$work/elsewhere-$RANDOM
mv "$work/built" "$out"
chmod -R a-w "$out"
contents() { (cd "$out" && find . -type f -exec sha256sum {} + | sort); }
contents >"$work/before"

# As on their machines: a crash must be a crash, whatever the sanitizer makes of it.
export ASAN_OPTIONS=alloc_dealloc_mismatch=0:allocator_may_return_null=1:check_malloc_usable_size=0:detect_odr_violation=0:detect_leaks=1:detect_stack_use_after_return=1:fast_unwind_on_fatal=0:handle_abort=1:handle_segv=1:handle_sigill=1:print_scariness=1:quarantine_size_mb=10:strict_memcmp=1:symbolize=1:use_sigaltstack=1:dedup_token_length=3

# Runs target $1 with the corpus $2 ('' for none) as their run_fuzzer does.
run() {
    local target=$1 seeds=$2 corpus
    shift 2
    corpus=$(mktemp -d "$work/corpus.XXXXXX")
    if [ -n "$seeds" ]; then unzip -q "$seeds" -d "$corpus"; fi
    local flags=()
    while IFS='=' read -r key value; do
        key=$(echo "$key" | tr -d ' ')
        value=$(echo "$value" | tr -d ' ')
        case $key in
        dict) flags+=("-dict=$out/$value") ;;
        max_len | timeout) flags+=("-$key=$value") ;;
        esac
    done < <(grep = "$out/$target.options" 2>/dev/null || true)
    (cd / && env -u OUT "$out/$target" -- -rss_limit_mb=2560 -timeout=25 "$@" "$corpus" "${flags[@]}" \
        </dev/null 2>&1)
}

targets=()
for file in "$out"/*; do
    if [ -x "$file" ] && file "$file" | grep -q ELF && grep -q LLVMFuzzerTestOneInput "$file"; then
        targets+=("$(basename "$file")")
    fi
done
[ "${#targets[@]}" -gt 0 ] || { echo "no fuzz targets found" >&2; exit 1; }

for target in "${targets[@]}"; do
    say "$target"
    binary=$out/$target
    log=$(cd / && "$binary" -- -seed=1337 -runs=4 2>&1) || fail "$target: does not start: $log"
    if grep -q "no interesting inputs were found" <<<"$log"; then fail "$target: not instrumented"; fi
    edges=$(sed -n 's/.*Loaded .* ([0-9]* inline 8-bit counters): *\([0-9]*\).*/\1/p' <<<"$log" | head -1)
    [ "${edges:-0}" -ge 100 ] || fail "$target: ${edges:-0} edges, fewer than 100"
    file "$binary" | grep -q x86-64 || fail "$target: not for x86-64"
    calls=$(objdump -dC "$binary" | grep -cE 'callq?\s+[0-9a-f]+\s+<__asan' || true)
    [ "$calls" -ge 1000 ] || fail "$target: $calls calls of the sanitizer, fewer than 1000"
    log=$(run "$target" "" -seed=1337 -runs=4) || true
    grep -q "Done 4 runs" <<<"$log" || fail "$target: an empty corpus: $log"
    seeds=$out/${target}_seed_corpus.zip
    count=0
    if [ -f "$seeds" ]; then
        count=$(unzip -Z1 "$seeds" | wc -l)
        run "$target" "$seeds" -runs=0 >"$work/log" || fail "$target: the seeds: $(tail -5 "$work/log")"
    else
        fail "$target: no seeds"
    fi
    echo "$edges edges, $calls sanitizer calls, $count seeds"
done

for target in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$target" .rs)
    [ "$target" != decode ] || continue
    [[ " ${targets[*]} " == *" $target "* ]] || fail "$target: was not built"
done
# Whoever runs this as root may write where nobody else may.
contents | diff "$work/before" - || fail "a target wrote beside itself"
if [ "$failures" -gt 0 ]; then
    echo "$failures failures"
    exit 1
fi
say "all ${#targets[@]} targets pass"
