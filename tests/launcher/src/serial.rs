//! What the guest says on its serial console.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// What the guest's init says when it is done; what follows is 0 if no ping was lost.
const DONE: &str = "VM-DONE rc=";

/// A console's file, read as it grows.
#[derive(Debug)]
pub struct Serial {
    path: PathBuf,
    offset: u64,
    partial: Vec<u8>,
}

impl Serial {
    /// The console at `path`, from its start.
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, partial: Vec::new() }
    }

    /// The lines that are complete since the last call. No file is an empty one: QEMU makes it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lines(&mut self) -> io::Result<Vec<String>> {
        let mut file = match File::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        file.seek(SeekFrom::Start(self.offset))?;
        self.offset += file.read_to_end(&mut self.partial)? as u64;
        let mut lines = Vec::new();
        while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        Ok(lines)
    }
}

/// The guest's result, if this is the line that says it.
pub fn result(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once(DONE)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_come_when_they_are_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serial.log");
        let mut serial = Serial::new(path.clone());
        assert!(serial.lines().unwrap().is_empty());
        let mut file = File::create(&path).unwrap();
        let mut check = |written: &[u8], expected: &[&str]| {
            file.write_all(written).unwrap();
            assert_eq!(serial.lines().unwrap(), expected);
        };
        check(b"a\r\nb", &["a"]);
        check(b"", &[]);
        check(b"c\r\n\xff\n", &["bc", "\u{fffd}"]);
    }

    #[test]
    fn the_result_is_found() {
        let check =
            |line: &str, expected: Option<u32>| assert_eq!(result(line), expected, "{line}");
        check("VM-DONE rc=0 uptime=12.3", Some(0));
        check("[   12.3] VM-DONE rc=1", Some(1));
        check("VM-DONE rc=10", Some(10));
        check("VM-DONE rc=", None);
        check("ping 10.88.0.1: 5 sent, 5 received", None);
    }
}
