//! Programs that are put on the host, where somebody may start them at any moment.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::atomic::{self, Error};

/// Larger than a program of ours ever is, in bytes.
const LONGEST: u64 = 64 << 20;

/// Copies the program `from` to `to`, whole or not at all. What is there and the same is left alone.
/// Gives whether anything was written.
///
/// # Errors
/// It cannot be read, or not be written; what was there before then still is.
pub fn install(from: &Path, to: &Path) -> Result<bool, Error> {
    let program = std::fs::read(from).map_err(|error| Error::io("read", from, error))?;
    let same = atomic::read(to, LONGEST).is_ok_and(|there| there == program);
    if same && is_executable(to) {
        return Ok(false);
    }
    atomic::write(to, &program, 0o755).map(|()| true)
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| about.permissions().mode() & 0o777 == 0o755)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_copied_once_and_again_when_it_differs() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for content in ["one", "two"] {
            std::fs::write(&from, content).unwrap();
            assert!(install(&from, &to).unwrap());
            assert!(!install(&from, &to).unwrap());
            assert!(is_executable(&to));
            assert_eq!(std::fs::read_to_string(&to).unwrap(), content);
        }
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(install(&from, &to).unwrap(), "one that cannot be started is no program");
    }
}
