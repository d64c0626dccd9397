//! A JSON object as Go's `encoding/json` reads it into a struct: names in any case, null for nothing,
//! and what is not known left over.

use serde_json::{Map, Value};

/// Why a field cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Its name, below the object.
    pub(super) field: String,
    /// Its value.
    pub(super) value: String,
    /// What it must be.
    pub(super) rule: &'static str,
}

impl Wrong {
    pub(super) fn new(field: &str, value: &Value, rule: &'static str) -> Self {
        // 80 characters are enough to find it in the file.
        let value = value.to_string().chars().take(80).collect();
        Self { field: field.to_owned(), value, rule }
    }
}

/// The fields of an object that nobody has asked for yet.
pub(super) struct Fields {
    left: Map<String, Value>,
}

impl Fields {
    /// The fields of `value`, if it is an object.
    pub(super) fn of(field: &str, value: Value) -> Result<Self, Wrong> {
        match value {
            Value::Object(left) => Ok(Self { left }),
            other => Err(Wrong::new(field, &other, "an object")),
        }
    }

    /// Takes a field out. Of two whose names differ in case the one spelt as documented counts.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let alike = self.left.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        let key = if self.left.contains_key(name) { name.to_owned() } else { alike? };
        self.left.remove(&key).filter(|value| !value.is_null())
    }

    /// Takes a text out; empty without it.
    pub(super) fn text(&mut self, name: &str) -> Result<String, Wrong> {
        match self.take(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(Wrong::new(name, &other, "a string")),
        }
    }

    /// Takes a truth value out; false without it.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Wrong> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(Wrong::new(name, &other, "true or false")),
        }
    }

    /// Takes a list of texts out; empty without it.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, Wrong> {
        const RULE: &str = "an array of strings";
        let list = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(Wrong::new(name, &other, RULE)),
        };
        let text = |(at, value): (usize, Value)| match value {
            Value::String(text) => Ok(text),
            other => Err(Wrong::new(&format!("{name}[{at}]"), &other, RULE)),
        };
        list.into_iter().enumerate().map(text).collect()
    }

    /// The names of what is left.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &str> {
        self.left.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::of("f", value).unwrap()
    }

    #[test]
    fn names_count_in_any_case_and_null_is_nothing() {
        let mut fields = fields(json!({
            "ISRDMA": true, "vendors": ["a"], "Vendors": ["b"], "vdpaType": null, "more": 1,
        }));
        assert_eq!(fields.flag("isRdma"), Ok(true));
        assert_eq!(fields.texts("vendors"), Ok(vec!["a".to_owned()]));
        assert_eq!(fields.text("vdpaType"), Ok(String::new()));
        assert_eq!(fields.flag("needVhostNet"), Ok(false));
        assert_eq!(fields.unknown().collect::<Vec<_>>(), ["Vendors", "more"]);
    }

    #[test]
    fn other_types_are_wrong_and_named() {
        let wrong = |field: &str, value: &str, rule| {
            Err(Wrong { field: field.into(), value: value.into(), rule })
        };
        let value = json!({"a": "true", "b": "x", "c": ["x", 7], "d": 8});
        let mut fields = fields(value);
        assert_eq!(fields.flag("a"), wrong("a", "\"true\"", "true or false").map(|()| false));
        assert_eq!(
            fields.texts("b"),
            wrong("b", "\"x\"", "an array of strings").map(|()| Vec::new())
        );
        assert_eq!(
            fields.texts("c"),
            wrong("c[1]", "7", "an array of strings").map(|()| Vec::new())
        );
        assert_eq!(fields.text("d"), wrong("d", "8", "a string").map(|()| String::new()));
        assert!(Fields::of("f", json!([])).is_err());
    }
}
