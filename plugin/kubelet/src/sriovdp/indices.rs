//! `ens1f0#0-3,5`: functions of a parent by their index.

/// An entry of `pfNames` or `rootDevices`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfParent {
    text: String,
}

impl OfParent {
    /// As it stands in the configuration.
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// As it stands in the configuration.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parent that it speaks of.
    pub fn parent(&self) -> &str {
        self.text.split('#').next().unwrap_or_default()
    }

    /// Whether the function of this index is one of them; all are without a `#`.
    ///
    /// Read from the left: an entry that makes no sense ends the list, and those before it count.
    pub fn has(&self, index: u32) -> bool {
        let Some(list) = self.list() else { return true };
        for range in list {
            match range {
                Some((first, last)) if (first..=last).contains(&index) => return true,
                Some(_) => {}
                None => return false,
            }
        }
        false
    }

    /// Whether a part of it makes no sense.
    pub fn nonsense(&self) -> bool {
        self.list().is_some_and(|list| list.contains(&None))
    }

    /// The ranges, as far as they are such; `None` without a `#`.
    fn list(&self) -> Option<Vec<Option<(u32, u32)>>> {
        let (_, list) = self.text.split_once('#')?;
        // a second `#` makes sense nowhere
        if list.contains('#') {
            return Some(vec![None]);
        }
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Some(list.split(',').map(range).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices(text: &str) -> Vec<u32> {
        let of = OfParent::new(text.to_owned());
        (0..10).filter(|index| of.has(*index)).collect()
    }

    #[test]
    fn ranges_and_single_indices() {
        let all: Vec<u32> = (0..10).collect();
        for (text, expected) in [
            ("ens1f0", &all[..]),
            ("ens1f0#0-3", &[0, 1, 2, 3]),
            ("ens1f0#5", &[5]),
            ("ens1f0#0-1,5,7-8", &[0, 1, 5, 7, 8]),
            ("ens1f0#3-3", &[3]),
            ("ens1f0#4-2", &[]),
        ] {
            assert_eq!(indices(text), expected, "{text}");
            assert_eq!(OfParent::new(text.to_owned()).parent(), "ens1f0");
            assert!(!OfParent::new(text.to_owned()).nonsense(), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_ends_the_list() {
        for (text, expected) in [
            ("p#", &[][..]),
            ("p#x", &[]),
            ("p#1-2-3", &[]),
            ("p#-2", &[]),
            ("p#1-", &[]),
            ("p#1,x,3", &[1]),
            ("p#1#2", &[]),
            ("p#1 ,2", &[]),
        ] {
            assert_eq!(indices(text), expected, "{text}");
            assert!(OfParent::new(text.to_owned()).nonsense(), "{text}");
        }
    }
}
