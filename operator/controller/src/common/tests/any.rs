//! Any nodes, in any order of reports, failed writes, reboots, new cards and consents: what a resource
//! has in common is given only to who can do it, does not move by itself, and comes to rest.

use std::collections::BTreeSet;

use super::*;

const CASES: u64 = 500;
const FEATURES: [&str; 6] = ["CSUM", "MAC", "MQ", "MRG_RXBUF", "MTU", "STATUS"];

/// A cluster to which anything happens.
struct Any {
    random: fastrand::Rng,
    nodes: Nodes,
    /// What each node's card can do.
    cards: BTreeMap<String, Names>,
    given_up: Names,
    /// What the resource had after the last round.
    last: Option<Names>,
}

#[test]
fn whatever_happens_it_is_stable_and_nobody_is_given_what_it_lacks() {
    for seed in 0..CASES {
        let mut any = Any::new(seed);
        for _ in 0..40 {
            any.something_happens(seed);
            let may_fail = any.random.bool();
            any.round(may_fail, seed);
        }
        any.comes_to_rest(seed);
    }
}

/// The order in which nodes tell decides nothing.
#[test]
fn all_told_it_is_what_all_can_do() {
    for seed in 0..CASES {
        let mut any = Any::new(seed);
        any.given_up.clear();
        any.round(false, seed);
        let mut names: Vec<String> = any.cards.keys().cloned().collect();
        any.random.shuffle(&mut names);
        let expected = any.cards.values().cloned().reduce(|a, b| &a & &b).unwrap();
        for name in names {
            assert_eq!(any.current(), None, "seed {seed}: before {name} told");
            any.tell(&name, true);
            any.round(false, seed);
        }
        assert_eq!(any.current(), Some(expected), "seed {seed}");
    }
}

impl Any {
    fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let (nodes, cards) = (Nodes::new(&[]), BTreeMap::new());
        let mut any = Self { random, nodes, cards, given_up: Names::new(), last: None };
        for _ in 0..any.random.u8(1..=4) {
            any.join();
        }
        any
    }

    fn join(&mut self) {
        let name = format!("n{}", self.cards.len());
        self.nodes.0.insert(name.clone(), node(&name));
        let card = self.card();
        self.cards.insert(name, card);
    }

    /// Every card has a MAC.
    fn card(&mut self) -> Names {
        let can = |random: &mut fastrand::Rng, name: &str| name == "MAC" || random.u8(0..4) > 0;
        let names = FEATURES.iter().filter(|name| can(&mut self.random, name));
        names.map(|name| (*name).to_owned()).collect()
    }

    fn something_happens(&mut self, seed: u64) {
        let names: Vec<String> = self.cards.keys().cloned().collect();
        let name = self.random.choice(&names).unwrap().clone();
        match self.random.u8(0..12) {
            0 if self.cards.len() < 6 => self.join(),
            1 => {
                let card = self.card();
                self.cards.insert(name, card);
            }
            // after a reboot there are no functions yet
            2 | 3 => self.tell(&name, false),
            4 => {
                let lost = *self.random.choice(&FEATURES).unwrap();
                self.given_up.extend((lost != "MAC").then(|| lost.to_owned()));
            }
            5 => self.given_up.clear(),
            _ => self.tell(&name, true),
        }
        assert!(self.cards.len() <= 6, "seed {seed}");
    }

    fn tell(&mut self, name: &str, functions: bool) {
        let features = Vec::from_iter(self.cards[name].iter().map(String::as_str)).join(",");
        self.nodes.answers(name, functions.then_some(features.as_str()));
    }

    fn policy(&self) -> [DevicePolicy; 1] {
        let names = Vec::from_iter(self.given_up.iter().map(String::as_str)).join(",");
        let annotation = format!("vm-rings={names}");
        let annotations = json!({WITHOUT_FEATURES: annotation});
        [policy("edge", |policy| {
            if !names.is_empty() {
                policy["metadata"]["annotations"] = annotations;
            }
        })]
    }

    /// What the specs say that the resource has.
    fn current(&self) -> Option<Names> {
        let asked = self.nodes.0.values().filter(|devices| !devices.spec.parents.is_empty());
        let given = asked.filter_map(|devices| {
            let pool = &devices.spec.parents[0].pools[0];
            let features = pool.vdpa.as_ref()?.features.as_deref()?;
            (!pool.awaits_features()).then(|| parse(features))
        });
        given.reduce(|a, b| &a & &b)
    }

    /// The operator compares and writes, and some of its writes may fail.
    fn round(&mut self, may_fail: bool, seed: u64) -> usize {
        let rendered = self.nodes.render(&self.policy());
        let mut written = 0;
        for (name, spec) in &rendered.specs {
            if may_fail && self.random.bool() {
                continue;
            }
            let was = self.nodes.0[name].clone();
            if !self.nodes.write(name, spec) {
                continue;
            }
            written += 1;
            let pool = &spec.parents[0].pools[0];
            let had = was.spec.parents.first().is_some_and(|p| !p.pools[0].awaits_features());
            if pool.awaits_features() {
                assert!(!had, "seed {seed}: {name} had features, and has none any more");
            } else if !had {
                let told = able(CARD, "0-3", was.status.as_ref().unwrap());
                let given: BTreeSet<_> = parse(self.nodes.given(name));
                let told = told.unwrap_or_else(|| panic!("seed {seed}: {name} has not told"));
                assert!(given.is_subset(&told), "seed {seed}: {name}: {given:?} of {told:?}");
            }
        }
        self.moves_only_by_consent(seed);
        written
    }

    fn moves_only_by_consent(&mut self, seed: u64) {
        let now = self.current();
        if let Some(last) = &self.last {
            let now = now.as_ref().unwrap_or_else(|| panic!("seed {seed}: {last:?} is forgotten"));
            assert!(now.is_subset(last), "seed {seed}: {last:?} grew to {now:?}");
            let lost = last - now;
            assert!(lost.is_subset(&self.given_up), "seed {seed}: {lost:?} went by itself");
        }
        self.last = now;
    }

    /// All have told, and no write fails: one round, another one for the features, and no more.
    fn comes_to_rest(&mut self, seed: u64) {
        for _ in 0..2 {
            self.round(false, seed);
            for name in self.cards.keys().cloned().collect::<Vec<_>>() {
                self.tell(&name, true);
            }
        }
        self.round(false, seed);
        for _ in 0..3 {
            assert_eq!(self.round(false, seed), 0, "seed {seed}: it does not rest");
        }
        let set = self.current().unwrap_or_else(|| panic!("seed {seed}: nothing was agreed on"));
        let findings = &self.nodes.render(&self.policy()).policies["edge"].findings;
        let lesser = self.cards.values().filter(|card| !set.is_subset(card)).count();
        let told = findings.iter().filter(|finding| finding.reason == Reason::FeaturesMissing);
        assert_eq!((told.count(), findings.len()), (lesser, lesser), "seed {seed}: {findings:?}");
    }
}
