//! Conditions as Kubernetes has them: one per type, and a time that says when it last changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use ringway_api::conditions::Reason;

use crate::finding::bounded;

/// A condition to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Such as [`ringway_api::conditions::READY`].
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why.
    pub reason: Reason,
    /// For people; cut where it is too long.
    pub message: String,
}

impl Wanted {
    /// It does not hold, and there is nothing to say.
    pub fn not(kind: &'static str) -> Self {
        Self { kind, holds: false, reason: Reason::Nothing, message: String::new() }
    }
}

/// The conditions to write over `old`. One whose status stays keeps its transition time, so that
/// the same conditions are the same values, and need no write.
pub fn set(
    old: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
    wanted: impl IntoIterator<Item = Wanted>,
) -> Vec<Condition> {
    let set_one = |wanted: Wanted| {
        let status = if wanted.holds { "True" } else { "False" };
        let same = old.iter().find(|old| old.type_ == wanted.kind && old.status == status);
        Condition {
            type_: wanted.kind.to_owned(),
            status: status.to_owned(),
            reason: wanted.reason.as_str().to_owned(),
            message: bounded(&wanted.message),
            observed_generation: generation,
            last_transition_time: same
                .map_or_else(|| Time(whole_seconds(now)), |same| same.last_transition_time.clone()),
        }
    };
    wanted.into_iter().map(set_one).collect()
}

/// Whether the condition of this type holds.
pub fn holds(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// As it comes back from the API server (`metav1.Time` has no fraction).
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use ringway_api::conditions::{DEGRADED, READY};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millisecond(second * 1000 + 7).unwrap()
    }

    fn wanted(holds: bool, message: &str) -> Wanted {
        Wanted { kind: READY, holds, reason: Reason::AsWanted, message: message.into() }
    }

    #[test]
    fn the_time_changes_with_the_status_only() {
        let first = set(&[], Some(1), at(10), [wanted(false, "a"), Wanted::not(DEGRADED)]);
        assert_eq!(first[0].last_transition_time.0, Timestamp::from_second(10).unwrap());
        let second = set(&first, Some(2), at(20), [wanted(false, "b"), Wanted::not(DEGRADED)]);
        assert_eq!(second[0].last_transition_time, first[0].last_transition_time);
        assert_eq!((second[0].message.as_str(), second[0].observed_generation), ("b", Some(2)));
        let third = set(&second, Some(2), at(30), [wanted(true, "b"), Wanted::not(DEGRADED)]);
        assert_eq!(third[0].last_transition_time.0, Timestamp::from_second(30).unwrap());
        assert_eq!(third[1], second[1]);
        assert!(holds(&third, READY) && !holds(&third, DEGRADED) && !holds(&[], READY));
    }

    #[test]
    fn conditions_survive_the_wire() {
        let conditions = set(&[], Some(1), at(10), [wanted(true, "")]);
        let wire = serde_json::to_string(&conditions).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Condition>>(&wire).unwrap(), conditions);
    }
}
