//! `ringway list`: the attachments of this node, by their records.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use ringway_kernel::Root;
use serde_json::{Value, json};

use crate::{
    error::Error,
    record::{Phase, Record},
    world::World,
};

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// All of them, as a table or as JSON. An error if a record cannot be read, after those that can.
pub fn list(world: &World, as_json: bool) -> Result<String> {
    let dir = &world.paths.attachments;
    let (records, errors) =
        Record::list_all(dir).map_err(told).with_context(|| dir.display().to_string())?;
    let rows: Vec<_> = records
        .iter()
        .map(|record| Ok((record, namespace(&world.root, record)?)))
        .collect::<Result<_>>()?;
    let text = if as_json { to_json(&rows, now()) } else { table(&rows, now()) };
    if let Some(error) = Error::all(errors) {
        print!("{text}");
        bail!("{}", error.chain());
    }
    Ok(text)
}

pub(crate) fn told(error: Error) -> anyhow::Error {
    anyhow::anyhow!("{}", error.chain())
}

/// Whether the pod's namespace lives.
pub(crate) fn namespace(root: &Root, record: &Record) -> Result<&'static str> {
    Ok(match record.of_this_boot(root).map_err(told)? {
        false => "of an earlier boot",
        true => match record.netns.find() {
            Ok(Some(_)) => "alive",
            Ok(None) => "gone",
            Err(_) => "unknown",
        },
    })
}

pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Attaching => "attaching",
        Phase::Attached => "attached",
        Phase::Away => "away",
        Phase::Detached => "detached",
    }
}

/// The pod as the runtime named it, which nobody here has checked.
pub(crate) fn pod(record: &Record) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
    let text = format!("{}/{}", part(&record.pod.namespace), part(&record.pod.name));
    text.escape_debug().to_string()
}

/// As kubectl writes it: two units at most, the coarser the older.
pub(crate) fn age(since: Option<u64>, now: u64) -> String {
    let Some(since) = since else { return "?".to_owned() };
    let seconds = now.saturating_sub(since);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{minutes}m"),
        7_200..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

const HEAD: [&str; 8] =
    ["DEVICE", "ATTACH", "POD", "INTERFACE", "NETWORK", "PHASE", "AGE", "NAMESPACE"];

fn table(rows: &[(&Record, &str)], now: u64) -> String {
    if rows.is_empty() {
        return "no attachments\n".to_owned();
    }
    let line = |(record, namespace): &(&Record, &str)| {
        [
            record.device.to_string(),
            record.attachment.to_string(),
            pod(record),
            record.ifname.clone(),
            record.network.clone(),
            phase(record.phase).to_owned(),
            age(record.since, now),
            (*namespace).to_owned(),
        ]
    };
    let lines: Vec<_> =
        std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(line)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<_> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let padded: Vec<_> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        text += padded.join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn to_json(rows: &[(&Record, &str)], now: u64) -> String {
    let object = |(record, namespace): &(&Record, &str)| {
        json!({
            "device": record.device, "attachment": record.attachment,
            "pod": {"namespace": record.pod.namespace, "name": record.pod.name,
                    "uid": record.pod.uid},
            "containerID": record.container_id, "ifname": record.ifname,
            "network": record.network, "phase": record.phase, "since": record.since,
            "ageSeconds": record.since.map(|since| now.saturating_sub(since)),
            "netns": {"path": record.netns.path, "state": namespace},
        })
    };
    let objects: Vec<Value> = rows.iter().map(object).collect();
    format!("{:#}\n", Value::from(objects))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{invocation::Pod, record::tests::sample};

    #[test]
    fn a_table_has_a_row_for_each_and_what_tenants_wrote_stays_in_it() {
        let named = |name: &str| Pod {
            namespace: Some("default".into()),
            name: Some(name.into()),
            uid: None,
        };
        let first = Record { since: Some(1_000), pod: named("web"), ..sample() };
        let second = Record { since: None, pod: named("a\nb"), phase: Phase::Away, ..sample() };
        let text = table(&[(&first, "alive"), (&second, "gone")], 1_000 + 7_300);
        assert_eq!(
            text,
            "DEVICE        ATTACH       POD           INTERFACE  NETWORK      PHASE     AGE  NAMESPACE\n\
             0000:01:00.1  virtio-vdpa  default/web   net1       default/net  attached  2h   alive\n\
             0000:01:00.1  virtio-vdpa  default/a\\nb  net1       default/net  away      ?    gone\n"
        );
        assert_eq!(table(&[], 0), "no attachments\n");
        let json: Value = serde_json::from_str(&to_json(&[(&first, "alive")], 1_060)).unwrap();
        assert_eq!(json[0]["ageSeconds"], 60);
        assert_eq!(json[0]["netns"]["state"], "alive");
    }

    #[test]
    fn ages_grow_coarser() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(age(Some(10), 10 + seconds), expected);
        };
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(7_199, "119m");
        check(7_200, "2h");
        check(172_800, "2d");
        assert_eq!(age(Some(10), 5), "0s", "a clock that was set back");
        assert_eq!(age(None, 5), "?");
    }

    #[test]
    fn a_namespace_lives_only_in_its_own_boot() {
        let root = Root::default();
        assert_eq!(namespace(&root, &sample()).unwrap(), "alive");
        let mut gone = sample();
        gone.netns.path = "/run/netns/none".into();
        assert_eq!(namespace(&root, &gone).unwrap(), "gone");
        let earlier = Record { boot_id: "another".into(), ..sample() };
        assert_eq!(namespace(&root, &earlier).unwrap(), "of an earlier boot");
    }
}
