//! Errors as one line of text.

use std::error::Error;

/// `error` and its sources, joined by colons: what anyhow's `{:#}` prints.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn sources_follow_their_error() {
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(super::chain(error.as_ref()), "outer: inner");
    }
}
