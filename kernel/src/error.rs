//! What can go wrong between us and the kernel.

use std::{io, path::PathBuf, time::Duration};

/// A [`std::result::Result`] with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One failed operation: what was tried, on what, and what the kernel said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or socket operation failed; the source holds the errno.
    #[error("{op} {}", path.display())]
    Io {
        /// What was tried, ready to stand before the path: `read`, `write "4" to`.
        op: String,
        /// The file, directory or socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a netlink request.
    #[error("{op} {object}: {}", explain(*errno, message.as_deref()))]
    Netlink {
        /// What was tried: `create vdpa device`.
        op: &'static str,
        /// The name of what it was tried on.
        object: String,
        /// The positive errno of the answer.
        errno: i32,
        /// The extended acknowledgement's text, or our words where the kernel gives a bare errno.
        message: Option<String>,
    },
    /// A file or a netlink answer holds something else than its format says.
    #[error("parse {path}: found {value:?}, expected {expected}")]
    Parse {
        /// The file's path, or the name of the netlink message or text.
        path: String,
        /// What was found, cut to a readable length.
        value: String,
        /// What the format demands.
        expected: &'static str,
    },
    /// The kernel reported success, or has a state, that is not what was asked for.
    #[error("{object}: found {found}, expected {expected}")]
    Unexpected {
        /// The device or file looked at.
        object: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// A call did not come back in time: its thread still sleeps in the kernel.
    #[error("{op} {object}: no answer from the kernel within {} s, still waiting", after.as_secs())]
    Deadline {
        /// What was tried.
        op: String,
        /// The device it was tried on.
        object: String,
        /// The time given.
        after: Duration,
    },
    /// An earlier call still sleeps in the kernel, so that this one would join it.
    #[error("{op} {object}: not tried, an earlier {earlier} has not come back")]
    Stuck {
        /// What was to be tried.
        op: String,
        /// The device it was to be tried on.
        object: String,
        /// The earlier operation and its device.
        earlier: String,
    },
    /// A kernel module cannot be had.
    #[error("load module {name}: {reason}")]
    Module {
        /// The module's name.
        name: String,
        /// Why, and what a person can do.
        reason: String,
    },
}

impl Error {
    /// The positive errno that the kernel gave, where it gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } => source.raw_os_error(),
            Self::Netlink { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether the object is not there (`ENOENT`, `ENODEV`): for a removal, that is success.
    pub fn is_missing(&self) -> bool {
        matches!(self.errno(), Some(errno::ENOENT | errno::ENODEV | errno::ENXIO))
    }

    pub(crate) fn io(op: impl Into<String>, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { op: op.into(), path: path.into(), source }
    }

    pub(crate) fn parse(path: impl Into<String>, value: &str, expected: &'static str) -> Self {
        Self::Parse { path: path.into(), value: shorten(value), expected }
    }
}

/// The errno values that this crate's rules speak of (include/uapi/asm-generic/errno*.h).
pub mod errno {
    /// Operation not permitted.
    pub const EPERM: i32 = 1;
    /// No such file, or no such generic netlink family.
    pub const ENOENT: i32 = 2;
    /// No such device or address.
    pub const ENXIO: i32 = 6;
    /// Try again.
    pub const EAGAIN: i32 = 11;
    /// Device busy.
    pub const EBUSY: i32 = 16;
    /// Exists already.
    pub const EEXIST: i32 = 17;
    /// No such device.
    pub const ENODEV: i32 = 19;
    /// Invalid argument.
    pub const EINVAL: i32 = 22;
    /// No room, or no more of that kind.
    pub const ENOSPC: i32 = 28;
    /// Out of range.
    pub const ERANGE: i32 = 34;
    /// Operation not supported.
    pub const EOPNOTSUPP: i32 = 95;
    /// The kernel's internal "not supported", which leaks to user space from some drivers
    /// (include/linux/errno.h), for example from opening vhost-vdpa without a coherent IOMMU.
    pub const ENOTSUPP: i32 = 524;
}

/// The words for an errno.
pub(crate) fn errno_text(errno: i32) -> String {
    match errno {
        // The C library does not know the kernel's internal number.
        errno::ENOTSUPP => "Operation not supported by the driver (os error 524)".to_owned(),
        errno => io::Error::from_raw_os_error(errno).to_string(),
    }
}

fn explain(errno: i32, message: Option<&str>) -> String {
    match message {
        Some(message) => format!("{message}: {}", errno_text(errno)),
        None => errno_text(errno),
    }
}

fn shorten(value: &str) -> String {
    const LONGEST: usize = 80;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_operation_object_and_words() {
        let check = |errno, message: Option<&str>, expected: &str| {
            let error = Error::Netlink {
                op: "create vdpa device",
                object: "vdpa0".into(),
                errno,
                message: message.map(str::to_owned),
            };
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.errno(), Some(errno));
        };
        check(
            errno::ENODEV,
            Some("device not found"),
            "create vdpa device vdpa0: device not found: No such device (os error 19)",
        );
        check(errno::EEXIST, None, "create vdpa device vdpa0: File exists (os error 17)");
        check(
            errno::ENOTSUPP,
            None,
            "create vdpa device vdpa0: Operation not supported by the driver (os error 524)",
        );
    }

    #[test]
    fn io_error_does_not_repeat_its_source() {
        let source = io::Error::from_raw_os_error(errno::EBUSY);
        let error = Error::io("write \"4\" to", "/sys/x", source);
        assert_eq!(error.to_string(), "write \"4\" to /sys/x");
        assert_eq!(error.errno(), Some(errno::EBUSY));
        assert!(!error.is_missing());
    }

    #[test]
    fn long_values_are_cut() {
        let Error::Parse { value, .. } = Error::parse("x", &"é".repeat(100), "less") else {
            panic!("not a parse error")
        };
        assert_eq!(value.chars().count(), 81);
    }
}
