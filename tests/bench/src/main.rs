//! Measures the product on the node's kernel. `cargo lab bench` brings this program to the node and
//! makes rows of what it prints: every sample, as JSON.

mod cni; // what ADD and DEL cost
mod cost; // the CPU time of a process
mod node; // what carving a card and changing a function take
mod observe; // what the agent's look at 256 functions and its plan for them cost
mod plugin; // what the device plugin costs, and what it answers beside another one
mod trace; // system calls and memory of a process
mod tree; // cards like sysfs's

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

/// Where the lab puts programs on its node, and nobody else does.
const HOME: &str = "/opt/lab";

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let samples = match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cni"] => serde_json::to_string(&cni::measure(None)?)?,
        ["cni", peer] => serde_json::to_string(&cni::measure(Some(peer))?)?,
        ["node"] => serde_json::to_string(&node::measure()?)?,
        ["observe"] => serde_json::to_string(&observe::measure()?)?,
        ["plugin"] => serde_json::to_string(&plugin::measure(None)?)?,
        ["answers", peer] => serde_json::to_string(&plugin::compare(peer)?)?,
        ["plugin", peer] => serde_json::to_string(&plugin::measure(Some(peer))?)?,
        _ => bail!(
            "usage: ringway-bench cni|plugin [PEER]|node|observe|answers PEER (in the lab's node, by \
             `cargo lab bench` and `cargo lab compare`)"
        ),
    };
    println!("{samples}");
    Ok(())
}

/// Another program that the lab has put on its node. On any other machine it is an error: what is
/// measured takes every virtual function and vDPA device away.
fn beside_this(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    ensure!(program.starts_with(HOME), "not in {HOME}, where `cargo lab bench` puts it");
    Ok(program.with_file_name(name))
}
