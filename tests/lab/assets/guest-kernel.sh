#!/bin/sh
# Builds the kernel that guests of the lab boot, from Debian's source of its own (modules.sh has
# unpacked it): what a virtio-net interface needs and nothing else (guest-kernel.config), because a
# guest in an emulated node pays for every line of code that it runs. The result is an ELF file,
# which QEMU boots without unpacking it (PVH, Documentation/arch/x86/boot.rst). Runs inside a root
# that is thrown away.
set -eu
cd /usr/src/linux
make -s tinyconfig
scripts/kconfig/merge_config.sh -m .config /guest-kernel.config
make -s olddefconfig
# an option whose own needs are not met is dropped in silence
grep '^CONFIG_.*=y$' /guest-kernel.config | while read -r option; do
    grep -qx "$option" .config || { echo "guest-kernel.config: $option did not hold" >&2; exit 1; }
done
make -s -j"$(nproc)" vmlinux
strip --strip-all -o /vmlinux vmlinux
