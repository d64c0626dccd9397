//! Which devices the CNI plugin has attached to pods, by its records. While a record exists, the
//! function's address, VLAN, rates, guards and MTU are the plugin's, and no drift.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use ringway_kernel::Root;
use ringway_node::atomic;
use serde::Deserialize;

/// Attachments by device id, in words; or why they cannot be known.
pub type Attached = std::result::Result<BTreeMap<String, String>, String>;

/// A record holds the network's configuration.
const LONGEST: u64 = 2 << 20;

/// What matters here of a record (cni/src/record.rs).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    container_id: String,
    ifname: String,
    boot_id: String,
    phase: String,
    device: String,
}

/// Reads the records in `dir`. One that cannot be understood makes all of it unknown: it may be of
/// any device.
pub fn read(root: &Root, dir: &Path) -> Attached {
    list(root, dir).map_err(|error| format!("{error:#}"))
}

fn list(root: &Root, dir: &Path) -> Result<BTreeMap<String, String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries.with_context(|| format!("list {}", dir.display()))?,
    };
    let mut attached = BTreeMap::new();
    let mut boot = None;
    for entry in entries {
        let name = entry.with_context(|| format!("list {}", dir.display()))?.file_name();
        let name = name.to_string_lossy();
        // the plugin writes under a name with a dot in front, and renames
        if name.starts_with('.') || !name.ends_with(".json") {
            continue;
        }
        let path = dir.join(&*name);
        let bytes = match atomic::read(&path, LONGEST) {
            Err(error) if error.is_not_found() => continue,
            bytes => bytes.context("read the record of an attachment")?,
        };
        let record: Record = serde_json::from_slice(&bytes)
            .with_context(|| format!("parse the record of an attachment {}", path.display()))?;
        let boot = match &boot {
            Some(boot) => boot,
            None => boot.insert(boot_id(root)?),
        };
        if record.is_one(boot) {
            let words = format!("attached to {} as {}", record.container_id, record.ifname);
            attached.insert(record.device, words);
        }
    }
    Ok(attached)
}

impl Record {
    /// Nothing is left of what was attached before the machine started, nor of what is detached but
    /// for its addresses.
    fn is_one(&self, boot: &str) -> bool {
        self.boot_id == boot && self.phase != "detached"
    }
}

fn boot_id(root: &Root) -> Result<String> {
    let path = root.proc().join("sys/kernel/random/boot_id");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use ringway_kernel::testing::Tree;

    use super::*;

    #[test]
    fn live_records_count_and_one_that_is_not_understood_makes_all_unknown() {
        let tree = Tree::new("");
        let dir = tree.path("attachments");
        assert_eq!(read(&tree.root(), &dir), Ok(BTreeMap::new()), "there never was one");
        tree.write("proc/sys/kernel/random/boot_id", "this\n");
        let write = |name: &str, device: &str, boot: &str, phase: &str| {
            let record = serde_json::json!({"version": 1, "phase": phase, "containerId": "c1",
                "ifname": "net1", "bootId": boot, "device": device, "network": "rings"});
            tree.write(&format!("attachments/{name}"), &record.to_string());
        };
        write("a:net1.json", "0000:01:00.1", "this", "attached");
        write("b:net1.json", "0000:01:00.2", "another", "attached");
        write("c:net1.json", "0000:01:00.3", "this", "detached");
        write("d:net1.json", "0000:01:00.4", "this", "attaching");
        write(".e:net1.json.tmp", "0000:01:00.5", "this", "attached");
        let attached = read(&tree.root(), &dir).unwrap();
        assert_eq!(attached.keys().collect::<Vec<_>>(), ["0000:01:00.1", "0000:01:00.4"]);
        assert_eq!(attached["0000:01:00.1"], "attached to c1 as net1");
        tree.write("attachments/f:net1.json", "{}");
        let error = read(&tree.root(), &dir).unwrap_err();
        assert!(error.contains("f:net1.json: missing field"), "{error}");
    }
}
