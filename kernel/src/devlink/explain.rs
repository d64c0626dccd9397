//! Words for the family's bare errnos: what the kernel means where it sends no text
//! (net/devlink/dev.c, and the drivers' `eswitch_mode_set`). Its own text is passed on as it is.

use super::EswitchMode;
use crate::error::{Error, errno};

/// Adds to a mode that could not be read what the errno means.
pub(super) fn get(error: Error) -> Error {
    reword(error, |errno| match errno {
        errno::ENODEV => Some("it is no devlink device of this network namespace".to_owned()),
        errno::EPERM => Some("the capability NET_ADMIN is missing".to_owned()),
        _ => None,
    })
}

/// Adds to a mode that could not be set what the errno means.
pub(super) fn set(error: Error, mode: EswitchMode) -> Error {
    reword(error, |errno| match errno {
        errno::ENODEV => Some("it is no devlink device of this network namespace".to_owned()),
        errno::EOPNOTSUPP | errno::ENOTSUPP => Some(format!(
            "its driver or firmware cannot do {mode}, or not with the functions that it has now"
        )),
        // bnxt_dl_eswitch_mode_set has this one for switchdev without functions
        errno::EPERM => Some(
            "the capability NET_ADMIN is missing, or the driver wants functions first".to_owned(),
        ),
        errno::EBUSY => Some(
            "the eswitch is in use: rules of tc or a bridge, IPsec, or a firmware reset".to_owned(),
        ),
        _ => None,
    })
}

/// Adds to a port's function, or its rates, that could not be set what the errno means.
pub(super) fn set_function(error: Error) -> Error {
    reword(error, |errno| match errno {
        errno::ENODEV => Some("it is no such port of this network namespace".to_owned()),
        errno::EOPNOTSUPP | errno::ENOTSUPP => Some("its driver cannot set that".to_owned()),
        errno::EPERM => Some("the capability NET_ADMIN is missing".to_owned()),
        errno::EBUSY => Some("its driver cannot set that while the function is in use".to_owned()),
        _ => None,
    })
}

fn reword(error: Error, words: impl FnOnce(i32) -> Option<String>) -> Error {
    match error {
        Error::Netlink { op, object, errno, message: None } => {
            Error::Netlink { op, object, errno, message: words(errno) }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: i32, message: Option<&str>) -> Error {
        let (object, message) = ("pci/0000:65:00.0".to_owned(), message.map(str::to_owned));
        Error::Netlink { op: "set eswitch mode of", object, errno, message }
    }

    #[test]
    fn the_kernels_own_words_are_passed_on() {
        let text = "Changing eswitch mode is allowed only if there is no VFs created";
        let error = set(refused(errno::EOPNOTSUPP, Some(text)), EswitchMode::Switchdev);
        assert_eq!(
            error.to_string(),
            format!(
                "set eswitch mode of pci/0000:65:00.0: {text}: Operation not supported (os error 95)"
            )
        );
        assert_eq!(error.errno(), Some(errno::EOPNOTSUPP));
    }

    #[test]
    fn bare_errnos_are_told_in_words() {
        let said = |errno| set(refused(errno, None), EswitchMode::Switchdev).to_string();
        for (errno, words) in [
            (errno::EOPNOTSUPP, "cannot do switchdev"),
            (errno::ENOTSUPP, "cannot do switchdev"),
            (errno::EBUSY, "the eswitch is in use"),
            (errno::EPERM, "wants functions first"),
            (errno::ENODEV, "no devlink device of this network namespace"),
        ] {
            assert!(said(errno).contains(words), "{}", said(errno));
        }
        let error = set_function(refused(errno::EOPNOTSUPP, None)).to_string();
        assert!(error.contains("its driver cannot set that: "), "{error}");
        let error = get(refused(errno::EPERM, None)).to_string();
        assert!(error.contains("NET_ADMIN is missing: "), "{error}");
        let error = get(refused(5, None)).to_string();
        assert!(error.ends_with(": Input/output error (os error 5)"), "{error}");
    }
}
