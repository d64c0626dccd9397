//! A spec as checked values: what the schema could not check is checked here, before anything is
//! touched.

use std::fmt;
use std::ops::RangeInclusive;

use ringway_api::conditions::Reason;
use ringway_api::device_policy::{Allocation, Attach, COMMON, Carrier, Ownership, VdpaSettings};
use ringway_api::node_devices::{Identity, NodeDevicesSpec, ParentSpec, PoolSpec};
use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::features::Features;
use ringway_kernel::pci;
use ringway_node::Resource;
use ringway_node::limits::Limits;

pub use self::defaults::{Defaults, Given};

mod defaults;

/// What a node shall have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The parents to be carved.
    pub parents: Vec<Parent>,
    /// Those that cannot be, as they stand.
    pub refusals: Vec<Refusal>,
}

/// Which parent: a card, or a simulator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ParentName {
    /// A PF by its address.
    Pci(pci::Address),
    /// A simulator by its management device.
    Simulator(String),
    /// The vDPA bus, which is no parent of anybody's: what is given back when all else is.
    VdpaBus,
}

/// A parent to be carved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Which.
    pub name: ParentName,
    /// What the card must be.
    pub identity: Option<CardIdentity>,
    /// The uplink's MTU in bytes, if it shall be set.
    pub mtu: Option<u32>,
    /// The mode of its eswitch, if it shall be set.
    pub eswitch: Option<EswitchMode>,
    /// Who makes its functions and what is on them.
    pub maker: Maker,
    /// How many functions.
    pub count: u16,
    /// Which of them serve what.
    pub pools: Vec<Pool>,
}

/// Who makes a parent's functions and what is on them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Maker {
    /// We do, and what others made is left alone.
    #[default]
    Ringway,
    /// We do, and take over what others made if it is exactly what is wanted.
    RingwayAdopting,
    /// Others do: nothing is changed.
    Others,
}

/// What a card must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardIdentity {
    /// `vendor:device` in hexadecimal.
    pub ids: String,
    /// The permanent MAC address, as text.
    pub mac: Option<String>,
}

/// Functions that serve one resource in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The resource; what the host keeps serves none.
    pub resource: Option<Resource>,
    /// The functions.
    pub range: RangeInclusive<u32>,
    /// How they reach a user.
    pub attach: Attach,
    /// What their vDPA devices shall be.
    pub settings: Settings,
    /// What its functions are set to at rest.
    pub defaults: Defaults,
    /// What networks may ask for beyond that.
    pub limits: Limits,
    /// Which of its devices a container gets; nothing is the same as spread.
    pub allocation: Option<Allocation>,
    /// What becomes of its devices while the uplink has no carrier; nothing is the same as ignore.
    pub carrier: Option<Carrier>,
}

/// What a vDPA device shall be; what is `None` is left to the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// In bytes.
    pub mtu: Option<u16>,
    /// Pairs of data virtqueues.
    pub queue_pairs: Option<u16>,
    /// Exactly these features.
    pub features: Option<Features>,
    /// Whether these are what all nodes have in common.
    pub common: Common,
}

/// Whether features are what all functions with a resource have in common, on all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Common {
    /// They are somebody's choice.
    #[default]
    No,
    /// They are.
    Known,
    /// They will be, once it is known which.
    Awaited,
}

/// Why a parent, or one of its functions, is left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The parent's name.
    pub parent: String,
    /// The function, if it is about one.
    pub function: Option<u32>,
    /// For machines.
    pub reason: Reason,
    /// For people: object, field, value, and what is allowed.
    pub message: String,
}

impl fmt::Display for ParentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => address.fmt(f),
            Self::Simulator(name) => f.write_str(name),
            Self::VdpaBus => f.write_str("vdpa bus"),
        }
    }
}

impl ParentName {
    /// A PCI address where it reads as one, else a simulator.
    pub fn of(name: &str) -> Self {
        name.parse().map_or_else(|_| Self::Simulator(name.to_owned()), Self::Pci)
    }
}

impl Wanted {
    /// Checks a spec. A parent with anything wrong in it is refused as a whole: half a partition
    /// is nobody's wish.
    pub fn of(spec: &NodeDevicesSpec) -> Self {
        let mut wanted = Self::default();
        for parent in &spec.parents {
            let checked = check(parent).and_then(|parent| wanted.beside_others(parent));
            match checked {
                Ok(parent) => wanted.parents.push(parent),
                Err((reason, message)) => wanted.refusals.push(Refusal {
                    parent: parent.name.clone(),
                    function: None,
                    reason,
                    message,
                }),
            }
        }
        wanted
    }

