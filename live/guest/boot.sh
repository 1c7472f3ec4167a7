#!/bin/sh
# Boots the guest that build.sh made and passes its serial line on. Arguments go to the witness:
# [--seed N] [--steps N] [--execs N] [--for SECONDS] [--planted RULE] [--say] [FILE…], files and
# folders as paths below corpus/.
# MOVABLE=256M gives it a ZONE_MOVABLE of that size, CMA=640M an area of CMA (more than half of the
# memory, or the kernel takes ordinary pages first). Behind the MEMORY megabytes of the kernel lie
# those of the coherent device.
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
        corpus) arg=/programs ;;
        corpus/*) arg=/programs/${arg#corpus/} ;;
    esac
    args=$args,$arg
done
memory=${MEMORY:-1024}
places="${MOVABLE:+movablecore=$MOVABLE} ${CMA:+cma=$CMA}"
device="mem=${memory}M mmoracle_device.coherent=$((memory << 20))"
exec "${QEMU:-qemu-system-x86_64}" -nodefaults -no-user-config -display none -M pc -accel tcg \
    -cpu max -smp 1 -m $((memory + 32)) -kernel "$out/bzImage" -initrd "$out/initrd" -no-reboot \
    -append "console=ttyS0 panic=-1 quiet no_timer_check oops=panic nokaslr $places $device live=${args#,}" -serial stdio
