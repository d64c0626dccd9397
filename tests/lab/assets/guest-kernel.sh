#!/bin/sh
# Builds the kernel that guests of the lab boot, from Debian's source of its own: what a virtio-net
# interface needs and nothing else (guest.config), because a guest in an emulated node pays for
# every line of code that it runs. The result is an ELF file, which QEMU boots without unpacking it
# (PVH, Documentation/arch/x86/boot.rst). Runs inside a root that is thrown away.
set -eu
cd /usr/src
tar xf linux-source-*.tar.xz --strip-components=1 --one-top-level=linux
cd linux
make -s tinyconfig
scripts/kconfig/merge_config.sh -m .config /guest.config
make -s olddefconfig
# an option whose own needs are not met is dropped in silence
grep '^CONFIG_.*=y$' /guest.config | while read -r option; do
    grep -qx "$option" .config || { echo "guest.config: $option did not hold" >&2; exit 1; }
done
make -s -j"$(nproc)" vmlinux
strip --strip-all -o /vmlinux vmlinux
