//! What all have in common, as sets. A set never grows once it was given to anybody, and becomes
//! smaller only by what people gave up: who has less has to wait for that, who has more has no effect.

use std::collections::BTreeSet;

/// Features by name.
pub(super) type Names = BTreeSet<String>;

/// What is known of one pool's functions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Voice {
    /// What all of them can be given, once they have told.
    pub(super) able: Option<Names>,
    /// What they were given before.
    pub(super) given: Option<Names>,
    /// Whether they can be expected to tell.
    pub(super) will_tell: bool,
}

/// What follows from all that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// These.
    On(Names),
    /// Somebody has to tell first.
    Awaited,
    /// There is none that all have.
    Nothing,
}

/// The features of a resource: what was given before, else what all who have told can be given, once
/// everybody has from whom that can be expected; without what people gave up.
pub(super) fn agree(voices: &[&Voice], given_up: &Names) -> Agreement {
    let in_common = |of: fn(&Voice) -> Option<&Names>| {
        let sets = voices.iter().filter_map(|voice| of(voice));
        sets.cloned().reduce(|a, b| &a & &b)
    };
    let given = in_common(|voice| voice.given.as_ref());
    let told = || {
        let all_told = !voices.iter().any(|voice| voice.is_awaited());
        in_common(|voice| voice.able.as_ref()).filter(|_| all_told)
    };
    match given.or_else(told).map(|set| &set - given_up) {
        None => Agreement::Awaited,
        Some(set) if set.is_empty() => Agreement::Nothing,
        Some(set) => Agreement::On(set),
    }
}

impl Voice {
    /// Whether nothing can be agreed on before it has told.
    pub(super) fn is_awaited(&self) -> bool {
        self.will_tell && self.able.is_none()
    }

    /// Whether this set is for it. What it was given before stays its own, also where the functions are
    /// not there at the moment, or are others that lack some of it: its agent refuses these, and the
    /// set is not forgotten with the last node that has it.
    pub(super) fn gets(&self, set: &Names) -> bool {
        self.given.is_some() || self.able.as_ref().is_some_and(|able| set.is_subset(able))
    }

    /// What it lacks of this set.
    pub(super) fn missing(&self, set: &Names) -> Names {
        self.able.as_ref().map(|able| set - able).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
