#!/usr/bin/env bash
# Writes the seed inputs of a fuzz target, made from the text corpus, into a folder.
#
#   scripts/seeds.sh TARGET DIR
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:?which target?}
folder=${2:?into which folder?}
mkdir -p "$folder"
if [ "$target" = text ]; then
    find corpus -name '*.txt' | while read -r file; do
        cp "$file" "$folder/$(echo "${file#corpus/}" | tr / -)"
    done
else
    cargo run --quiet --release --locked -- corpus export --family "$target" --into "$folder" corpus
fi
