//! Asks a running program how it is, for kubelet's probes: in a container without a shell, and without
//! a port that others could reach.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Kubelet gives up earlier.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a program is not as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer.
    #[error("ask {page} on {}", socket.display())]
    Ask {
        /// The page.
        page: &'static str,
        /// The socket.
        socket: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// It says that it is not.
    #[error("{page}: {answer}")]
    Not {
        /// The page.
        page: &'static str,
        /// What it says.
        answer: String,
    },
}

/// Whether the program behind `socket` answers on `page` that all is well.
///
/// # Errors
/// [`Error::Ask`] and [`Error::Not`].
pub fn ask(socket: &Path, page: &'static str) -> Result<(), Error> {
    let answer = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        write!(stream, "GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(64 * 1024).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer =
        answer().map_err(|source| Error::Ask { page, socket: socket.to_owned(), source })?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let text = answer.split_once("\r\n\r\n").map_or(&*answer, |(_, text)| text);
    Err(Error::Not { page, answer: text.trim().to_owned() })
}
