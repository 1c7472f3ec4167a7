#!/usr/bin/env bash
# Writes the project folder for a pull request to OSS-Fuzz: oss-fuzz/ with the two things in it that
# depend on where the project lives and who answers for it.
#
#   scripts/oss-fuzz-project.sh REPOSITORY CONTACT DIR
#
# REPOSITORY   where OSS-Fuzz clones from, a https address
# CONTACT      the Google account that gets the reports
# DIR          projects/mm-lockstep of a checkout of OSS-Fuzz
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { echo "usage: $0 REPOSITORY CONTACT DIR: $1" >&2; exit 2; }
repository=${1:-}
contact=${2:-}
folder=${3:-}
[[ $repository =~ ^https://[A-Za-z0-9./_-]+$ ]] || usage "a https address, please"
[[ $contact =~ ^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$ ]] || usage "the address of an account, please"
[ -n "$folder" ] || usage "into which folder?"

mkdir -p "$folder"
for file in project.yaml Dockerfile build.sh; do
    sed "/^# A template/d; s|@REPOSITORY@|$repository|g; s|@CONTACT@|$contact|g" \
        "oss-fuzz/$file" >"$folder/$file"
done
chmod +x "$folder/build.sh"
