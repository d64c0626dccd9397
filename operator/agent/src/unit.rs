//! The systemd units, as text. Of the time before kubelet: one runs [`crate::boot`] and publishes
//! devices, the other hands them out until the device plugin's pod does. And a timer that has the CNI
//! plugin collect what pods have left.

use std::path::Path;

use crate::args::Install;

/// The one that carves.
pub const CARVE: &str = "ringway.service";
/// The one that hands out.
pub const DEVICE_PLUGIN: &str = "ringway-device-plugin.service";
/// What wants both: the machine's start and nothing later, because they are for the time before
/// kubelet.
pub const WANTED_BY: &str = "multi-user.target";
/// The one that collects.
pub const COLLECT: &str = "ringway-collect.service";
/// When it does.
pub const COLLECT_TIMER: &str = "ringway-collect.timer";
/// What wants timers.
pub const TIMER_WANTED_BY: &str = "timers.target";

/// The unit that carves.
pub fn carve(install: &Install, state: &Path) -> String {
    let Install { to, kubelet_unit, kubelet_dir, cdi_dir, devinfo_dir, hook, .. } = install;
    let (to, state) = (to.display(), state.display());
    let hook = hook.iter().map(|hook| format!(" --hook={}", hook.display())).collect::<String>();
    let kubelet = kubelet_dir.display();
    let (cdi, devinfo) = (cdi_dir.display(), devinfo_dir.display());
    format!(
        "\
# Written by `ringway-agent install`, and again with each start of the agent's pod.
[Unit]
Description=Ringway: SR-IOV functions and vDPA devices, before kubelet starts
ConditionPathExists={state}/node.json
# A card that carries the node's own traffic must not be touched, and which one does shows when the
# network is up.
Wants=network-online.target systemd-udev-settle.service
After=network-online.target systemd-modules-load.service systemd-udev-settle.service
Before={kubelet_unit}

[Service]
Type=oneshot
RemainAfterExit=yes
# Kubelet starts in any case; what is left to do, the agent in its pod does.
TimeoutStartSec=300
ExecStart=-{to}/ringway-agent --state-dir={state} boot --kubelet-dir={kubelet}
ExecStart={to}/ringway-device-plugin --pools={state}/pools.json --cdi-dir={cdi} \
         --devinfo-dir={devinfo}{hook} publish

[Install]
WantedBy={WANTED_BY}
"
    )
}

/// The unit that hands out. It is there when kubelet asks for the devices of pods that it finds on its
/// node, which a pod of its own could not be.
pub fn device_plugin(install: &Install, state: &Path) -> String {
    let Install { to, kubelet_unit, kubelet_dir, cdi_dir, devinfo_dir, hook, .. } = install;
    let (to, state, kubelet) = (to.display(), state.display(), kubelet_dir.display());
    let hook = hook.iter().map(|hook| format!(" --hook={}", hook.display())).collect::<String>();
    let (cdi, devinfo) = (cdi_dir.display(), devinfo_dir.display());
    format!(
        "\
# Written by `ringway-agent install`, and again with each start of the agent's pod.
[Unit]
Description=Ringway: devices for pods, until the device plugin's pod runs
ConditionPathExists={state}/pools.json
After={CARVE}
Before={kubelet_unit}

[Service]
ExecStart={to}/ringway-device-plugin --pools={state}/pools.json --kubelet-dir={kubelet} \
         --cdi-dir={cdi} --devinfo-dir={devinfo}{hook} --until-replaced
Restart=on-failure
CapabilityBoundingSet=
NoNewPrivileges=yes

[Install]
WantedBy={WANTED_BY}
"
    )
}

/// The unit that collects: no runtime sends GC for secondary networks.
pub fn collect(cni_bin: &Path) -> String {
    let bin = cni_bin.display();
    format!(
        "\
# Written by `ringway-agent install`, and again with each start of the agent's pod.
[Unit]
Description=Ringway: undo attachments whose pods are gone
ConditionDirectoryNotEmpty=/var/lib/ringway/attachments

[Service]
Type=oneshot
ExecStart={bin}/ringway collect --cni-path={bin}
"
    )
}

/// When it does so.
pub fn collect_timer() -> String {
    format!(
        "\
# Written by `ringway-agent install`, and again with each start of the agent's pod.
[Unit]
Description=Ringway: every five minutes, undo attachments whose pods are gone

[Timer]
OnBootSec=5min
OnUnitActiveSec=5min

[Install]
WantedBy={TIMER_WANTED_BY}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Verb};
    use clap::Parser as _;

    #[test]
    fn every_path_is_where_it_was_told_to_be() {
        let line = "ringway-agent install --to /o/bin --kubelet-unit k3s.service \
                    --kubelet-dir /k --cdi-dir /c --devinfo-dir /d --hook /cni/ringway --cni-bin /cni";
        let args = Args::parse_from(line.split_whitespace());
        let Verb::Install(install) = args.verb else { panic!("another verb") };
        let state = &args.paths.state_dir;
        let text = carve(&install, state)
            + &device_plugin(&install, state)
            + &collect(&install.cni_bin)
            + &collect_timer();
        for part in [
            "Before=k3s.service\n",
            "After=network-online.target ",
            "ConditionPathExists=/var/lib/ringway/node.json\n",
            "ExecStart=-/o/bin/ringway-agent --state-dir=/var/lib/ringway boot --kubelet-dir=/k\n",
            "ExecStart=/o/bin/ringway-device-plugin --pools=/var/lib/ringway/pools.json \
             --cdi-dir=/c --devinfo-dir=/d --hook=/cni/ringway publish\n",
            "ExecStart=/cni/ringway collect --cni-path=/cni\n",
            "WantedBy=timers.target\n",
            "After=ringway.service\nBefore=k3s.service\n",
            "ExecStart=/o/bin/ringway-device-plugin --pools=/var/lib/ringway/pools.json \
             --kubelet-dir=/k --cdi-dir=/c --devinfo-dir=/d --hook=/cni/ringway --until-replaced\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }

    #[test]
    fn what_systemd_would_read_otherwise_is_refused() {
        for bad in ["relative", "/a b", "/a%n", "/a$b", "/a\"b", "/../a"] {
            let args = ["ringway-agent", "install", "--to", bad];
            assert!(Args::try_parse_from(args).is_err(), "{bad}");
        }
        for bad in ["kubelet", "a b.service", "../kubelet.service", ".service"] {
            let args = ["ringway-agent", "install", "--to", "/o", "--kubelet-unit", bad];
            assert!(Args::try_parse_from(args).is_err(), "{bad}");
        }
    }
}
