//! From the hooks to the guest's result.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::runtime::Runtime;

use crate::args::Args;
use crate::clock::Clock;
use crate::domain::{self, Parts};
use crate::hooks::Hooks;
use crate::libvirt::Libvirt;
use crate::serial::{self, Serial};

/// How long a guest may take to power off once it has said its result.
const POWER_OFF: Duration = Duration::from_secs(120);
/// How often to look whether QEMU still runs: a look is a `virsh`, which costs an emulated node
/// seconds that the guest could use.
const STATE_PAUSE: Duration = Duration::from_secs(30);

/// Boots the VM and waits for its result. The hooks are told of the end, whatever it is: a pod ends
/// only when its sidecars do.
///
/// # Errors
/// A hook, libvirt or QEMU refuse, the guest lost a ping, or it does not say a result in time.
pub fn run(args: &Args, runtime: &Runtime) -> Result<()> {
    let clock = Clock::start();
    // libvirt needs seconds to begin: the hooks have time until then
    let mut libvirt = Libvirt::start(&args.run_dir)?;
    let hooks = Hooks::collect(&args.hooks_dir, args.hook_sidecars, args.deadline);
    let hooks = runtime.block_on(hooks)?;
    for line in hooks.describe() {
        clock.say(&format!("hook {line}"));
    }
    let result = boot(args, runtime, &hooks, &mut libvirt, clock);
    if result.is_err() {
        println!("{}", libvirt.logs());
    }
    let told = runtime.block_on(hooks.shutdown()).context("tell the hooks of the end");
    result.and(told)
}

fn boot(
    args: &Args,
    runtime: &Runtime,
    hooks: &Hooks,
    libvirt: &mut Libvirt,
    clock: Clock,
) -> Result<()> {
    let serial = args.run_dir.join("serial.log");
    let template = domain::xml(&Parts {
        kernel: &args.kernel,
        initramfs: &args.initramfs,
        serial: &serial,
        address: &args.address,
        ping_targets: &args.ping_targets,
    });
    libvirt.ready(args.deadline)?;
    clock.say("libvirtd answers");
    let ask = |xml: &str| runtime.block_on(hooks.define(xml, &args.vmi));

    // the rounds of KubeVirt's one start
    let first = ask(&domain::with_placeholders(&template))?;
    libvirt.define(&first)?;
    clock.say("OnDefineDomain, first: with placeholders");
    let without = domain::without_placeholders(&first);
    let second = ask(&without.context("a hook changed the placeholders")?)?;
    libvirt.define(&second)?;
    clock.say("OnDefineDomain, second: over its own output");
    let third = ask(&libvirt.defined()?)?;
    ensure!(
        vdpa_interfaces(&third) == vdpa_interfaces(&second),
        "a hook multiplied its interfaces:\n{third}"
    );
    libvirt.define(&third)?;
    clock.say("OnDefineDomain, third: over what libvirt made of it");
    println!("{third}");
    libvirt.boot()?;
    clock.say("domain started");
    follow(args, libvirt, Serial::new(serial), clock)
}

fn follow(args: &Args, libvirt: &Libvirt, mut serial: Serial, clock: Clock) -> Result<()> {
    let deadline = Instant::now() + args.deadline;
    let mut looked = Instant::now();
    let result = loop {
        if let Some(result) = print(&mut serial)? {
            break result;
        }
        if looked.elapsed() >= STATE_PAUSE {
            looked = Instant::now();
            // what it said last may have come after the look at the console
            if !libvirt.running()? {
                break print(&mut serial)?.context("the VM ended without a result")?;
            }
        }
        ensure!(Instant::now() < deadline, "no result from the guest in {:?}", args.deadline);
        std::thread::sleep(Duration::from_millis(300));
    };
    clock.say("guest done");
    power_off(libvirt)?;
    clock.say("domain ended");
    match result {
        0 => Ok(()),
        rc => bail!("the guest's result is {rc}"),
    }
}

/// Prints what is new on the console, and gives the result if it is there.
fn print(serial: &mut Serial) -> Result<Option<u32>> {
    let lines = serial.lines().context("read the console")?;
    for line in &lines {
        println!("guest | {line}");
    }
    Ok(lines.iter().find_map(|line| serial::result(line)))
}

/// A device is free for the next pod once QEMU has closed it.
fn power_off(libvirt: &Libvirt) -> Result<()> {
    let deadline = Instant::now() + POWER_OFF;
    while libvirt.running()? {
        if Instant::now() >= deadline {
            return libvirt.destroy();
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

fn vdpa_interfaces(xml: &str) -> usize {
    xml.matches("<interface type='vdpa'").count() + xml.matches("<interface type=\"vdpa\"").count()
}

#[cfg(test)]
mod tests {
    #[test]
    fn interfaces_are_counted_in_both_quotes() {
        let xml = "<interface type='vdpa'/><interface type=\"vdpa\"/><interface type='user'/>";
        assert_eq!(super::vdpa_interfaces(xml), 2);
    }
}
