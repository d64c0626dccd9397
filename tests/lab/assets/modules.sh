#!/bin/sh
# Builds the kernel modules that Debian's kernel leaves out, unmodified, from Debian's own source
# of that kernel, into /modules/VERSION/extra, and leaves that source at /usr/src/linux. Runs inside
# a root that is thrown away. Nothing of them is kept in the repository; /labsf.c and /labswitch.c are the
# lab's own.
set -eu
kernel=$(ls /lib/modules)
build=/lib/modules/$kernel/build
work=/var/tmp/modules
source=/usr/src/linux
tar xf /usr/src/linux-source-*.tar.xz --strip-components=1 --one-top-level=$source
mkdir -p "$work/vringh" "$work/labsf" "$work/labswitch"
cd "$work"
cp -r $source/drivers/vdpa/vdpa_sim $source/drivers/vdpa/virtio_pci $source/drivers/net/netdevsim .
cp $source/drivers/vhost/vringh.c vringh/
cp /labsf.c labsf/
cp /labswitch.c labswitch/

echo 'obj-m += vringh.o' > vringh/Makefile
echo 'obj-m += vdpa_sim.o vdpa_sim_net.o' > vdpa_sim/Makefile
echo 'obj-m += vp_vdpa.o' > virtio_pci/Makefile
echo 'obj-m += labsf.o' > labsf/Makefile
echo 'obj-m += labswitch.o' > labswitch/Makefile
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
for module in vdpa_sim virtio_pci netdevsim labsf labswitch; do
    make -s -j"$(nproc)" -C "$build" M="$work/$module" \
        KBUILD_EXTRA_SYMBOLS="$work/vringh/Module.symvers" KCFLAGS=$flags modules
done
mkdir -p "/modules/$kernel/extra"
cp ./*/*.ko "/modules/$kernel/extra/"
