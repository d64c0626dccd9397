#!/bin/sh
# Last touches to the node's root, inside it, before it becomes a disk image.
set -eu
update-initramfs -u
systemctl enable systemd-networkd ssh
# nothing that wakes up by itself, and no libvirt daemon but those that pods start
for unit in apt-daily.timer apt-daily-upgrade.timer man-db.timer e2scrub_all.timer fstrim.timer \
    dpkg-db-backup.timer systemd-networkd-wait-online.service e2scrub_reap.service \
    libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket \
    libvirt-guests.service virtlogd.socket virtlockd.socket; do
    systemctl disable "$unit" || true
done
mkdir -p /lab /opt/bin /opt/cni/bin