    /// A parent, unless another one before it serves one of its resources in another way.
    fn beside_others(&self, parent: Parent) -> Result<Parent, Complaint> {
        for pool in parent.pools.iter().filter(|pool| pool.resource.is_some()) {
            let differs =
                |other: &&Pool| other.resource == pool.resource && other.attach != pool.attach;
            let others =
                self.parents.iter().flat_map(|other| other.pools.iter().map(move |p| (other, p)));
            if let Some((other, with)) = others.into_iter().find(|(_, other)| differs(other)) {
                let resource = pool.resource.as_ref().map(ToString::to_string).unwrap_or_default();
                return Err((
                    Reason::Invalid,
                    format!(
                        "{}: pool {} serves {resource} by {}, and pool {} of {} by {}: one \
                         resource, one attach kind on a node",
                        parent.name,
                        pool.name,
                        pool.attach.as_str(),
                        with.name,
                        other.name,
                        with.attach.as_str(),
                    ),
                ));
            }
        }
        Ok(parent)
    }

    /// Whether anything is said of the parent of this name, be it that it is refused.
    pub fn names(&self, parent: &str) -> bool {
        self.parents.iter().any(|asked| asked.name.to_string() == parent)
            || self.refusals.iter().any(|refusal| refusal.parent == parent)
    }

    /// Whether vDPA devices are wanted, or may be by what could not be understood.
    pub fn may_make_vdpa(&self) -> bool {
        !self.refusals.is_empty() || self.parents.iter().any(Parent::makes_vdpa)
    }
}

impl Parent {
    /// A parent of so many functions in these pools, about which nothing else is said.
    pub fn new(name: ParentName, count: u16, pools: Vec<Pool>) -> Self {
        let maker = Maker::default();
        Self { name, identity: None, mtu: None, eswitch: None, maker, count, pools }
    }

    /// Whether any of its pools needs vDPA devices that we make.
    pub fn makes_vdpa(&self) -> bool {
        self.maker != Maker::Others && self.pools.iter().any(|pool| pool.attach.by_vdpa())
    }

    /// The pool of a function.
    pub fn pool(&self, index: u32) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.range.contains(&index))
    }
}

type Complaint = (Reason, String);

fn check(spec: &ParentSpec) -> Result<Parent, Complaint> {
    let pools: Vec<Pool> =
        spec.pools.iter().map(|pool| check_pool(spec, pool)).collect::<Result<_, _>>()?;
    for (i, pool) in pools.iter().enumerate() {
        if let Some(other) = pools[..i].iter().find(|other| overlap(&other.range, &pool.range)) {
            return Err((
                Reason::OverlappingRanges,
                format!(
                    "policy {}: pools {} ({}) and {} ({}) share functions: each function serves one pool",
                    spec.policy,
                    other.name,
                    text(&other.range),
                    pool.name,
                    text(&pool.range),
                ),
            ));
        }
        let Some(resource) = &pool.resource else { continue };
        let beside = |other: &&Pool| {
            other.resource.as_ref() == Some(resource) && other.attach != pool.attach
        };
        if let Some(other) = pools[..i].iter().find(beside) {
            return Err((
                Reason::Invalid,
                format!(
                    "policy {}: pools {} and {} serve {resource} in two ways: one resource, one attach kind",
                    spec.policy, other.name, pool.name,
                ),
            ));
        }
    }
    let uplink = spec.uplink.as_ref();
    Ok(Parent {
        identity: spec.identity.as_ref().map(identity),
        mtu: uplink.and_then(|uplink| uplink.mtu).map(u32::from),
        eswitch: uplink.and_then(|uplink| uplink.eswitch).map(eswitch),
        maker: maker(spec)?,
        ..Parent::new(ParentName::of(&spec.name), spec.function_count, pools)
    })
}

/// The schema of a policy refuses the same; a file by hand has none.
fn maker(spec: &ParentSpec) -> Result<Maker, Complaint> {
    let external = spec.ownership == Ownership::External;
    let too_much = [("uplink", spec.uplink.is_some()), ("adopt", spec.adopt)];
    if let Some((field, _)) = too_much.into_iter().find(|(_, said)| *said && external) {
        let message = format!(
            "policy {}: {field}: ownership External changes nothing: leave the field out",
            spec.policy
        );
        return Err((Reason::Invalid, message));
    }
    Ok(match (spec.ownership, spec.adopt) {
        (Ownership::External, _) => Maker::Others,
        (Ownership::Managed, true) => Maker::RingwayAdopting,
        (Ownership::Managed, false) => Maker::Ringway,
    })
}

fn eswitch(mode: ringway_api::device_policy::EswitchMode) -> EswitchMode {
    use ringway_api::device_policy::EswitchMode as Asked;
    match mode {
        Asked::Legacy => EswitchMode::Legacy,
        Asked::Switchdev => EswitchMode::Switchdev,
    }
}

