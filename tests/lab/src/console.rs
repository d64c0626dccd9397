//! The node's serial console: what the kernel says when it breaks.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// A line with one of these is a kernel bug, ours or its own.
const BROKEN: [&str; 6] = [
    "Kernel panic",
    "Oops:",
    "BUG: ",
    "general protection fault",
    "blocked for more than",
    "soft lockup",
];

/// Reads a console from where it was last read.
#[derive(Debug)]
pub(crate) struct Console {
    path: PathBuf,
    read: u64,
}

impl Console {
    /// Watches a console from its beginning.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// The lines since the last call from the first broken one on; `None` when all is well.
    pub(crate) fn broken(&mut self) -> Option<String> {
        let mut text = Vec::new();
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(self.read)).ok()?;
        self.read += u64::try_from(file.read_to_end(&mut text).ok()?).ok()?;
        broken_in(&String::from_utf8_lossy(&text))
    }
}

fn broken_in(text: &str) -> Option<String> {
    let lines: Vec<_> = text.lines().collect();
    let first = lines.iter().position(|l| BROKEN.iter().any(|b| l.contains(b)))?;
    Some(lines[first..].iter().take(40).copied().collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oops_is_found_with_what_follows() {
        let text = "[1] fine\n[2] BUG: kernel NULL pointer dereference\n[3] RIP: 0010:x\n";
        assert!(broken_in(text).unwrap().starts_with("[2] BUG"));
        assert!(broken_in(text).unwrap().contains("RIP"));
        assert_eq!(broken_in("[1] debugging is fine\n"), None);
    }

    #[test]
    fn each_line_is_reported_once() {
        let path = std::env::temp_dir().join(format!("ringway-console-{}", std::process::id()));
        std::fs::write(&path, "Kernel panic - not syncing\n").unwrap();
        let mut console = Console::new(path.clone());
        assert!(console.broken().is_some());
        assert_eq!(console.broken(), None);
        std::fs::remove_file(path).unwrap();
    }
}
