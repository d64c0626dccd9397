//! A node to which anything may happen at any time, with the agent's file and the devices' users.
//! Whatever the agent does is held against what it must never do.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Arguments;

use ringway_kernel::inventory::{Inventory, Netdev, Parent as Found, VdpaFamily, VirtualFunction};
use ringway_kernel::link::{Vf, VfSetting, VfTag};
use ringway_kernel::{Error, Result, pci};

use super::drift;
use crate::before::{Before, ParentBefore};
use crate::cards;
use crate::fake::{Fake, drive, eswitch_card, igb_card, virtio_card};
use crate::node::{Node, Observed};
use crate::plan::Planned;
use crate::reconcile::{Gate, Report, reconcile};
use crate::step::Step;
use crate::wanted::{Maker, Wanted};

/// The second card.
pub(super) const IGB: &str = "0000:02:00.0";

/// What the first card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// A virtio card: vDPA devices, and nothing to set.
    Virtio,
    /// An mlx5 card: vDPA devices, settings, and an eswitch.
    Mlx5,
}

/// The node and all around it.
pub(super) struct World {
    pub(super) fake: Fake,
    pub(super) first: First,
    pub(super) random: fastrand::Rng,
    /// `before.json`.
    pub(super) disk: Before,
    /// The node as the agent saw it last.
    pub(super) seen: Observed,
    /// The node before the next step, if nothing else has happened since the last.
    pub(super) last: Option<Inventory>,
    /// Devices with a user, and the interfaces that are in the user's network namespace.
    pub(super) held: BTreeMap<String, Vec<Netdev>>,
    /// Those of them that the CNI plugin has attached, with what it found set.
    pub(super) attached: BTreeMap<String, Option<Vf>>,
    /// vDPA devices that are not ours.
    pub(super) foreign: BTreeSet<String>,
    /// Whether somebody else has changed the mode of an eswitch.
    pub(super) switched: bool,
    /// Whether others were there first, so that functions go back to their drivers.
    pub(super) others: bool,
    /// Uplinks that are in another network namespace.
    pub(super) away: Vec<(ringway_kernel::pci::Address, Vec<Netdev>)>,
    /// Cards that were pulled out.
    pub(super) unplugged: Vec<Found>,
    /// Whether the vdpa family gives no answer.
    pub(super) mute: bool,
    /// Whether the agent is dead: nothing that it does has any effect.
    pub(super) dead: bool,
    /// How much may still happen.
    pub(super) luck: u32,
    /// Parents that were asked for at any time.
    pub(super) asked: BTreeSet<String>,
    /// Whether to tell what happens: a case that failed is run again for that.
    pub(super) tell: bool,
}

/// What [`reconcile`] works on.
struct Actor<'a>(&'a RefCell<World>);

impl World {
    /// Both cards with any number of functions, as somebody left them.
    pub(super) fn new(first: First, seed: u64, tell: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut fake = booted(first);
        for pf in [fake.card().address, IGB.parse().unwrap()] {
            fake.set_count(pf, random.u16(0..=3)).unwrap();
        }
        fake.card().drivers_autoprobe = random.bool();
        Self {
            seen: fake.observed.clone(),
            fake,
            first,
            last: None,
            random,
            disk: Before::default(),
            held: BTreeMap::new(),
            attached: BTreeMap::new(),
            foreign: BTreeSet::new(),
            switched: false,
            others: false,
            away: vec![],
            unplugged: vec![],
            mute: false,
            dead: false,
            luck: 0,
            asked: BTreeSet::new(),
            tell,
        }
    }

    /// The same, with vDPA devices of others on some functions, in use or not.
    pub(super) fn with_others(first: First, seed: u64, tell: bool) -> Self {
        let mut world = Self::new(first, seed, tell);
        let pf = world.fake.card().address;
        world.fake.set_count(pf, 3).unwrap();
        for function in &mut world.fake.card().functions {
            drive(function, None);
        }
        for _ in 0..world.random.u8(1..=3) {
            drift::theirs(&mut world, if seed.is_multiple_of(16) { "theirs" } else { "" });
        }
        world.seen.clone_from(&world.fake.observed);
        world.others = true;
        world
    }

