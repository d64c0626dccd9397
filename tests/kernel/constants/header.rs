//! As much of C as the numbers in the kernel's uapi headers need: macros, enumerations, and
//! expressions of `+ - | << ~` and parentheses.

use std::collections::HashMap;
use std::fs;

/// The macros and enumerators of some headers, by name, as they are written there.
pub(crate) struct Headers(HashMap<String, String>);

impl Headers {
    /// Reads headers below `/usr/include`.
    pub(crate) fn read(names: &[&str]) -> Self {
        let mut headers = Self(HashMap::new());
        for name in names {
            let path = format!("/usr/include/{name}");
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|e| panic!("read {path} (package linux-libc-dev): {e}"));
            headers.add(&text);
        }
        headers
    }

    pub(crate) fn add(&mut self, text: &str) {
        let text = without_comments(text).replace("\\\n", " ");
        let (directives, code): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.trim_start().starts_with('#'));
        for directive in directives {
            let words = directive.trim_start().trim_start_matches('#').trim_start();
            let Some(macro_) = words.strip_prefix("define").map(str::trim) else { continue };
            let end = macro_.find(|c: char| !is_name(c)).unwrap_or(macro_.len());
            let (name, value) = macro_.split_at(end);
            // one with arguments is no number, one that repeats an enumerator is said already
            if !value.starts_with('(') && !value.trim().is_empty() && value.trim() != name {
                self.0.insert(name.to_owned(), value.trim().to_owned());
            }
        }
        for enumeration in code.join("\n").split("enum").skip(1) {
            self.add_enumeration(enumeration);
        }
    }

    fn add_enumeration(&mut self, text: &str) {
        let Some((head, body)) = text.split_once('{') else { return };
        let Some((body, _)) = body.split_once('}') else { return };
        if head.contains([';', ')']) {
            return;
        }
        let mut next = "0".to_owned();
        for member in body.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            let (name, value) = match member.split_once('=') {
                Some((name, value)) => (name.trim(), value.trim().to_owned()),
                None => (member, next),
            };
            next = format!("{name} + 1");
            self.0.insert(name.to_owned(), value);
        }
    }

    /// The names with a prefix, and what follows it.
    pub(crate) fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.keys().filter_map(move |name| Some((name.as_str(), name.strip_prefix(prefix)?)))
    }

    /// What a name stands for.
    pub(crate) fn value(&self, name: &str) -> Option<i128> {
        self.evaluate(self.0.get(name)?)
    }

    /// What an expression comes to; `None` if it is none, or names what is not here.
    pub(crate) fn evaluate(&self, expression: &str) -> Option<i128> {
        let mut parser = Parser { headers: self, rest: expression };
        let value = parser.or()?;
        parser.rest.trim().is_empty().then_some(value)
    }
}

/// The weakest operator first: `|`, then `<<`, then `+` and `-`.
struct Parser<'a> {
    headers: &'a Headers,
    rest: &'a str,
}

impl Parser<'_> {
    fn or(&mut self) -> Option<i128> {
        let mut value = self.shift()?;
        while self.eat("|") {
            value |= self.shift()?;
        }
        Some(value)
    }

    fn shift(&mut self) -> Option<i128> {
        let mut value = self.sum()?;
        while self.eat("<<") {
            value = value.checked_shl(self.sum()?.try_into().ok()?)?;
        }
        Some(value)
    }

    fn sum(&mut self) -> Option<i128> {
        let mut value = self.single()?;
        loop {
            if self.eat("+") {
                value += self.single()?;
            } else if self.eat("-") {
                value -= self.single()?;
            } else {
                return Some(value);
            }
        }
    }

    fn single(&mut self) -> Option<i128> {
        if self.eat("~") {
            return Some(!self.single()?);
        }
        if self.eat("(") {
            let value = self.or()?;
            return self.eat(")").then_some(value);
        }
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !is_name(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word.starts_with(|c: char| c.is_ascii_digit()) {
            true => number(word),
            false => self.headers.value(word),
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `0x3f`, `010`, `1UL`, and Rust's `0x6e73_6673`.
fn number(word: &str) -> Option<i128> {
    let word = word.trim_end_matches(['u', 'U', 'l', 'L']).replace('_', "");
    if let Some(digits) = word.strip_prefix("0x") {
        return i128::from_str_radix(digits, 16).ok();
    }
    match word.strip_prefix('0').filter(|digits| !digits.is_empty()) {
        Some(digits) => i128::from_str_radix(digits, 8).ok(),
        None => word.parse().ok(),
    }
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once("*/").map_or("", |(_, rest)| rest));
    }
    out.lines().map(|line| line.split("//").next().unwrap_or_default()).fold(
        String::new(),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    )
}

#[test]
fn a_header_is_read_as_the_compiler_does() {
    let mut headers = Headers(HashMap::new());
    headers.add(
        "#define MIN\t0x10 /* least, */\n#define CTRL MIN // alias\n#define F(x) ((x) + 1)\n\
         #ifndef OLD\n# define MASK ~(NESTED | (1 << 14))\n#endif\n#define NESTED (1UL << \\\n 15)\n\
         struct s { enum e kind; };\nstruct t { int A; };\n\
         enum e {\n A, /* 0 */\n#if X\n B = 1<<3,\n#endif\n#define B B\n C,\n D = 010,\n \
         __END,\n MAX = __END - 1\n};\n",
    );
    for (name, value) in [
        ("CTRL", Some(16)),
        ("MASK", Some(!0xc000)),
        ("NESTED", Some(0x8000)),
        ("A", Some(0)),
        ("B", Some(8)),
        ("C", Some(9)),
        ("D", Some(8)),
        ("MAX", Some(8)),
        ("F", None),
        ("OLD", None),
        ("kind", None),
    ] {
        assert_eq!(headers.value(name), value, "{name}");
    }
    assert_eq!(headers.evaluate("0x6e73_6673"), Some(0x6e73_6673));
    for bad in ["", "1 +", "(1", "1 2", "NOBODY"] {
        assert_eq!(headers.evaluate(bad), None, "{bad:?}");
    }
}