fn check_pool(spec: &ParentSpec, pool: &PoolSpec) -> Result<Pool, Complaint> {
    let invalid = |field: &str, value: &str, allowed: &str| {
        let message =
            format!("policy {}: pool {}: {field} {value:?}: {allowed}", spec.policy, pool.name);
        (Reason::Invalid, message)
    };
    let range = parse_range(&pool.range)
        .ok_or_else(|| invalid("range", &pool.range, "one index, or two from low to high: 0-3"))?;
    if *range.end() >= u32::from(spec.function_count) {
        return Err((
            Reason::TooManyFunctions,
            format!(
                "policy {}: pool {}: range {} goes beyond functionCount {}: the last function is {}",
                spec.policy,
                pool.name,
                pool.range,
                spec.function_count,
                i64::from(spec.function_count) - 1,
            ),
        ));
    }
    let resource = match (&pool.resource, pool.attach) {
        (Some(text), Attach::Host) => {
            return Err(invalid("resource", text, "attach host serves none: leave it out"));
        }
        (None, Attach::Host) => None,
        (None, attach) => {
            let allowed =
                format!("attach {} serves one, such as ringway.dev/rings", attach.as_str());
            return Err(invalid("resource", "", &allowed));
        }
        (Some(text), _) => {
            Some(text.parse().map_err(|error| invalid("resource", text, &format!("{error}")))?)
        }
    };
    if pool.vdpa.is_some() && !pool.attach.by_vdpa() {
        let allowed = "makes no vDPA device: leave the field vdpa out";
        return Err(invalid("attach", pool.attach.as_str(), allowed));
    }
    let settings =
        settings(spec, pool).map_err(|(value, error)| invalid("vdpa.features", &value, &error))?;
    let defaults = Defaults::of(pool.defaults.as_ref(), pool.attach)
        .map_err(|(field, value, allowed)| invalid(field, &value, allowed))?;
    Ok(Pool {
        name: pool.name.clone(),
        resource,
        range,
        attach: pool.attach,
        settings,
        defaults,
        limits: limits(pool.limits.as_ref())
            .map_err(|(value, error)| invalid("limits.vlans", &value, &error))?,
        allocation: pool.allocation,
        carrier: pool.health.as_ref().and_then(|health| health.carrier),
    })
}

fn limits(spec: Option<&ringway_api::device_policy::Limits>) -> Result<Limits, (String, String)> {
    let Some(spec) = spec else { return Ok(Limits::default()) };
    let vlans = spec.vlans.as_ref().map(|text| text.parse().map_err(|error| (text.clone(), error)));
    Ok(Limits {
        namespaces: spec.namespaces.clone(),
        vlans: vlans.transpose()?,
        trust: spec.trust,
        spoof_check: spec.spoof_check,
        max_rate: spec.max_rate,
    })
}

fn settings(parent: &ParentSpec, pool: &PoolSpec) -> Result<Settings, (String, String)> {
    let Some(vdpa) = &pool.vdpa else { return Ok(Settings::default()) };
    let common = common(parent, pool, vdpa).map_err(|why| (COMMON.to_owned(), why.to_owned()))?;
    let named = vdpa.features.as_ref().filter(|_| common != Common::Awaited);
    let features = named
        .map(|names| names.parse().map_err(|e| (names.clone(), format!("{e}"))))
        .transpose()?;
    Ok(Settings { mtu: vdpa.mtu, queue_pairs: vdpa.queue_pairs, features, common })
}

/// The schema of a policy refuses the same; a file by hand has none.
fn common(
    parent: &ParentSpec,
    pool: &PoolSpec,
    vdpa: &VdpaSettings,
) -> Result<Common, &'static str> {
    let common = match (vdpa.asks_for_common(), pool.common_features) {
        (false, false) => return Ok(Common::No),
        (true, false) => {
            return Err(
                "what all nodes have in common the cluster's operator knows: name features",
            );
        }
        (true, true) => Common::Awaited,
        (false, true) => Common::Known,
    };
    match (pool.attach, parent.ownership) {
        (Attach::Host, _) => Err("is of a resource, and attach host serves none: name features"),
        (_, Ownership::External) => {
            Err("ownership External makes no devices: name features, or leave the field out")
        }
        (_, Ownership::Managed) => Ok(common),
    }
}

fn identity(identity: &Identity) -> CardIdentity {
    CardIdentity {
        ids: format!("{}:{}", identity.vendor, identity.device),
        mac: identity.mac.clone(),
    }
}

/// `0-3`, or `2` for one.
fn parse_range(text: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

fn overlap(a: &RangeInclusive<u32>, b: &RangeInclusive<u32>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

fn text(range: &RangeInclusive<u32>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

#[cfg(test)]
mod tests;
