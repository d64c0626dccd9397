//! What can go wrong, with the code and the advice that a runtime is given.

use serde_json::{Value, json};

use crate::version::Version;

/// A [`std::result::Result`] with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The `code` of an error object (CNI specification, section "Error").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 1: a version that we do not speak, or a verb that the version does not have.
    Version,
    /// 2: a field that we know or that looks like one of ours, and cannot do.
    UnsupportedField,
    /// 4: an environment variable that is missing or wrong.
    Environment,
    /// 5: the kernel refused something.
    Io,
    /// 6: not JSON, or of other types than the specification says.
    Decode,
    /// 7: a network configuration that cannot be meant.
    Config,
    /// 11: busy, or not there yet; try again.
    TryAgain,
    /// 50: not able to serve an ADD now (STATUS).
    Unavailable,
    /// 100, ours: CHECK found something else than ADD had made.
    Mismatch,
    /// 101, ours: the IPAM plugin failed or answered nonsense.
    Ipam,
}

impl Code {
    /// The number.
    pub fn number(self) -> u32 {
        match self {
            Self::Version => 1,
            Self::UnsupportedField => 2,
            Self::Environment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::Config => 7,
            Self::TryAgain => 11,
            Self::Unavailable => 50,
            Self::Mismatch => 100,
            Self::Ipam => 101,
        }
    }
}

/// A failed verb.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    code: Code,
    text: String,
    advice: &'static str,
    source: Option<Source>,
}

impl Error {
    /// An error without a cause below it.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), advice: "", source: None }
    }

    /// For `map_err`: an error that says what was being done when its cause came up.
    pub fn because<E: Into<Source>>(code: Code, text: impl Into<String>) -> impl FnOnce(E) -> Self {
        let error = Self::new(code, text);
        move |source| Self { source: Some(source.into()), ..error }
    }

    /// Several errors of one verb as one; the first gives the code. `None` without any.
    pub fn all(errors: Vec<Self>) -> Option<Self> {
        let mut errors = errors.into_iter();
        let first = errors.next()?;
        let rest: Vec<_> = errors.map(|error| error.chain()).collect();
        if rest.is_empty() {
            return Some(first);
        }
        let text = format!("{}; then: {}", first.chain(), rest.join("; "));
        Some(Self { code: first.code, text, advice: first.advice, source: None })
    }

    /// The same, with what a person can do.
    #[must_use]
    pub fn advise(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text with those of its causes, in one line: a cause may repeat what a tenant has written, and
    /// it goes to logs and terminals.
    pub fn chain(&self) -> String {
        let mut text = self.text.clone();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text += &format!(": {error}");
            source = error.source();
        }
        if text.contains(char::is_control) {
            let escaped = |c: char| match c.is_control() {
                true => c.escape_default().to_string(),
                false => c.to_string(),
            };
            text = text.chars().map(escaped).collect();
        }
        text
    }

    /// The error object that the runtime reads on standard output.
    pub fn to_json(&self, version: Version) -> Value {
        let mut object = json!({
            "cniVersion": version.as_str(),
            "code": self.code.number(),
            "msg": self.chain(),
        });
        if !self.advice.is_empty() {
            object["details"] = self.advice.into();
        }
        object
    }
}

/// The kernel's refusals. Callers that know better say so with [`Error::because`].
impl From<ringway_kernel::Error> for Error {
    fn from(error: ringway_kernel::Error) -> Self {
        use ringway_kernel::Error as Kernel;
        let code = match error {
            Kernel::Stuck { .. } | Kernel::Deadline { .. } => Code::TryAgain,
            _ => Code::Io,
        };
        // Its text is the whole of ours, so that its own source becomes ours.
        let text = error.to_string();
        let source = match error {
            Kernel::Io { source, .. } => Some(Source::from(source)),
            _ => None,
        };
        Self { code, text, advice: "", source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_holds_the_chain_and_the_advice() {
        let cause = std::io::Error::other("disk on fire");
        let error = Error::because(Code::Io, "write record a:b")(cause).advise("buy a new one");
        assert_eq!(
            error.to_json(Version::V0_4_0),
            json!({"cniVersion": "0.4.0", "code": 5, "msg": "write record a:b: disk on fire",
                   "details": "buy a new one"})
        );
    }

    #[test]
    fn several_are_told_in_one() {
        let error = |text: &str| Error::new(Code::Config, text);
        assert!(Error::all(vec![]).is_none());
        assert_eq!(Error::all(vec![error("a")]).unwrap().to_string(), "a");
        let all = Error::all(vec![error("a"), error("b"), error("c")]).unwrap();
        assert_eq!(all.to_string(), "a; then: b; c");
    }
}