    /// An agent that knows its file and nothing else works until it is done, or dead.
    pub(super) fn work(self, wanted: &Wanted) -> (Self, Option<Report>) {
        let world = RefCell::new(self);
        {
            let world = &mut *world.borrow_mut();
            world.dead = false;
            world.asked.extend(wanted.parents.iter().map(|parent| parent.name.to_string()));
            world.tell(format_args!("wanted: {wanted:?}"));
        }
        let mut before = world.borrow().disk.clone();
        let save = |before: &Before| Ok(world.borrow_mut().save(before, wanted)?);
        let gate = |planned: &Planned, _: &Observed| world.borrow_mut().gate(planned);
        let result = reconcile("node1", &mut Actor(&world), wanted, &mut before, save, gate);
        let world = world.into_inner();
        if let Err(error) = &result {
            assert!(world.dead, "{error:#}");
        }
        (world, result.ok())
    }

    pub(super) fn tell(&self, what: Arguments<'_>) {
        if self.tell {
            eprintln!("{what}");
        }
    }

    fn gate(&mut self, planned: &Planned) -> Gate {
        drift::happens(self, false);
        if self.dead {
            return Gate::Wait("dead".to_owned());
        }
        match planned.disturbs.iter().find(|id| self.held.contains_key(id.as_str())) {
            Some(id) => Gate::Held(format!("{id} is in use")),
            None => Gate::Go(vec![]),
        }
    }

    fn save(&mut self, new: &Before, wanted: &Wanted) -> Result<()> {
        let killed = self.luck > 0 && self.random.u8(0..16) == 0;
        if self.dead || (killed && self.random.bool()) {
            self.dead = true;
            return Err(dead());
        }
        let old = std::mem::replace(&mut self.disk, new.clone());
        self.tell(format_args!("saved: {new:?}"));
        for (name, now) in new.parents.iter().filter(|(name, _)| !old.parents.contains_key(*name)) {
            let ParentBefore { function_count, drivers_autoprobe, mtu, .. } = now;
            if let Some(card) = card(&self.seen, name) {
                assert_eq!(*function_count, card.numvfs);
                assert_eq!(*drivers_autoprobe, Some(card.drivers_autoprobe));
                assert_eq!(*mtu, card.netdevs.first().map(|netdev| netdev.mtu));
            }
        }
        for (name, was) in old.parents.iter().filter(|(name, _)| !new.parents.contains_key(*name)) {
            assert!(!wanted.parents.iter().any(|parent| parent.name.to_string() == *name));
            if let Some(card) = card(&self.seen, name) {
                assert_eq!(was.function_count, card.numvfs, "forgotten before it is as it was");
                assert_eq!(was.drivers_autoprobe, Some(card.drivers_autoprobe));
                let mode = card.eswitch.mode();
                assert!(was.eswitch.is_none() || mode.is_none() || was.eswitch == mode);
                assert!(was.mtu.is_none() || was.mtu == card.netdevs.first().map(|n| n.mtu));
                for function in &card.functions {
                    let was = was.first_settings(function.index);
                    let now = |was: &VfSetting| function.settings.and_then(|now| now.now(*was));
                    assert!(was.iter().all(|was| now(was) == Some(*was)), "{was:?} {function:?}");
                }
            }
        }
        self.adoptions(&old, new, wanted);
        self.dead = killed;
        if killed { Err(dead()) } else { Ok(()) }
    }

    /// What is taken over was foreign and was wished to be, and is foreign again when it is let go.
    fn adoptions(&mut self, old: &Before, new: &Before, wanted: &Wanted) {
        let adopting = wanted.parents.iter().any(|p| p.maker == Maker::RingwayAdopting);
        for name in new.vdpa.difference(&old.vdpa).filter(|name| new.is_adopted(name)) {
            assert!(adopting, "{name}: nobody asked to take it over");
            self.foreign.remove(name);
        }
        let there = |name: &String| self.fake.observed.vdpa().any(|device| device.name == *name);
        let gone = old.vdpa.difference(&new.vdpa);
        let back: Vec<_> = gone.filter(|name| there(name) && old.is_adopted(name)).collect();
        let back: Vec<_> = back.into_iter().cloned().collect();
        self.foreign.extend(back);
    }

