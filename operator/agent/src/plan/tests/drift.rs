//! What may happen to a node behind the agent's back.

use std::collections::BTreeSet;

use ringway_kernel::Mac;
use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::inventory::{Netdev, Traffic, VirtualFunction};
use ringway_kernel::link::{VfSetting, VfTag, VfTxRate};
use ringway_kernel::pci::Address;
use ringway_kernel::vdpa_bus::Driver;

use super::world::{First, World, booted, idle};
use crate::fake::{self, drive, igb_card, represent, serve};
use crate::step::vdpa_name;

type Event = (&'static str, fn(&mut World));

/// At any time: also between the agent's look and its step.
const ANY_TIME: [Event; 19] = [
    ("a function's driver is unbound", |world| rebind(world, None)),
    ("a function gets its network driver", |world| rebind(world, Some("network"))),
    ("a function goes to vfio-pci", |world| rebind(world, Some("vfio-pci"))),
    ("a vDPA device is bound to another driver", |world| {
        let drivers = [None, Some(Driver::VhostVdpa), Some(Driver::VirtioVdpa)];
        let driver = *world.random.choice(&drivers).unwrap();
        vdpa(world, |world, name| each(world, name, |device| serve(device, driver)));
    }),
    ("a vDPA device is deleted", |world| vdpa(world, delete)),
    ("a vDPA device is made anew with other features", |world| {
        vdpa(world, |world, name| {
            each(world, name, |device| {
                serve(device, None);
                device.features = "MAC,MTU".parse().ok();
            });
        });
    }),
    ("a function is set to something else", |world| {
        let tag = VfTag { id: world.random.u16(1..=4094), qos: 0, service: false };
        let choices = [
            VfSetting::Mac(Mac([2, 9, 9, 9, 9, world.random.u8(..)])),
            VfSetting::Vlan(Some(tag)),
            VfSetting::Vlan(None),
            VfSetting::Rate(VfTxRate { min: 0, max: world.random.u32(0..=1000) }),
            VfSetting::SpoofCheck(world.random.bool()),
            VfSetting::Trust(world.random.bool()),
        ];
        let setting = *world.random.choice(&choices).unwrap();
        any_function(world, |function| {
            if let Some(settings) = &mut function.settings {
                settings.set(setting);
            }
        });
    }),
    ("a function's interface gets another MAC and MTU", |world| {
        any_function(world, |function| {
            for netdev in &mut function.netdevs {
                (netdev.mac, netdev.mtu) = (Some(Mac([2, 8, 8, 8, 8, 8])), 1300);
            }
        });
    }),
    ("an eswitch's mode changes", |world| switch(world, None)),
    ("an MTU changes", |world| uplink(world, |netdev| netdev.mtu = 1400)),
    ("an uplink goes down", |world| uplink(world, |netdev| netdev.up = false)),
    ("an uplink goes to another network namespace", |world| {
        let Some(at) = any_card(world) else { return };
        let card = &mut world.fake.observed.inventory.parents[at];
        let mut netdevs = std::mem::take(&mut card.netdevs);
        // its addresses and routes stay behind
        netdevs.iter_mut().for_each(|netdev| netdev.traffic.clear());
        world.away.extend((!netdevs.is_empty()).then_some((card.address, netdevs)));
    }),
    ("an uplink comes back", |world| _ = uplink_back(world)),
    ("a card's autoprobe changes", |world| {
        let Some(at) = any_card(world) else { return };
        world.fake.observed.inventory.parents[at].drivers_autoprobe ^= true;
    }),
    ("the vDPA bus's autoprobe changes", |world| {
        world.fake.observed.vdpa_autoprobe = world.fake.observed.vdpa_autoprobe.map(|on| !on);
    }),
    ("the number of functions changes", |world| {
        let Some(at) = any_card(world) else { return };
        let (count, pf) = (world.random.u16(0..=4), empty(world, at));
        world.fake.set_count(pf, count).unwrap();
    }),
    ("the node boots", |world| {
        world.fake = booted(world.first);
        (world.held, world.foreign, world.attached) = Default::default();
        (world.away, world.unplugged) = Default::default();
        world.dead = true;
    }),
    ("the agent is killed", |world| world.dead = true),
    ("a device's user ends", |world| {
        let held: Vec<_> = world.held.keys().cloned().collect();
        if let Some(id) = world.random.choice(&held) {
            world.release(id);
        }
    }),
];

/// Before a look only. Between that and a step they are races that nobody can win: what is told by
/// addresses and names cannot be locked.
const BEFORE_A_LOOK: [Event; 7] = [
    ("a card is pulled out", |world| {
        let Some(at) = any_card(world) else { return };
        let pf = empty(world, at);
        world.away.retain(|(of, _)| *of != pf);
        let card = world.fake.observed.inventory.parents.remove(at);
        world.unplugged.push(card);
    }),
    ("a card is plugged in", |world| _ = plug(world)),
    ("somebody makes a vDPA device", |world| theirs(world, "theirs")),
    ("somebody makes a vDPA device with a name like ours", |world| theirs(world, "")),
    ("an interface gets the node's address", |world| {
        let all = netdevs(world).len();
        let at = world.random.usize(0..all.max(1));
        if let Some(netdev) = netdevs(world).into_iter().nth(at) {
            netdev.traffic = vec![Traffic::DefaultRoute { table: 254 }];
        }
    }),
    ("the interfaces lose their addresses", |world| {
        netdevs(world).into_iter().for_each(|netdev| netdev.traffic.clear());
    }),
    ("the vdpa family begins or ends to answer", |world| world.mute ^= true),
];

/// Something happens, or nothing.
pub(super) fn happens(world: &mut World, before_a_look: bool) {
    while world.luck > 0 && world.random.u8(0..3) == 0 {
        world.luck -= 1;
        world.last = None;
        // devices find users as often as all else together happens
        if world.random.u8(0..4) == 0 {
            hold(world);
            continue;
        }
        let races = if before_a_look { &BEFORE_A_LOOK[..] } else { &[] };
        let at = world.random.usize(0..ANY_TIME.len() + races.len());
        let (what, event) = ANY_TIME.iter().chain(races).nth(at).unwrap();
        world.tell(format_args!("{what}"));
        event(world);
    }
}

/// A device that was there when the agent looked, and that can be used, finds a user.
fn hold(world: &mut World) {
    let seen = |world: &World, function: &VirtualFunction| {
        let mut all = world.seen.inventory.parents.iter().flat_map(|card| &card.functions);
        all.any(|seen| seen == function)
    };
    let cards = &world.fake.observed.inventory.parents;
    let functions = cards.iter().flat_map(|card| &card.functions);
    let usable = functions.filter(|function| !idle(function) && seen(world, function));
    let mut ids: Vec<String> = usable.map(|function| function.address.to_string()).collect();
    let seen: Vec<_> = world.seen.vdpa().cloned().collect();
    let simulated = world.fake.observed.inventory.simulators.iter().flat_map(|s| &s.vdpa);
    let usable = simulated.filter(|device| device.driver.is_some() && seen.contains(device));
    ids.extend(usable.map(|device| device.name.clone()));
    let Some(id) = world.random.choice(&ids).filter(|id| !world.held.contains_key(*id)) else {
        return;
    };
    let mut away = Vec::new();
    if world.random.bool() {
        let functions =
            world.fake.observed.inventory.parents.iter_mut().flat_map(|p| &mut p.functions);
        if let Some(function) = functions.into_iter().find(|f| f.address.to_string() == *id) {
            away = match function.vdpa.first_mut() {
                Some(device) => std::mem::take(&mut device.netdevs),
                None => std::mem::take(&mut function.netdevs),
            };
        } else if let Some(device) = world.fake.vdpa().flatten().find(|v| v.name == *id) {
            away = std::mem::take(&mut device.netdevs);
        }
    }
    // an interface with the node's traffic is the node's, and no pod takes it
    away.iter_mut().for_each(|netdev| netdev.traffic.clear());
    world.tell(format_args!("{id} is taken, with {} interfaces", away.len()));
    world.held.insert(id.clone(), away);
    if world.random.bool() {
        world.attach(id);
    }
}

pub(super) fn plug(world: &mut World) -> bool {
    let Some(card) = world.unplugged.pop() else { return false };
    world.fake.overrides.retain(|(pf, _), _| *pf != card.address);
    let first = card.address == fake::pf();
    let new = if first { world.first.card() } else { igb_card(card.address) };
    let parents = &mut world.fake.observed.inventory.parents;
    parents.push(new);
    parents.sort_by_key(|card| card.address);
    true
}

pub(super) fn uplink_back(world: &mut World) -> bool {
    let Some((pf, netdevs)) = world.away.pop() else { return false };
    let mut cards = world.fake.observed.inventory.parents.iter_mut();
    if let Some(card) = cards.find(|card| card.address == pf) {
        card.netdevs = netdevs;
    }
    true
}

/// Every interface that is here.
pub(super) fn netdevs(world: &mut World) -> Vec<&mut Netdev> {
    let mut all = Vec::new();
    for card in &mut world.fake.observed.inventory.parents {
        all.extend(&mut card.netdevs);
        for function in &mut card.functions {
            all.extend(&mut function.netdevs);
            all.extend(function.vdpa.iter_mut().flat_map(|device| &mut device.netdevs));
        }
    }
    all
}

fn any_card(world: &mut World) -> Option<usize> {
    let cards = world.fake.observed.inventory.parents.len();
    (cards > 0).then(|| world.random.usize(0..cards))
}

/// The first card's eswitch gets a mode, or the other one.
pub(super) fn switch(world: &mut World, mode: Option<EswitchMode>) {
    let Some(card) = world.fake.observed.inventory.parents.first_mut() else { return };
    let Some(now) = card.eswitch.mode() else { return };
    let other = match now {
        EswitchMode::Legacy => EswitchMode::Switchdev,
        EswitchMode::Switchdev => EswitchMode::Legacy,
    };
    card.eswitch = mode.unwrap_or(other).into();
    represent(card);
    world.switched = true;
}

/// A card's functions go away.
fn empty(world: &mut World, at: usize) -> Address {
    let card = &mut world.fake.observed.inventory.parents[at];
    card.numvfs = 0;
    let (pf, functions) = (card.address, std::mem::take(&mut card.functions));
    functions.iter().for_each(|function| world.lose(function));
    pf
}

/// Something happens to a function that the CNI plugin does not have.
fn any_function(world: &mut World, change: impl Fn(&mut VirtualFunction)) {
    let Some(at) = any_card(world) else { return };
    let functions = &mut world.fake.observed.inventory.parents[at].functions;
    let Some(function) = world.random.choice(functions) else { return };
    if !world.attached.contains_key(&function.address.to_string()) {
        change(function);
    }
}

fn uplink(world: &mut World, change: impl Fn(&mut Netdev)) {
    let Some(at) = any_card(world) else { return };
    world.fake.observed.inventory.parents[at].netdevs.iter_mut().for_each(change);
}

/// A function changes its driver, and what was on it goes.
fn rebind(world: &mut World, driver: Option<&str>) {
    let Some(at) = any_card(world) else { return };
    let card = &world.fake.observed.inventory.parents[at];
    let network = crate::cards::card(card.driver.as_deref()).map(|card| card.netdev.driver);
    let Some(function) = world.random.choice(&card.functions).cloned() else { return };
    world.lose(&function);
    let functions = &mut world.fake.observed.inventory.parents[at].functions;
    let function = functions.iter_mut().find(|f| f.index == function.index).unwrap();
    function.vdpa.clear();
    let index = function.index;
    drive(function, if driver == Some("network") { network } else { driver });
    // or the bus would not let them (pci_match_device)
    let pf = world.fake.observed.inventory.parents[at].address;
    world.fake.overrides.remove(&(pf, index));
}

/// Something happens to any vDPA device.
fn vdpa(world: &mut World, what: impl Fn(&mut World, &str)) {
    let names: Vec<_> = world.fake.observed.vdpa().map(|device| device.name.clone()).collect();
    let Some(name) = world.random.choice(&names).cloned() else { return };
    let functions = world.fake.observed.inventory.parents.iter().flat_map(|card| &card.functions);
    let on = functions.into_iter().find(|f| f.vdpa.iter().any(|device| device.name == name));
    let id = on.map_or_else(|| name.clone(), |function| function.address.to_string());
    world.held.remove(&id);
    world.detach(&id);
    what(world, &name);
}

fn each(
    world: &mut World,
    name: &str,
    change: impl Fn(&mut ringway_kernel::inventory::VdpaDevice),
) {
    world.fake.vdpa().flatten().filter(|device| device.name == name).for_each(change);
}

/// With somebody else's device goes the driver that they had bound for it.
fn delete(world: &mut World, name: &str) {
    if world.foreign.contains(name) {
        take_away(world, &[name.to_owned()].into());
    }
    world.fake.vdpa().for_each(|devices| devices.retain(|device| device.name != name));
    world.foreign.remove(name);
}

/// Others take away what is theirs.
pub(super) fn nothing_foreign(world: &mut World) {
    world.last = None;
    let theirs = std::mem::take(&mut world.foreign);
    take_away(world, &theirs);
}

fn take_away(world: &mut World, theirs: &BTreeSet<String>) {
    for card in &mut world.fake.observed.inventory.parents {
        for function in &mut card.functions {
            if function.vdpa.iter().any(|device| theirs.contains(&device.name)) {
                function.vdpa.clear();
                drive(function, None);
                world.fake.overrides.remove(&(card.address, function.index));
            }
        }
    }
}

/// Somebody makes a vDPA device on a function that nobody uses, under a name or one like ours.
pub(super) fn theirs(world: &mut World, name: &str) {
    let Some(card) = world.fake.observed.inventory.parents.first().cloned() else { return };
    let free = |f: &&VirtualFunction| f.vdpa.is_empty() && idle(f);
    let free: Vec<_> = card.functions.iter().filter(free).collect();
    let Some(function) = world.random.choice(free) else { return };
    if card.address != fake::pf() {
        return;
    }
    let name = match name {
        "" => vdpa_name(function.address),
        name => format!("{name}{}", function.index),
    };
    // what is recorded is ours, whoever made it
    if world.disk.vdpa.contains(&name) {
        return;
    }
    world.foreign.insert(name.clone());
    let functions = &mut world.fake.observed.inventory.parents[0].functions;
    let function = functions.iter_mut().find(|f| f.index == function.index).unwrap();
    drive(function, Some(if world.first == First::Mlx5 { "mlx5_core" } else { "vp-vdpa" }));
    let mut device = fake::device(&name, None);
    let drivers = [None, Some(Driver::VhostVdpa), Some(Driver::VirtioVdpa)];
    serve(&mut device, *world.random.choice(&drivers).unwrap());
    device.features = world.random.choice(["MAC", "MAC,VERSION_1"]).unwrap().parse().ok();
    function.vdpa.push(device);
}
