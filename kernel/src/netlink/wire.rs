//! Netlink's framing: headers, errors, the extended acknowledgement
//! (include/uapi/linux/netlink.h, Documentation/userspace-api/netlink/intro.rst).

use crate::{
    error::{Error, Result},
    netlink::attribute,
};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// `NLMSG_NOOP`.
const NOOP: u16 = 1;
/// `NLMSG_ERROR`: an error, or with errno 0 an acknowledgement.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;
/// `NLMSG_OVERRUN`: data was lost.
const OVERRUN: u16 = 4;
/// `NLMSGERR_ATTR_MSG`: the kernel's explanation.
const ATTR_MSG: u16 = 1;

/// `nlmsg_flags`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// `NLM_F_REQUEST`.
    pub const REQUEST: Self = Self(0x1);
    /// `NLM_F_ACK`: answer also when all went well.
    pub const ACK: Self = Self(0x4);
    /// `NLM_F_DUMP_INTR`, in answers: the dump is inconsistent.
    pub const DUMP_INTR: Self = Self(0x10);
    /// `NLM_F_CAPPED`, in errors: the request is not echoed.
    pub const CAPPED: Self = Self(0x100);
    /// `NLM_F_ACK_TLVS`, in errors: attributes with an explanation follow.
    pub const ACK_TLVS: Self = Self(0x200);
    /// `NLM_F_DUMP`: everything of a kind.
    pub const DUMP: Self = Self(0x300);
    /// `NLM_F_EXCL`: fail if it exists.
    pub const EXCLUSIVE: Self = Self(0x200);
    /// `NLM_F_CREATE`: create if it does not exist.
    pub const CREATE: Self = Self(0x400);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Content.
    Message {
        /// `nlmsg_type`.
        kind: u16,
        /// What follows the header.
        body: Vec<u8>,
        /// Whether the kernel says that the dump is inconsistent.
        interrupted: bool,
    },
    /// The end of the answer: an acknowledgement, an error, or the end of a dump.
    End {
        /// The positive errno; 0 is success.
        errno: i32,
        /// The kernel's explanation, or on success its warning.
        message: Option<String>,
        /// Whether the kernel says that the dump is inconsistent.
        interrupted: bool,
    },
}

/// One framed request.
pub fn encode(kind: u16, flags: Flags, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = HEADER + body.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.0.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    // The kernel fills in the sender's port.
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// The messages of one datagram that answer request number `sequence`; others are left out.
pub fn parse(datagram: &[u8], sequence: u32) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let header = Header::parse(rest)?;
        let body = &rest[HEADER..header.length];
        if header.sequence == sequence
            && let Some(event) = header.event(body)?
        {
            events.push(event);
        }
        // Messages start at multiples of four; the last need not be padded.
        rest = &rest[header.length.next_multiple_of(4).min(rest.len())..];
    }
    Ok(events)
}

struct Header {
    length: usize,
    kind: u16,
    flags: Flags,
    sequence: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let header = bytes.first_chunk::<HEADER>().ok_or_else(|| short(bytes.len()))?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        if length < HEADER || length > bytes.len() {
            return Err(short(length));
        }
        Ok(Self {
            length,
            kind: u16::from_ne_bytes([k0, k1]),
            flags: Flags(u16::from_ne_bytes([f0, f1])),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        })
    }

    fn event(&self, body: &[u8]) -> Result<Option<Event>> {
        let interrupted = self.flags.has(Flags::DUMP_INTR);
        match self.kind {
            NOOP => Ok(None),
            OVERRUN => Err(Error::parse("netlink answer", "NLMSG_OVERRUN", "no lost data")),
            ERROR | DONE => {
                // NLMSG_DONE of some dumps has no error number; that is success.
                let errno = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                let message = self.explanation(body)?;
                Ok(Some(Event::End { errno: errno.wrapping_neg(), message, interrupted }))
            }
            kind => Ok(Some(Event::Message { kind, body: body.to_vec(), interrupted })),
        }
    }

    /// The explanation behind an error: after the number and, in `NLMSG_ERROR`, after the echo of
    /// the request, which is its header alone if capped.
    fn explanation(&self, body: &[u8]) -> Result<Option<String>> {
        if !self.flags.has(Flags::ACK_TLVS) {
            return Ok(None);
        }
        let echo = match (self.kind, body.get(4..)) {
            (DONE, _) => 0,
            (_, Some(echo)) if !self.flags.has(Flags::CAPPED) => {
                let length = echo.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
                (length as usize).max(HEADER)
            }
            _ => HEADER,
        };
        let start = echo.saturating_add(4).checked_next_multiple_of(4).unwrap_or(usize::MAX);
        let attributes = body.get(start..).ok_or_else(|| short(body.len()))?;
        for attribute in attribute::parse(attributes) {
            let attribute = attribute?;
            if attribute.kind == ATTR_MSG {
                return attribute.string().map(Some);
            }
        }
        Ok(None)
    }
}

fn short(length: usize) -> Error {
    Error::parse("netlink answer", &format!("{length} bytes"), "whole messages")
}

#[cfg(test)]
mod tests;
