//! The results as JUnit XML, for tools that show them.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::test::case::Outcome;

/// Writes one suite per ring.
pub(crate) fn write(file: &Path, outcomes: &[Outcome]) -> Result<()> {
    Ok(std::fs::write(file, render(outcomes)?)?)
}

fn render(outcomes: &[Outcome]) -> Result<String> {
    let mut rings: Vec<_> = outcomes.iter().map(|o| o.case.ring).collect();
    rings.dedup();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for ring in rings {
        let mine: Vec<_> = outcomes.iter().filter(|o| o.case.ring == ring).collect();
        let failures = mine.iter().filter(|o| o.failure.is_some()).count();
        let time: f64 = mine.iter().map(|o| o.seconds).sum();
        let tests = mine.len();
        writeln!(
            xml,
            "  <testsuite name=\"{ring}\" tests=\"{tests}\" failures=\"{failures}\" time=\"{time:.3}\">"
        )?;
        for outcome in mine {
            case(&mut xml, outcome)?;
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    Ok(xml)
}

fn case(xml: &mut String, outcome: &Outcome) -> Result<()> {
    let (suite, test) = (escape(&outcome.case.suite), escape(&outcome.case.test));
    let time = outcome.seconds;
    write!(xml, "    <testcase classname=\"{suite}\" name=\"{test}\" time=\"{time:.3}\"")?;
    match &outcome.failure {
        None => xml.push_str("/>\n"),
        Some(failure) => writeln!(xml, "><failure>{}</failure></testcase>", escape(failure))?,
    }
    Ok(())
}

/// Text as XML 1.0 takes it: control characters other than white space are not allowed at all.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::case::Case;

    #[test]
    fn failures_are_counted_and_escaped() {
        let outcome = |test: &str, failure: Option<&str>| Outcome {
            case: Case { ring: "kernel", suite: "s".into(), test: test.into() },
            seconds: 0.5,
            failure: failure.map(str::to_owned),
            shown: Vec::new(),
        };
        let xml = render(&[outcome("a", None), outcome("b", Some("1 < 2\u{1b}"))]).unwrap();
        assert!(xml.contains("tests=\"2\" failures=\"1\" time=\"1.000\""), "{xml}");
        assert!(xml.contains("<failure>1 &lt; 2\u{fffd}</failure>"), "{xml}");
    }
}