    fn apply(&mut self, step: &Step) -> Result<()> {
        if self.dead {
            return Err(dead());
        }
        let last = self.last.take();
        let mut was = last.unwrap_or_else(|| self.fake.observed.inventory.clone());
        let fails = self.luck > 0 && self.random.u8(0..12) == 0;
        let overrides = self.fake.overrides.clone();
        self.tell(format_args!("{step}{}", if fails { ": fails" } else { "" }));
        if !fails || self.random.bool() {
            self.fake.apply(step)?;
            self.fake.done.clear();
        } else if let Step::BindFunction { function, .. } = step
            && let Ok(function) = self.fake.function(function)
            && function.vdpa.is_empty()
        {
            // the old driver has let go, the new one has not taken it
            drive(function, None);
        }
        let now = &self.fake.observed.inventory;
        for (was, now) in was.parents.iter_mut().zip(&now.parents).filter(|(was, now)| was != now) {
            self.check_card(was, now, step);
            was.clone_from(now);
        }
        for simulator in &was.simulators {
            for device in &simulator.vdpa {
                let same = now.simulators.iter().flat_map(|now| &now.vdpa).any(|now| now == device);
                assert!(same || !self.held.contains_key(&device.name), "{step}: it is held");
                assert!(same || self.disk.vdpa.contains(&device.name), "{step}: it is not ours");
            }
        }
        was.simulators.clone_from(&now.simulators);
        self.last = Some(was);
        // killed when it is done
        self.dead = self.luck > 0 && self.random.u8(0..16) == 0;
        if (fails || self.dead) && self.random.bool() {
            self.strand(step, overrides);
        }
        if fails { Err(dead()) } else { Ok(()) }
    }

    /// A step that gives a function another driver does not get to its last write.
    fn strand(&mut self, step: &Step, before: BTreeMap<(pci::Address, u32), String>) {
        match step {
            Step::BindFunction { function, driver } => {
                self.fake.pin(function, Some(driver.name.to_owned()));
            }
            Step::ReleaseFunction { function, driver: Some(driver), .. } => {
                self.fake.pin(function, Some(driver.clone()));
            }
            Step::ReleaseFunction { driver: None, .. } | Step::UnbindFunction { .. } => {
                self.fake.overrides = before;
            }
            _ => {}
        }
    }

    /// What a step may have done to a card.
    fn check_card(&self, was: &Found, now: &Found, step: &Step) {
        let name = was.address.to_string();
        assert!(self.asked.contains(&name), "{step}: nobody asked for it");
        assert!(self.disk.parents.contains_key(&name), "{step}: not recorded");
        let carries = was.netdevs.iter().any(|netdev| !netdev.traffic.is_empty());
        assert!(!carries, "{step}: {name} carries the node's traffic");
        for function in &was.functions {
            let now = now.functions.iter().find(|now| now.index == function.index);
            let of_all =
                matches!(step, Step::SetFunctionCount { .. } | Step::SetEswitchMode { .. });
            if now == Some(function) && !of_all {
                continue;
            }
            let id = function.address.to_string();
            assert!(!self.held.contains_key(&id), "{step}: {id} is held");
            assert!(!self.attached.contains_key(&id), "{step}: {id} is the CNI plugin's");
            let mut netdevs =
                function.netdevs.iter().chain(function.vdpa.iter().flat_map(|v| &v.netdevs));
            assert!(netdevs.all(|netdev| netdev.traffic.is_empty()), "{step}: {id} has traffic");
            for device in &function.vdpa {
                assert!(!self.foreign.contains(&device.name), "{step}: {} is foreign", device.name);
                assert!(self.disk.vdpa.contains(&device.name), "{step}: not recorded as ours");
            }
        }
    }

    /// A device loses its user because it goes away itself.
    pub(super) fn lose(&mut self, function: &VirtualFunction) {
        let id = function.address.to_string();
        self.held.remove(&id);
        self.detach(&id);
        for device in &function.vdpa {
            self.foreign.remove(&device.name);
        }
    }

