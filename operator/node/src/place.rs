//! Where in a JSON text a field is, for messages about what is well written and makes no sense.

/// The number of the line, from 1, on which the value at `path` begins: `pools[0].devices[2].mac`. Names
/// count in any case. Where there is no such field it is the line of what it would be in.
pub fn line(json: &[u8], path: &str) -> usize {
    let mut scanner = Scanner { json, at: 0 };
    scanner.space();
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        let before = scanner.at;
        let found = match step.strip_suffix(']').map(str::parse::<usize>) {
            Some(Ok(index)) => scanner.element(index),
            Some(Err(_)) | None => scanner.member(step),
        };
        if found.is_none() {
            scanner.at = before;
            break;
        }
    }
    1 + json[..scanner.at].iter().filter(|byte| **byte == b'\n').count()
}

/// Reads text that is known to be JSON; `None` where it is not what was expected.
struct Scanner<'a> {
    json: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Takes `byte`, and the space behind it.
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)?;
        self.space();
        Some(())
    }

    /// Into an object, to the value of a name.
    fn member(&mut self, name: &str) -> Option<()> {
        self.take(b'{')?;
        loop {
            let start = self.at + 1;
            self.string()?;
            let key = self.json.get(start..self.at - 1)?;
            self.space();
            self.take(b':')?;
            if key.eq_ignore_ascii_case(name.as_bytes()) {
                return Some(());
            }
            self.value()?;
            self.take(b',')?;
        }
    }

    /// Into an array, to an element.
    fn element(&mut self, index: usize) -> Option<()> {
        self.take(b'[')?;
        for _ in 0..index {
            self.value()?;
            self.take(b',')?;
        }
        self.peek().filter(|byte| *byte != b']').map(drop)
    }

    /// Over a value and the space behind it.
    fn value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => self.scalar(),
            }
            self.space();
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn scalar(&mut self) {
        while self.peek().is_some_and(|byte| !b",:]}\"{[".contains(&byte) && byte > b' ') {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Option<()> {
        (self.peek() == Some(b'"')).then(|| self.at += 1)?;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_field_is_found_on_its_line() {
        let text = "{\n \"a\": {\"x\": \"}\\\"\\n{\"},\n \"list\": [\n  {\"k\": 1},\n  {\"K\":\n   [true, -2.5e1]}\n ]\n}\n";
        for (path, expected) in [
            ("", 1),
            ("a", 2),
            ("a.x", 2),
            ("list", 3),
            ("list[0]", 4),
            ("list[0].k", 4),
            ("list[1]", 5),
            ("list[1].k", 6),
            ("list[1].k[1]", 6),
            // not there: where it would be
            ("none", 1),
            ("list[0].none", 4),
            ("list[2]", 3),
            ("list[1].k.none", 6),
            ("a[0]", 2),
        ] {
            assert_eq!(line(text.as_bytes(), path), expected, "{path}");
        }
    }

    #[test]
    fn any_text_has_a_line() {
        for text in ["", "{", "[[", "{\"a\"", "{\"a\":", "{\"a\":\"", "\"\\", "}", "\u{0}"] {
            for path in ["", "a", "a.b", "[0]", "a[9].b"] {
                assert_eq!(line(text.as_bytes(), path), 1, "{text:?} {path}");
            }
        }
    }
}
