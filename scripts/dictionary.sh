#!/usr/bin/env bash
# The dictionary of the `text` target: every word of the text corpus.
#
#   scripts/dictionary.sh >text.dict
set -euo pipefail
cd "$(dirname "$0")/.."

echo '# Words of the text form.'
find corpus -name '*.txt' -exec sed 's/#.*//' {} + | grep -oE '[A-Za-z_]+[=:]?' | sort -u | sed 's/.*/"&"/'
