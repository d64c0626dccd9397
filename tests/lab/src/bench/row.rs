//! A figure, and what it is held against.

use anyhow::Result;
use serde::Serialize;

use crate::table::table;

/// A row of the result. Figures of one area have one unit, so that runs can be compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it is held against; a step of the demo stands for itself.
    against: Option<&'static str>,
    against_value: Option<f64>,
    /// `value / against_value`.
    ratio: Option<f64>,
}

impl Row {
    /// A figure by itself.
    pub(super) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let name = name.into();
        Self { name, value, unit, against: None, against_value: None, ratio: None }
    }

    /// Holds it against something, in the same unit.
    pub(super) fn against(self, what: &'static str, value: f64) -> Self {
        // of nothing there is no multiple
        let ratio = (value > 0.0).then(|| self.value / value);
        Self { against: Some(what), against_value: Some(value), ratio, ..self }
    }

    /// `area.what`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// The value in the middle; that of two in the middle between them.
pub(super) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(middle - 1)?, upper))
}

/// As a table.
pub(super) fn text(rows: &[Row]) -> String {
    let values: Vec<_> = rows.iter().map(|row| Some(digits(row.value))).collect();
    let others: Vec<_> = rows.iter().map(|row| row.against_value.map(digits)).collect();
    let ratios: Vec<_> = rows.iter().map(|row| row.ratio.map(digits)).collect();
    let [values, others, ratios] = [values, others, ratios].map(right);
    let mut lines = vec![["FIGURE", "VALUE", "AGAINST", "ITS VALUE", "RATIO"].map(str::to_owned)];
    for (i, row) in rows.iter().enumerate() {
        let with_unit = |number: &String| format!("{number} {}", row.unit);
        lines.push([
            row.name.clone(),
            with_unit(&values[i]),
            row.against.unwrap_or_default().to_owned(),
            row.against_value.map(|_| with_unit(&others[i])).unwrap_or_default(),
            ratios[i].clone(),
        ]);
    }
    table(&lines)
}

/// As a JSON array of objects, with all digits.
pub(super) fn json(rows: &[Row]) -> Result<String> {
    Ok(serde_json::to_string_pretty(rows)? + "\n")
}

/// Three digits that count, as far as they are behind the point: more are noise.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 99.95 => 0,
        middling if middling >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// Numbers above each other end in one column.
fn right(numbers: Vec<Option<String>>) -> Vec<String> {
    let width = numbers.iter().flatten().map(String::len).max().unwrap_or(0);
    numbers.into_iter().map(|number| format!("{:>width$}", number.unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        for (samples, expected) in [
            (&[][..], None),
            (&[3.0], Some(3.0)),
            (&[3.0, 1.0], Some(2.0)),
            (&[9.0, 1.0, 2.0], Some(2.0)),
            (&[4.0, 100.0, 1.0, 2.0], Some(3.0)),
        ] {
            assert_eq!(median(samples), expected, "{samples:?}");
        }
    }

    #[test]
    fn three_digits_count() {
        for (value, expected) in [
            (0.0, "0.00"),
            (0.884, "0.88"),
            (9.994, "9.99"),
            (9.996, "10.0"),
            (42.13, "42.1"),
            (99.96, "100"),
            (1633.4, "1633"),
        ] {
            assert_eq!(digits(value), expected);
        }
    }

    fn rows() -> [Row; 3] {
        [
            Row::new("agent.rss", 7.424, "MiB").against("bar", 10.0),
            Row::new("cni.add.cpu", 1633.4, "µs").against("empty static binary", 412.0),
            Row::new("demo.warm.boot-node", 52.06, "s"),
        ]
    }

    #[test]
    fn a_person_sees_columns() {
        let expected = "
FIGURE               VALUE     AGAINST              ITS VALUE  RATIO
agent.rss            7.42 MiB  bar                  10.0 MiB   0.74
cni.add.cpu          1633 µs   empty static binary   412 µs    3.96
demo.warm.boot-node  52.1 s
";
        assert_eq!(text(&rows()), expected.trim_start());
    }

    #[test]
    fn a_program_sees_objects() {
        let value: serde_json::Value = serde_json::from_str(&json(&rows()).unwrap()).unwrap();
        assert_eq!(
            value[0],
            serde_json::json!({"name": "agent.rss", "value": 7.424, "unit": "MiB",
                               "against": "bar", "against_value": 10.0, "ratio": 7.424 / 10.0})
        );
        assert!(value[2]["against"].is_null() && value[2]["ratio"].is_null());
        assert_eq!(json(&[]).unwrap(), "[]\n");
    }

    #[test]
    fn nothing_has_no_multiple() {
        assert_eq!(Row::new("a", 1.0, "s").against("b", 0.0).ratio, None);
    }
}
