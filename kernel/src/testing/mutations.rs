//! Files that are nearly right: what a bounded run of a fuzz target tries, without a fuzzer.

use std::{fs, path::Path};

/// What files are made of whose grammar is JSON's, and what they never have.
const BYTES: &[u8] = b"{}[]\",:#-0139aZ\\ \0\xff";

/// Seeds, first as they are and then changed at random, without an end. The same each time.
#[derive(Debug)]
pub struct Mutations {
    seeds: Vec<Vec<u8>>,
    state: u64,
    round: usize,
}

impl Mutations {
    /// Of the files in a directory, by name.
    ///
    /// # Panics
    /// If there are none.
    pub fn of(dir: &Path) -> Self {
        let entries = fs::read_dir(dir).expect("a directory of seeds");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let seeds: Vec<_> = paths.iter().map(|path| fs::read(path).expect("a seed")).collect();
        assert!(!seeds.is_empty(), "{} has no seeds", dir.display());
        Self { seeds, state: 0x9e37_79b9_7f4a_7c15, round: 0 }
    }

    /// xorshift (Marsaglia, 2003).
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % end.max(1) as u64).unwrap_or_default()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        match self.below(3) {
            0 if !bytes.is_empty() => bytes[at] = BYTES[self.below(BYTES.len())],
            1 => bytes.insert(at, BYTES[self.below(BYTES.len())]),
            _ => {
                let end = bytes.len().min(at + 1 + self.below(8));
                bytes.drain(at.min(end)..end);
            }
        }
    }
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.seeds[self.round % self.seeds.len()].clone();
        if self.round >= self.seeds.len() {
            for _ in 0..=self.below(3) {
                self.change(&mut bytes);
            }
        }
        self.round += 1;
        Some(bytes)
    }
}
