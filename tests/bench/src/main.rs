//! Measures the product on the node's kernel. `cargo lab bench` brings this program to the node and
//! makes rows of what it prints: every sample, as JSON.

mod cni; // what ADD and DEL cost
mod cost; // the CPU time of a process

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let samples = match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cni"] => cni::measure()?,
        _ => bail!("usage: ringway-bench cni (in the lab's node; `cargo lab bench` does it all)"),
    };
    println!("{}", serde_json::to_string(&samples)?);
    Ok(())
}
