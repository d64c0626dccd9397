//! The journal's native protocol (systemd, docs/JOURNAL_NATIVE_PROTOCOL.md): one datagram a message, a
//! field a line; a value with a line end in it has its length before it.

use std::{io, os::unix::net::UnixDatagram, path::Path};

use serde_json::{Map, Value};
use tracing::Level;

/// So long may a value be, in bytes: a datagram must fit the socket's buffer, which is 200 KiB by
/// default (`net.core.wmem_default`).
const LONGEST: usize = 16 << 10;

/// The journal of this node.
#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// `None` if the node has none.
    pub(super) fn open(socket: &Path) -> Option<Self> {
        let connect = || -> io::Result<UnixDatagram> {
            let datagrams = UnixDatagram::unbound()?;
            datagrams.connect(socket)?;
            // One that does not read must keep no device attached.
            datagrams.set_nonblocking(true)?;
            Ok(datagrams)
        };
        connect().ok().map(Self)
    }

    /// What cannot be sent is lost.
    pub(super) fn send(&self, level: Level, fields: &Map<String, Value>) {
        let _ = self.0.send(&encode(level, fields));
    }
}

fn encode(level: Level, fields: &Map<String, Value>) -> Vec<u8> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let said = fields.get("message").map(text).unwrap_or_default();
    let others = || fields.iter().filter(|(name, _)| *name != "message");
    let facts: Vec<_> = others().map(|(name, value)| format!("{name}={value}")).collect();
    let message = std::iter::once(said).chain(facts).collect::<Vec<_>>().join(" ");
    let mut datagram = Vec::new();
    let mut put = |name: &str, value: &str| field(&mut datagram, name, value);
    put("MESSAGE", &message);
    put("PRIORITY", priority(level));
    put("SYSLOG_IDENTIFIER", "ringway");
    for (name, value) in others() {
        put(&ours(name), &text(value));
    }
    datagram
}

/// As syslog counts them.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// `containerID` becomes `RINGWAY_CONTAINER_ID`.
fn ours(name: &str) -> String {
    let mut all = "RINGWAY_".to_owned();
    let mut after_small = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && after_small {
            all.push('_');
        }
        after_small = c.is_ascii_lowercase() || c.is_ascii_digit();
        all.push(if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    }
    all
}

fn field(datagram: &mut Vec<u8>, name: &str, value: &str) {
    let longest = (0..=LONGEST.min(value.len())).rev().find(|at| value.is_char_boundary(*at));
    let value = &value[..longest.unwrap_or(0)];
    datagram.extend(name.as_bytes());
    match value.contains('\n') {
        true => {
            datagram.push(b'\n');
            datagram.extend((value.len() as u64).to_le_bytes());
        }
        false => datagram.push(b'='),
    }
    datagram.extend(value.as_bytes());
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn encoded(level: Level, fields: Value) -> Vec<u8> {
        encode(level, fields.as_object().unwrap())
    }

    #[test]
    fn a_field_is_a_line_and_a_value_with_a_line_end_has_its_length() {
        let fields = json!({"message": "failed", "code": 7, "containerID": "c1", "device": "a\nb"});
        let expected = b"MESSAGE=failed code=7 containerID=\"c1\" device=\"a\\nb\"\nPRIORITY=3\n\
            SYSLOG_IDENTIFIER=ringway\nRINGWAY_CODE=7\nRINGWAY_CONTAINER_ID=c1\n\
            RINGWAY_DEVICE\n\x03\0\0\0\0\0\0\0a\nb\n";
        let found = encoded(Level::ERROR, fields);
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(expected));
        let said = encoded(Level::INFO, json!({"message": "a\nPRIORITY=0"}));
        let expected =
            b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nPRIORITY=6\nSYSLOG_IDENTIFIER=ringway\n";
        assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(expected));
    }

    #[test]
    fn what_is_too_long_for_a_datagram_is_cut_at_a_character() {
        let long = "ä".repeat(LONGEST);
        let found = encoded(Level::WARN, json!({"error": long}));
        let text = String::from_utf8(found).unwrap();
        assert!(text.len() < 3 * LONGEST, "{}", text.len());
    }

    #[test]
    fn a_node_without_a_journal_has_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Journal::open(&dir.path().join("socket")).is_none());
    }
}
