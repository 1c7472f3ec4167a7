#!/bin/sh
# Boots the guest that build.sh made and passes its serial line on. Arguments go to the witness:
# [--seed N] [--steps N] [--execs N] [--for SECONDS] [FILE…], files as paths below corpus/.
# MOVABLE=256M gives it a ZONE_MOVABLE of that size.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/../../target/guest}
if [ ! -e "$out/bzImage" ] || [ ! -e "$out/initrd" ]; then
    echo "skipped: live/guest/build.sh has not been run"
    echo "guest exit 0"
    exit 0
fi
args=
for arg in "$@"; do
    case $arg in
        corpus/*) arg=/programs/${arg#corpus/} ;;
    esac
    args=$args,$arg
done
movable=${MOVABLE:+movablecore=$MOVABLE}
exec "${QEMU:-qemu-system-x86_64}" -nodefaults -no-user-config -display none -M pc -accel tcg \
    -cpu max -smp 1 -m "${MEMORY:-1024}" -kernel "$out/bzImage" -initrd "$out/initrd" -no-reboot \
    -append "console=ttyS0 panic=-1 quiet no_timer_check oops=panic nokaslr $movable live=${args#,}" -serial stdio
