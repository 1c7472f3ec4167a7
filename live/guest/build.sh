#!/bin/sh
# Builds the guest: a small Linux from Debian's package linux-source-6.12 with our driver, and an
# initrd with the witness. Everything lands in $OUT (default target/guest); the kernel is kept
# there under a hash of what it is made of and built again only when that changes.
#
# Needs: gcc make bc flex bison libelf-dev cpio xz-utils e2fsprogs busybox-static, cargo, and
# apt-get to download the package. Asks for no privileges.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${OUT:-$root/target/guest}
jobs=${JOBS:-2}
mkdir -p "$out"
cd "$out"

if ! ls linux-source-6.12_*.deb >/dev/null 2>&1; then
    apt-get download linux-source-6.12
fi
deb=$(ls linux-source-6.12_*.deb | tail -1)
hash=$(cat "$deb" "$here"/mmoracle*.[ch] "$here/oracle.config" | sha256sum | cut -c1-16)
if [ ! -e "bzImage-$hash" ]; then
    if [ ! -d tree ]; then
        mkdir -p deb tree
        dpkg -x "$deb" deb
        tar xf deb/usr/src/linux-source-6.12.tar.xz -C tree --strip-components=1
        rm -r deb
        echo 'obj-y += mmoracle.o mmoracle_device.o' >> tree/mm/Makefile
    fi
    for file in "$here"/mmoracle*.[ch]; do
        cmp -s "$file" "tree/mm/${file##*/}" || cp "$file" tree/mm/
    done
    (
        cd tree
        make -s tinyconfig
        scripts/kconfig/merge_config.sh -m .config "$here/oracle.config" >/dev/null
        make -s olddefconfig
        grep '^CONFIG_' "$here/oracle.config" | while read -r line; do
            grep -qx "$line" .config || { echo "not accepted: $line" >&2; exit 1; }
        done
        nice -n 19 make -s -j"$jobs" bzImage
    )
    cp tree/arch/x86/boot/bzImage "bzImage-$hash"
fi
ln -sf "bzImage-$hash" bzImage

# The witness, without shared libraries.
target=x86_64-unknown-linux-gnu
(cd "$root" && RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --release -p live --bin live-guest --target $target --target-dir "$out/cargo")

rm -rf rd && mkdir -p rd/bin rd/proc rd/sys rd/dev rd/disk rd/programs
cp "${BUSYBOX:-/bin/busybox}" rd/bin/busybox
cp "$here/init" rd/init && chmod +x rd/init
cp "cargo/$target/release/live-guest" rd/
(cd "$root/corpus" && find . -name '*.txt' | cpio -pdm --quiet "$out/rd/programs")
rm -f rd/disk.img && /sbin/mke2fs -q -t ext2 -b 4096 rd/disk.img 4M
(cd rd && find . | cpio -o -H newc --quiet) > initrd
echo "$out: kernel $hash from $deb"
