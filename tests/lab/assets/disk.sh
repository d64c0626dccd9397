#!/bin/sh
# Last touches to the node's root, inside it, before it becomes a disk image.
set -eu
depmod "$(ls /lib/modules)"
systemctl enable systemd-networkd ssh
# nothing that wakes up by itself, no libvirt daemon but those that pods start, and no second manager
# of the network but when a test wants one
for unit in apt-daily.timer apt-daily-upgrade.timer man-db.timer e2scrub_all.timer fstrim.timer \
    dpkg-db-backup.timer systemd-networkd-wait-online.service e2scrub_reap.service \
    NetworkManager.service NetworkManager-wait-online.service NetworkManager-dispatcher.service \
    libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket \
    libvirt-guests.service virtlogd.service virtlogd.socket virtlockd.socket; do
    systemctl disable "$unit" || true
done
# AppArmor stays, and with it the container runtime's profile; compiling those of programs that the
# node does not run would take a third of an emulated boot
find /etc/apparmor.d -maxdepth 1 -type f -delete
mkdir -p /lab /opt/bin /opt/cni/bin
# what systemd does once after /usr has changed was done by the packages (systemd-update-done)
touch -r /usr /etc/.updated /var/.updated
