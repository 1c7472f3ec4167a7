#!/usr/bin/env bash
# Builds the fuzz targets as OSS-Fuzz does and checks them as its bad-build check does, without
# docker: instrumented enough, no start-up crash, an empty corpus and the seeds run, from another
# folder, with the outputs read-only.
#
#   scripts/oss-fuzz-check.sh
#
# Needs cargo-fuzz, file, objdump, zip and unzip. TOOLCHAIN=nightly is what OSS-Fuzz uses; with
# TOOLCHAIN=stable the sanitizer is unlocked by RUSTC_BOOTSTRAP.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

toolchain=${TOOLCHAIN:-nightly}
if ! rustup run "$toolchain" rustc --version >/dev/null 2>&1; then
    toolchain=stable
fi
export RUSTUP_TOOLCHAIN=$toolchain
if [ "$toolchain" = stable ]; then export RUSTC_BOOTSTRAP=1; fi
for tool in cargo-fuzz file objdump zip unzip; do
    command -v "$tool" >/dev/null || { echo "oss-fuzz-check: $tool is missing" >&2; exit 2; }
done

work=$(mktemp -d)
cleanup() { chmod -R u+w "$work"; rm -rf "$work"; }
trap cleanup EXIT
mkdir "$work/built"

say() { printf '== %s\n' "$*"; }
failures=0
fail() { echo "FAILED $*"; failures=$((failures + 1)); }

say "the project folder"
scripts/oss-fuzz-project.sh https://example.org/repository somebody@example.org "$work/project"
! grep -rn '@[A-Z]*@' "$work/project" || fail "the project folder: something is not filled in"
for key in homepage main_repo language primary_contact sanitizers fuzzing_engines; do
    grep -q "^$key:" "$work/project/project.yaml" || fail "project.yaml: no $key"
done

say "build, $(rustc --version)"
SRC=$(dirname "$root") PROJECT=$root OUT=$work/built SANITIZER=address FUZZING_ENGINE=libfuzzer \
    ARCHITECTURE=x86_64 FUZZING_LANGUAGE=rust \
    RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Cdebuginfo=1 -Cforce-frame-pointers" \
    bash -eu oss-fuzz/build.sh

# Whatever a target was told at build time about folders must not matter.
out=$work/elsewhere-$RANDOM
mv "$work/built" "$out"
chmod -R a-w "$out"

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
    log=$("$binary" -- -seed=1337 -runs=4 2>&1) || fail "$target: does not start: $log"
    if grep -q "no interesting inputs were found" <<<"$log"; then fail "$target: not instrumented"; fi
    edges=$(sed -n 's/.*Loaded .* ([0-9]* inline 8-bit counters): *\([0-9]*\).*/\1/p' <<<"$log" | head -1)
    [ "${edges:-0}" -ge 100 ] || fail "$target: ${edges:-0} edges, fewer than 100"
    file "$binary" | grep -q x86-64 || fail "$target: not for x86-64"
    calls=$(objdump -dC "$binary" | grep -cE 'callq?\s+[0-9a-f]+\s+<__asan' || true)
    [ "$calls" -ge 1000 ] || fail "$target: $calls calls of the sanitizer, fewer than 1000"
    run "$target" "" -seed=1337 -runs=4 | grep -q "Done 4 runs" || fail "$target: an empty corpus"
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
if [ "$failures" -gt 0 ]; then
    echo "$failures failures"
    exit 1
fi
say "all ${#targets[@]} targets pass"
