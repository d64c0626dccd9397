//! What can be said of a policy's pools without looking at any node.

use std::ops::RangeInclusive;

use ringway_api::conditions::Reason;
use ringway_api::device_policy::{DevicePolicySpec, Pool};

/// Why something is refused: for machines, and for people.
pub type Complaint = (Reason, String);

/// Checks that the pools' ranges can be read, fit the function count and share no function, and
/// that no resource is served in two ways.
pub fn check(spec: &DevicePolicySpec) -> Result<(), Complaint> {
    let mut earlier: Vec<(&Pool, RangeInclusive<u16>)> = Vec::new();
    for pool in &spec.pools {
        let range = check_range(pool, spec.function_count)?;
        for (other, others) in &earlier {
            if others.start() <= range.end() && range.start() <= others.end() {
                let message = format!(
                    "pools {} and {}: range {} and range {} share functions: each function serves one pool",
                    other.name, pool.name, other.range, pool.range,
                );
                return Err((Reason::OverlappingRanges, message));
            }
            if let Some(resource) = &pool.resource
                && other.resource.as_ref() == Some(resource)
                && other.attach != pool.attach
            {
                let message = format!(
                    "pools {} and {}: resource {resource} is served as {} and as {}: a resource has one attach kind",
                    other.name,
                    pool.name,
                    other.attach.as_str(),
                    pool.attach.as_str(),
                );
                return Err((Reason::Invalid, message));
            }
        }
        earlier.push((pool, range));
    }
    Ok(())
}

fn check_range(pool: &Pool, count: u16) -> Result<RangeInclusive<u16>, Complaint> {
    let range = parse_range(&pool.range).ok_or_else(|| {
        let message = format!(
            "pool {}: range {:?}: one index, or two from low to high such as 0-3",
            pool.name, pool.range,
        );
        (Reason::Invalid, message)
    })?;
    if *range.end() < count {
        return Ok(range);
    }
    let message = match count.checked_sub(1) {
        Some(last) => format!(
            "pool {}: range {} goes beyond functionCount {count}: the last function is {last}",
            pool.name, pool.range,
        ),
        None => format!("pool {}: range {}: functionCount is 0", pool.name, pool.range),
    };
    Err((Reason::TooManyFunctions, message))
}

/// `0-3`, or `2` for one: indices of functions, ends included.
pub fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use ringway_api::device_policy::Attach::{self, Host, Netdev, Vfio, VhostVdpa, VirtioVdpa};
    use ringway_api::device_policy::Ownership;

    use super::*;

    fn verdict(count: u16, pools: &[(&str, &str, Attach)]) -> Result<(), Complaint> {
        let pool = |(i, (range, resource, attach)): (usize, &(&str, &str, Attach))| Pool {
            name: format!("p{i}"),
            resource: (*attach != Host).then(|| (*resource).into()),
            range: (*range).into(),
            attach: *attach,
            vdpa: None,
            defaults: None,
            limits: None,
            allocation: None,
            health: None,
        };
        check(&DevicePolicySpec {
            node_selector: None,
            priority: 0,
            parents: Vec::new(),
            ownership: Ownership::Managed,
            adopt: false,
            uplink: None,
            function_count: count,
            pools: pools.iter().enumerate().map(pool).collect(),
        })
    }

    #[test]
    fn sound_partitions_pass() {
        for pools in [
            &[("0-1", "a", VhostVdpa), ("2-3", "b", VirtioVdpa)][..],
            &[("3", "a", VhostVdpa), ("0", "a", VhostVdpa)],
            &[("0", "a", Netdev), ("1", "b", Vfio), ("2", "", Host), ("3", "", Host)],
            &[],
        ] {
            assert_eq!(verdict(4, pools), Ok(()));
        }
    }

    #[test]
    fn unsound_ones_name_field_value_and_what_is_allowed() {
        for (pools, reason, words) in [
            (&[("3-1", "a", VhostVdpa)][..], Reason::Invalid, "pool p0: range \"3-1\": one index"),
            (&[("x", "a", VhostVdpa)], Reason::Invalid, "from low to high"),
            (&[("1-99999", "a", VhostVdpa)], Reason::Invalid, "range \"1-99999\""),
            (&[("2-4", "a", VhostVdpa)], Reason::TooManyFunctions, "the last function is 3"),
            (
                &[("0-2", "a", VhostVdpa), ("2-3", "b", VhostVdpa)],
                Reason::OverlappingRanges,
                "pools p0 and p1: range 0-2 and range 2-3",
            ),
            (
                &[("0", "a", VhostVdpa), ("1", "a", VirtioVdpa)],
                Reason::Invalid,
                "as vhost-vdpa and as virtio-vdpa",
            ),
            (&[("0", "a", Netdev), ("1", "a", Vfio)], Reason::Invalid, "as netdev and as vfio"),
        ] {
            let (said, message) = verdict(4, pools).unwrap_err();
            assert_eq!(said, reason, "{message}");
            assert!(message.contains(words), "{message}");
        }
        assert_eq!(verdict(0, &[("0", "a", VhostVdpa)]).unwrap_err().0, Reason::TooManyFunctions);
    }
}