    /// The CNI plugin takes a function, and sets it to what its network wants.
    pub(super) fn attach(&mut self, id: &str) {
        let functions =
            self.fake.observed.inventory.parents.iter_mut().flat_map(|p| &mut p.functions);
        let mut functions = functions.filter(|function| function.address.to_string() == id);
        let Some(function) = functions.next() else { return };
        self.attached.insert(id.to_owned(), function.settings);
        if let Some(settings) = &mut function.settings {
            settings.vlan = Some(VfTag { id: 99, qos: 0, service: false });
            settings.trust = Some(true);
        }
        let all = self.fake.observed.attached.as_mut().unwrap();
        all.insert(id.to_owned(), "attached to c1 as net1".to_owned());
    }

    /// It puts back what it found.
    pub(super) fn detach(&mut self, id: &str) {
        let Some(found) = self.attached.remove(id) else { return };
        self.fake.observed.attached.as_mut().unwrap().remove(id);
        let functions =
            self.fake.observed.inventory.parents.iter_mut().flat_map(|p| &mut p.functions);
        for function in functions.filter(|function| function.address.to_string() == id) {
            function.settings = found;
        }
    }

    /// The user of a device ends.
    pub(super) fn release(&mut self, id: &str) {
        self.detach(id);
        let Some(back) = self.held.remove(id).filter(|netdevs| !netdevs.is_empty()) else { return };
        let functions =
            self.fake.observed.inventory.parents.iter_mut().flat_map(|p| &mut p.functions);
        if let Some(function) = functions.into_iter().find(|f| f.address.to_string() == id) {
            match function.vdpa.first_mut() {
                Some(device) => device.netdevs = back,
                None => function.netdevs = back,
            }
        } else if let Some(device) = self.fake.vdpa().flatten().find(|device| device.name == id) {
            device.netdevs = back;
        }
    }

    /// From now on nothing happens but what the agent does.
    pub(super) fn calm_down(&mut self) {
        (self.luck, self.mute, self.last) = (0, false, None);
        for id in self.held.keys().cloned().collect::<Vec<_>>() {
            self.release(&id);
        }
        while drift::plug(self) || drift::uplink_back(self) {}
        for netdev in drift::netdevs(self) {
            netdev.traffic.clear();
        }
        self.tell(format_args!("it becomes calm"));
    }
}

impl Node for Actor<'_> {
    fn observe(&mut self) -> Result<Observed> {
        let world = &mut *self.0.borrow_mut();
        drift::happens(world, true);
        if world.dead {
            return Err(dead());
        }
        world.seen.clone_from(&world.fake.observed);
        if world.mute {
            let inventory = &mut world.seen.inventory;
            inventory.vdpa_family = VdpaFamily::Unknown("no answer".into());
            let simulators = std::mem::take(&mut inventory.simulators);
            inventory.other_vdpa.extend(simulators.into_iter().flat_map(|s| s.vdpa));
        }
        Ok(world.seen.clone())
    }

    fn overrides(&mut self, pf: pci::Address) -> Result<BTreeMap<u32, String>> {
        self.0.borrow_mut().fake.overrides(pf)
    }

    fn apply(&mut self, step: &Step) -> Result<()> {
        self.0.borrow_mut().apply(step)
    }
}

impl First {
    /// The card as it comes.
    pub(super) fn card(self) -> Found {
        match self {
            Self::Virtio => virtio_card(),
            Self::Mlx5 => eswitch_card("mlx5_core"),
        }
    }
}

/// Two cards that nobody has touched, and the modules of the drivers that others bind.
pub(super) fn booted(first: First) -> Fake {
    let mut fake = Fake::new();
    fake.observed.inventory.parents = vec![first.card(), igb_card(IGB.parse().unwrap())];
    fake.observed.modules = ["igbvf", "vfio_pci"].into();
    fake
}

pub(super) fn card<'a>(observed: &'a Observed, name: &str) -> Option<&'a Found> {
    observed.inventory.parents.iter().find(|card| card.address.to_string() == name)
}

/// Whether nobody can be using a function.
pub(super) fn idle(function: &VirtualFunction) -> bool {
    function.driver.as_deref().is_none_or(cards::makes_vdpa_devices)
        && function.vdpa.iter().all(|device| device.driver.is_none())
}

fn dead() -> Error {
    Error::Unexpected { object: "agent".into(), found: "dead".into(), expected: "alive".into() }
}
