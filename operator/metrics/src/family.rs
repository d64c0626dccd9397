//! What a metric is, as far as it is the same on every node.

/// What becomes of a metric's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up, and back to 0 when what counts starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

/// A metric, as far as it is the same on every node.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What becomes of its value.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence; tells the unit where the name does not.
    pub help: &'static str,
}

impl Kind {
    /// As the exposition format has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Defines families, and `ALL` of them for the tests of their owner:
/// `NAME = "ringway_x_total" Counter ["label"] "What it counts.";`
#[macro_export]
macro_rules! families {
    ($($constant:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) static $constant: $crate::Family = $crate::Family {
            name: $name,
            kind: $crate::Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*
        /// In the order of docs/metrics.md.
        #[cfg(test)]
        pub(super) static ALL: &[&$crate::Family] = &[$(&$constant),*];
    };
}

impl Family {
    /// Its row in docs/metrics.md.
    pub fn row(&self) -> String {
        let labels: Vec<_> = self.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(", ") };
        format!("| `{}` | {} | {labels} | {} |", self.name, self.kind.name(), self.help)
    }

    /// What `promtool check metrics` would say of it.
    pub fn problems(&self) -> Vec<String> {
        let Self { name, kind, labels, help } = self;
        let mut problems = Vec::new();
        let mut demand = |holds: bool, words: &str| {
            if !holds {
                problems.push(format!("{name}: {words}"));
            }
        };
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        demand(plain && name.starts_with("ringway_"), "lower case, and ringway_ in front");
        let counter = *kind == Kind::Counter;
        demand(name.ends_with("_total") == counter, "counters, and no others, are totals");
        for (unit, base) in [("milliseconds", "seconds"), ("bits", "bytes"), ("kilobytes", "bytes")]
        {
            demand(!name.contains(unit), &format!("{base} instead of {unit}"));
        }
        for word in ["counter", "gauge", "histogram", "summary"] {
            demand(!name.contains(word), "tells its own type");
        }
        for suffix in ["_count", "_sum", "_bucket"] {
            demand(!name.ends_with(suffix), &format!("{suffix} belongs to histograms"));
        }
        demand(help.ends_with('.') && !help.contains('|'), "its help is a sentence for a table");
        let reserved = labels.contains(&"le") || labels.contains(&"quantile");
        demand(!reserved, "labels of histograms and summaries");
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_and_what_is_wrong_with_it() {
        let good = Family {
            name: "ringway_x_seconds",
            kind: Kind::Gauge,
            labels: &["a", "b"],
            help: "How long.",
        };
        assert_eq!(good.row(), "| `ringway_x_seconds` | gauge | `a`, `b` | How long. |");
        assert_eq!(good.problems(), [""; 0]);
        let (name, labels, help) = ("x_milliseconds_gauge_sum", &["le"][..], "How long");
        let bad = Family { name, kind: Kind::Counter, labels, help };
        assert_eq!(bad.problems().len(), 7, "{:?}", bad.problems());
    }
}
