//! The text that Prometheus reads, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::{Display, Write as _};

use crate::family::Family;
use crate::histogram::Histogram;

/// The media type of a page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer to a scrape, family by family.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// A family with its samples: the values of its labels, and a number. Nothing without samples.
    pub fn family<const N: usize, S: AsRef<str>, V: Display>(
        &mut self,
        family: &Family,
        samples: impl IntoIterator<Item = ([S; N], V)>,
    ) {
        debug_assert_eq!(family.labels.len(), N, "{}", family.name);
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.head(family);
        for (values, number) in samples {
            let labels = family.labels.iter().copied().zip(values);
            self.sample(family.name, "", labels, number);
        }
    }

    /// A family of one number.
    pub fn number(&mut self, family: &Family, number: impl Display) {
        self.family(family, [([""; 0], number)]);
    }

    /// A family of one histogram.
    pub fn histogram(&mut self, family: &Family, histogram: &Histogram) {
        self.head(family);
        for (bound, count) in histogram.cumulative() {
            let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
            self.sample(family.name, "_bucket", [("le", bound)], count);
        }
        self.sample(family.name, "_sum", [("", ""); 0], histogram.sum());
        self.sample(family.name, "_count", [("", ""); 0], histogram.count());
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.text
    }

    fn head(&mut self, family: &Family) {
        let Family { name, kind, help, .. } = family;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let kind = kind.name();
        // writing to a string cannot fail
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        labels: impl IntoIterator<Item = (&'static str, impl AsRef<str>)>,
        number: impl Display,
    ) {
        let labels = labels
            .into_iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value.as_ref())));
        let labels = labels.collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        let _ = writeln!(self.text, "{name}{suffix}{labels} {number}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::family::Kind;

    #[test]
    fn samples_stand_below_their_head_and_values_are_escaped() {
        let family = Family {
            name: "ringway_x_total",
            kind: Kind::Counter,
            labels: &["a", "b"],
            help: "One \\ two\nthree.",
        };
        let mut page = Page::default();
        page.family(&family, [(["q\"\\\n".to_owned(), String::new()], u64::MAX)]);
        page.family(&family, std::iter::empty::<([&str; 2], u64)>());
        assert_eq!(
            page.into_text(),
            "# HELP ringway_x_total One \\\\ two\\nthree.\n# TYPE ringway_x_total counter\n\
             ringway_x_total{a=\"q\\\"\\\\\\n\",b=\"\"} 18446744073709551615\n"
        );
    }

    #[test]
    fn a_histogram_has_buckets_sum_and_count() {
        let mut histogram = Histogram::default();
        for milliseconds in [5, 20, 20, 700, 400_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let family = Family { name: "x_seconds", kind: Kind::Histogram, labels: &[], help: "H." };
        let mut page = Page::default();
        page.histogram(&family, &histogram);
        let text = page.into_text();
        assert!(text.starts_with("# HELP x_seconds H.\n# TYPE x_seconds histogram\n"), "{text}");
        for line in [
            "x_seconds_bucket{le=\"0.01\"} 1",
            "x_seconds_bucket{le=\"0.1\"} 3",
            "x_seconds_bucket{le=\"1\"} 4",
            "x_seconds_bucket{le=\"100\"} 4",
            "x_seconds_bucket{le=\"+Inf\"} 5",
            "x_seconds_sum 400.745",
            "x_seconds_count 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
