//! One line of a fixture.

use std::collections::BTreeMap;

/// The keys that a line may have.
const KEYS: [&str; 17] = [
    "vendor", "device", "class", "iommu", "numa", "net", "totalvfs", "vf-of", "index", "vdpa",
    "vhost", "virtio", "vnet", "vfio", "cdev", "sf-of", "sfnum",
];

pub(super) struct Line<'a> {
    /// A PCI address, an auxiliary device's name, or a management device's.
    pub(super) id: &'a str,
    pub(super) driver: Option<&'a str>,
    pub(super) pf: bool,
    pub(super) sim: bool,
    values: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut words = text.split_whitespace();
        let id = words.next().unwrap_or_default();
        let mut line = Self { id, driver: None, pf: false, sim: false, values: BTreeMap::new() };
        for word in words {
            match word.split_once('=') {
                Some((key, value)) if KEYS.contains(&key) => {
                    line.values.insert(key, value);
                }
                Some((key, _)) => panic!("fixture line {text:?}: unknown key {key:?}"),
                None if word == "pf" => line.pf = true,
                None if word == "sim" => line.sim = true,
                None if line.driver.is_none() => line.driver = Some(word),
                None => panic!("fixture line {text:?}: second driver {word:?}"),
            }
        }
        line
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.values.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    #[should_panic(expected = "unknown key \"vdap\"")]
    fn a_misspelt_key_stops_the_test() {
        Line::parse("0000:01:00.0 vdap=x");
    }

    #[test]
    #[should_panic(expected = "second driver \"igb\"")]
    fn a_second_driver_stops_the_test() {
        Line::parse("0000:01:00.0 virtio-pci igb");
    }
}
