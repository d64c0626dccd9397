//! Interfaces into a domain's XML. Everything else stays as it is, byte for byte: the XML is read
//! to find places, and only those places are written.
//!
//! KubeVirt calls with a domain that already has our interface too, after a trip through structs
//! that know only some of its fields (`allocateHotplugPorts`), so an element that is there is
//! written anew. It also calls with interfaces that are no VMI's (`placeholder-0`): those stay.

use std::ops::Range;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::interface::{Interface, Kept};

/// Why a domain cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no XML.
    #[error("the domain is not well-formed XML at byte {position}")]
    Xml {
        /// Where, in bytes from the start.
        position: u64,
        /// What is wrong there.
        source: quick_xml::Error,
    },
    /// It ends early.
    #[error("the domain's XML ends within <{open}>")]
    Truncated {
        /// The element that has no end.
        open: String,
    },
    /// It is something else.
    #[error("the XML is a <{found}>, not a <domain>")]
    NoDomain {
        /// Its root element.
        found: String,
    },
    /// There is no place for an interface.
    #[error("the domain has no <devices>")]
    NoDevices,
    /// libvirt would refuse it.
    #[error("the domain has two interfaces with alias {alias}")]
    Twice {
        /// The alias.
        alias: String,
    },
}

/// `xml` with each of `interfaces`: in the place of the interface with its alias, or else after all
/// devices.
///
/// # Errors
/// The XML is no domain with devices.
pub fn with_interfaces(xml: &str, interfaces: &[Interface]) -> Result<String, Error> {
    let scan = Scan::of(xml)?;
    let mut edits = Vec::new();
    let mut added = String::new();
    for interface in interfaces {
        let alias = interface.alias();
        let mut with_alias = scan.interfaces.iter().filter(|f| f.alias.as_ref() == Some(&alias));
        match (with_alias.next(), with_alias.next()) {
            (None, _) => added.push_str(&interface.element(Kept::default())),
            (Some(found), None) => {
                edits.push((found.range.clone(), interface.element(found.kept(xml))));
            }
            (Some(_), Some(_)) => return Err(Error::Twice { alias }),
        }
    }
    if !added.is_empty() {
        edits.push(match scan.end_of_devices.ok_or(Error::NoDevices)? {
            EndOfDevices::Tag(at) => (at..at, added),
            EndOfDevices::Empty(range) => {
                let start = xml[range.clone()].trim_end_matches("/>").trim_end();
                (range.clone(), format!("{start}>{added}</devices>"))
            }
        });
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut changed = xml.to_owned();
    for (range, text) in edits.into_iter().rev() {
        changed.replace_range(range, &text);
    }
    Ok(changed)
}

/// What is where in a domain.
#[derive(Debug, Default)]
struct Scan {
    /// The open elements, as `/domain/devices`.
    path: String,
    interfaces: Vec<Found>,
    end_of_devices: Option<EndOfDevices>,
}

/// Where a device can be added.
#[derive(Debug)]
enum EndOfDevices {
    /// Before the end tag.
    Tag(usize),
    /// In this `<devices/>`.
    Empty(Range<usize>),
}

/// An `<interface>` below `<devices>`.
#[derive(Debug, Default)]
struct Found {
    range: Range<usize>,
    alias: Option<String>,
    address: Option<Range<usize>>,
    driver: Option<Range<usize>>,
}

impl Found {
    fn kept<'a>(&self, xml: &'a str) -> Kept<'a> {
        let text = |range: &Option<Range<usize>>| range.clone().map(|range| &xml[range]);
        Kept { address: text(&self.address), driver: text(&self.driver) }
    }
}

impl Scan {
    fn of(xml: &str) -> Result<Self, Error> {
        let mut scan = Self::default();
        let mut reader = Reader::from_str(xml);
        loop {
            let start = position(&reader);
            let event = reader
                .read_event()
                .map_err(|source| Error::Xml { position: reader.error_position(), source })?;
            let range = start..position(&reader);
            match event {
                Event::Start(tag) => scan.open(&tag, &range)?,
                Event::Empty(tag) => {
                    scan.open(&tag, &range)?;
                    scan.close(&range, true);
                }
                Event::End(_) => scan.close(&range, false),
                Event::Eof => break,
                _ => {}
            }
        }
        match scan.path.rsplit_once('/') {
            Some((_, open)) => Err(Error::Truncated { open: open.to_owned() }),
            None => Ok(scan),
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>, range: &Range<usize>) -> Result<(), Error> {
        let name = tag.name();
        if self.path.is_empty() && name.as_ref() != "domain" {
            return Err(Error::NoDomain { found: name.as_ref().to_owned() });
        }
        self.path.push('/');
        self.path.push_str(name.as_ref());
        match (self.path.as_str(), self.interfaces.last_mut()) {
            ("/domain/devices/interface", _) => {
                self.interfaces.push(Found { range: range.clone(), ..Found::default() });
            }
            ("/domain/devices/interface/alias", Some(found)) => {
                found.alias = attribute(tag, "name")
                    .map_err(|source| Error::Xml { position: range.start as u64, source })?;
            }
            ("/domain/devices/interface/address", Some(found)) => {
                found.address = Some(range.clone());
            }
            ("/domain/devices/interface/driver", Some(found)) => found.driver = Some(range.clone()),
            _ => {}
        }
        Ok(())
    }

    /// `range` is that of the end tag, or of the whole element if it is `empty`.
    fn close(&mut self, range: &Range<usize>, empty: bool) {
        match (self.path.as_str(), self.interfaces.last_mut()) {
            ("/domain/devices", _) => {
                self.end_of_devices = Some(if empty {
                    EndOfDevices::Empty(range.clone())
                } else {
                    EndOfDevices::Tag(range.start)
                });
            }
            ("/domain/devices/interface", Some(found)) => found.range.end = range.end,
            ("/domain/devices/interface/address", Some(found)) => end(&mut found.address, range),
            ("/domain/devices/interface/driver", Some(found)) => end(&mut found.driver, range),
            _ => {}
        }
        self.path.truncate(self.path.rfind('/').unwrap_or(0));
    }
}

fn end(element: &mut Option<Range<usize>>, tag: &Range<usize>) {
    if let Some(element) = element {
        element.end = tag.end;
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, quick_xml::Error> {
    let Some(attribute) = tag.try_get_attribute(name)? else { return Ok(None) };
    Ok(Some(attribute.normalized_value(XmlVersion::default())?.into_owned()))
}

/// In bytes. The reader counts in 64 bits what is in memory here.
fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
