//! QEMU's monitor: the lab's hands on the node's hardware, such as to pull a card and plug another.
//!
//! The machine protocol, docs/interop/qmp-spec.rst of QEMU: a JSON object a line, events in between.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::place::Place;

/// QEMU answers as soon as its main loop comes around.
const ANSWER: Duration = Duration::from_secs(60);

/// Where QEMU listens.
pub(crate) fn socket(place: &Place) -> PathBuf {
    place.sockets.join("qmp")
}

/// Has a line of the human monitor's language carried out, and gives what it says.
pub(crate) fn say(place: &Place, line: &str) -> Result<String> {
    let stream = UnixStream::connect(socket(place)).context("reach QEMU's monitor")?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut talk = Talk { lines: BufReader::new(stream.try_clone()?), stream };
    talk.line()?; // the greeting
    talk.ask(&json!({"execute": "qmp_capabilities"}))?;
    let said = talk.ask(&json!({
        "execute": "human-monitor-command", "arguments": {"command-line": line},
    }))?;
    let said = said.as_str().unwrap_or_default().replace('\r', "");
    // what a person would see as an error is an answer like others
    if said.starts_with("Error") || said.starts_with("unknown command") {
        bail!("{}", said.trim_end());
    }
    Ok(said)
}

struct Talk {
    lines: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Talk {
    fn ask(&mut self, request: &Value) -> Result<Value> {
        writeln!(self.stream, "{request}").context("ask QEMU")?;
        loop {
            let answer = self.line()?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                bail!("{}", error["desc"].as_str().unwrap_or("QEMU refuses"));
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.lines.read_line(&mut line).context("hear from QEMU")? == 0 {
            bail!("QEMU ended");
        }
        serde_json::from_str(&line).with_context(|| format!("read QEMU's answer {line:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// Somebody who answers a request a line, after an event.
    fn answered(last: &str) -> Result<String> {
        let dir =
            std::env::temp_dir().join(format!("ringway-qmp-{}-{}", std::process::id(), last.len()));
        std::fs::create_dir_all(&dir)?;
        let place = Place { sockets: dir.clone(), ..Place::find()? };
        let listener = UnixListener::bind(socket(&place))?;
        let last = last.to_owned();
        let qemu = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut writer = stream.try_clone().unwrap();
            writer.write_all(b"{\"QMP\": {}}\n").unwrap();
            let mut requests = BufReader::new(stream).lines();
            requests.next();
            writer.write_all(b"{\"event\": \"STOP\"}\n{\"return\": {}}\n").unwrap();
            let request = requests.next().unwrap().unwrap();
            writer.write_all(format!("{last}\n").as_bytes()).unwrap();
            request
        });
        let said = say(&place, "device_del igb");
        assert!(qemu.join().unwrap().contains("\"device_del igb\""));
        std::fs::remove_dir_all(dir)?;
        said
    }

    #[test]
    fn it_says_what_qemu_answers() {
        assert_eq!(answered("{\"return\": \"fine\\r\\n\"}").unwrap(), "fine\n");
        let error = answered("{\"return\": \"Error: Device 'igb' not found\\r\\n\"}").unwrap_err();
        assert_eq!(error.to_string(), "Error: Device 'igb' not found");
        let error = answered("{\"error\": {\"desc\": \"no such command\"}}").unwrap_err();
        assert_eq!(error.to_string(), "no such command");
        assert!(answered("?").unwrap_err().to_string().contains("QEMU's answer"));
    }
}
