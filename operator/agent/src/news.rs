//! What somebody who runs a cluster wants to hear of, once: a round's report compared with what was
//! told before. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::reconcile::{Report, chain};
use crate::status;
use crate::wish::Wish;

/// The most news of one round. The conditions tell everything, and for as long as it is so.
const MOST: usize = 16;
/// The API server takes no longer notes (`NoteLengthLimit`, pkg/apis/core/validation/events.go).
const LONGEST_NOTE: usize = 1024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) kind: Kind,
    /// As in the conditions, where it is in one.
    pub(crate) reason: &'static str,
    /// In one sentence, with the object that it is about.
    pub(crate) note: String,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A parent or function is left as it is.
    Refused,
    /// A step failed, or the whole round.
    Failed,
    /// A step waits because somebody holds a device.
    Held,
    /// What had changed behind our back is as wanted again.
    Repaired,
}

/// What was told, and what it takes to notice a change.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// What is wrong, by what tells one thing from another.
    now: BTreeSet<String>,
    /// What the last round was about.
    wish: Option<Wish>,
    /// Parents that the last round left as wanted; none are known before the first.
    settled: BTreeSet<String>,
    /// Parents that were as wanted and are not, with what was done about it.
    drifted: BTreeMap<String, Vec<String>>,
}

impl Told {
    /// The news of a round that came to its end.
    pub(crate) fn news(&mut self, wish: Option<&Wish>, report: &Report) -> Vec<News> {
        let mut now = BTreeSet::new();
        let mut news = Vec::new();
        let mut tell = |key: String, kind, reason, note: String| {
            if !self.now.contains(&key) && !now.contains(&key) {
                news.push(News { kind, reason, note });
            }
            now.insert(key);
        };
        for refusal in &report.plan.refusals {
            let (reason, note) = (refusal.reason.as_str(), refusal.message.clone());
            tell(format!("refused {note}"), Kind::Refused, reason, note);
        }
        for (planned, error) in &report.failures {
            // the same step's error may read differently each time
            let what = format!("{}: {}", planned.parent, planned.step);
            let (reason, note) =
                (status::reason(error).as_str(), format!("{what}: {}", chain(error)));
            tell(format!("failed {what}"), Kind::Failed, reason, note);
        }
        for who in &report.held {
            tell(format!("held {who}"), Kind::Held, "DeviceHeld", who.clone());
        }
        self.now = now;
        news.extend(self.repaired(wish, report));
        bounded(news)
    }

    /// The news of a round that broke off.
    pub(crate) fn broken(&mut self, error: &str) -> Option<News> {
        // one text or another: the round broke
        let new = self.now.insert("broken".to_owned());
        let note = format!("the node cannot be worked on: {error}");
        new.then(|| News { kind: Kind::Failed, reason: "StepFailed", note: cut(note) })
    }

    /// Parents that were left as wanted, under the same wish, had steps to be done, and have none
    /// any more: nobody asked for the change that these put right.
    fn repaired(&mut self, wish: Option<&Wish>, report: &Report) -> Vec<News> {
        if self.wish.as_ref().map(|wish| &wish.spec) != wish.map(|wish| &wish.spec) {
            self.settled.clear();
            self.drifted.clear();
        }
        self.wish = wish.cloned();
        let left: BTreeSet<String> =
            report.plan.steps.iter().map(|planned| planned.parent.to_string()).collect();
        let refused = |parent: &String| report.plan.refusals.iter().any(|r| r.parent == *parent);
        for parent in left.iter().filter(|parent| self.settled.contains(*parent)) {
            self.drifted.entry(parent.clone()).or_default();
        }
        for planned in &report.done {
            let parent = planned.parent.to_string();
            if self.settled.contains(&parent) || self.drifted.contains_key(&parent) {
                self.drifted.entry(parent).or_default().push(planned.step.to_string());
            }
        }
        let done = |parent: &String| !left.contains(parent) && !refused(parent);
        let parents = report.observed.inventory.parents.iter().map(|p| p.address.to_string());
        let simulators = &report.observed.inventory.simulators;
        let simulators = simulators.iter().map(|s| s.management_device.handle.to_string());
        self.settled = parents.chain(simulators).filter(done).collect();
        let drifted = std::mem::take(&mut self.drifted);
        let (repaired, drifted) = drifted.into_iter().partition(|(parent, _)| done(parent));
        self.drifted = drifted;
        let repaired: BTreeMap<String, Vec<String>> = repaired;
        let news = repaired.into_iter().filter(|(_, steps)| !steps.is_empty());
        let note = |parent, steps: Vec<String>| {
            format!("{parent} had changed and is as wanted again: {}", steps.join(", "))
        };
        news.map(|(parent, steps)| News {
            kind: Kind::Repaired,
            reason: "Repaired",
            note: note(parent, steps),
        })
        .collect()
    }
}

fn bounded(mut news: Vec<News>) -> Vec<News> {
    news.truncate(MOST);
    for news in &mut news {
        news.note = cut(std::mem::take(&mut news.note));
    }
    news
}

/// At most so many bytes, cut between characters.
fn cut(mut note: String) -> String {
    if note.len() > LONGEST_NOTE {
        let boundary = (0..=LONGEST_NOTE - 3).rev().find(|at| note.is_char_boundary(*at));
        note.truncate(boundary.unwrap_or(0));
        note += "...";
    }
    note
}

#[cfg(test)]
mod tests;
