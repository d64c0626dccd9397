#!/bin/sh
# Builds the kernel modules that Debian's kernel leaves out, unmodified, from Debian's own source
# of that kernel. Runs inside the node's root. Nothing of them is kept in the repository.
set -eu
kernel=$(ls /lib/modules)
build=/lib/modules/$kernel/build
work=/var/tmp/modules
mkdir -p "$work/vringh"
cd "$work"
tar xf /usr/src/linux-source-*.tar.xz --wildcards --strip-components=1 \
    'linux-source-*/drivers/vhost' 'linux-source-*/drivers/vdpa' 'linux-source-*/drivers/net/netdevsim'
mv drivers/vdpa/vdpa_sim drivers/vdpa/virtio_pci drivers/net/netdevsim .
mv drivers/vhost/vringh.c vringh/

echo 'obj-m += vringh.o' > vringh/Makefile
echo 'obj-m += vdpa_sim.o vdpa_sim_net.o' > vdpa_sim/Makefile
echo 'obj-m += vp_vdpa.o' > virtio_pci/Makefile
# the in-tree Makefile asks for symbols that only a configured netdevsim sets
cat > netdevsim/Makefile <<'M'
obj-m += netdevsim.o
netdevsim-objs := netdev.o dev.o ethtool.o fib.o bus.o health.o hwstats.o udp_tunnels.o
netdevsim-$(CONFIG_BPF_SYSCALL) += bpf.o
netdevsim-$(CONFIG_XFRM_OFFLOAD) += ipsec.o
netdevsim-$(CONFIG_PSAMPLE) += psample.o
netdevsim-$(CONFIG_MACSEC) += macsec.o
M

# vringh's header hides its declarations unless the kernel was configured for it
flags=-DCONFIG_VHOST_RING=1
make -s -C "$build" M="$work/vringh" KCFLAGS=$flags modules
for module in vdpa_sim virtio_pci netdevsim; do
    make -s -C "$build" M="$work/$module" KBUILD_EXTRA_SYMBOLS="$work/vringh/Module.symvers" \
        KCFLAGS=$flags modules
done
mkdir -p "/lib/modules/$kernel/extra"
cp ./*/*.ko "/lib/modules/$kernel/extra/"
depmod "$kernel"

# what built them is not part of the node
cd /
rm -rf "$work" /usr/src/* /usr/lib/gcc /usr/libexec/gcc /usr/share/doc /usr/share/man
