//! Generic netlink: its header, and finding a family by name
//! (include/uapi/linux/genetlink.h, net/netlink/genetlink.c).

use std::cell::RefCell;

use crate::{
    error::{Error, Result, errno},
    netlink::{Message, Socket, Subject, attribute},
};

/// Length of `struct genlmsghdr`.
const HEADER: usize = 4;
/// `GENL_ID_CTRL`: the family that knows the others.
const CONTROLLER: u16 = 0x10;
/// `CTRL_CMD_GETFAMILY`.
const GET_FAMILY: u8 = 3;
/// `CTRL_ATTR_FAMILY_ID`, u16.
const FAMILY_ID: u16 = 1;
/// `CTRL_ATTR_FAMILY_NAME`, string.
const FAMILY_NAME: u16 = 2;

/// A request's body: the header, to which attributes are appended.
pub fn body(command: u8, version: u8) -> Vec<u8> {
    vec![command, version, 0, 0]
}

/// Command and attributes of an answer's body.
pub fn split(body: &[u8]) -> Result<(u8, &[u8])> {
    match body.split_at_checked(HEADER) {
        Some((header, attributes)) => Ok((header[0], attributes)),
        None => Err(short(body.len())),
    }
}

/// The number of a family: `nlmsg_type` of all its messages. It stays until the family's module is
/// unloaded.
///
/// `ENOENT` if the family is not there: the module is not loaded, or the family exists only in the
/// first network namespace (vdpa does) and the caller is in another.
pub fn family(socket: &mut Socket, name: &str) -> Result<u16> {
    let about = Subject { op: "find generic netlink family", object: name };
    let answer = socket.request(about, CONTROLLER, &encode_get_family(name))?;
    match answer.first() {
        Some(message) => parse_family(&message.body),
        None => Err(short(0)),
    }
}

/// A family that was found, and a socket to ask it: of one thread, so that a call that sleeps holds
/// no other up on our side.
#[derive(Debug)]
pub(crate) struct Family {
    socket: RefCell<Socket>,
    id: u16,
}

impl Family {
    /// Finds a family; `None` if it is not there.
    pub(crate) fn find(name: &str) -> Result<Option<Self>> {
        let mut socket = Socket::generic()?;
        match family(&mut socket, name) {
            Ok(id) => Ok(Some(Self { socket: RefCell::new(socket), id })),
            Err(error) if error.errno() == Some(errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn request(&self, about: Subject<'_>, body: &[u8]) -> Result<Vec<Message>> {
        self.socket.borrow_mut().request(about, self.id, body)
    }

    pub(crate) fn dump(&self, about: Subject<'_>, body: &[u8]) -> Result<Vec<Message>> {
        self.socket.borrow_mut().dump(about, self.id, body)
    }
}

/// The error of a family that is not there, with what to do.
pub fn missing(name: &str, what_to_do: &str) -> Error {
    Error::Netlink {
        op: "find generic netlink family",
        object: name.to_owned(),
        errno: errno::ENOENT,
        message: Some(what_to_do.to_owned()),
    }
}

fn encode_get_family(name: &str) -> Vec<u8> {
    let mut bytes = body(GET_FAMILY, 2);
    attribute::push_string(&mut bytes, FAMILY_NAME, name);
    bytes
}

fn parse_family(body: &[u8]) -> Result<u16> {
    let (_, attributes) = split(body)?;
    for attribute in attribute::parse(attributes) {
        let attribute = attribute?;
        if attribute.kind == FAMILY_ID {
            return attribute.u16();
        }
    }
    Err(Error::parse("generic netlink family", "no CTRL_ATTR_FAMILY_ID", "a family id"))
}

fn short(length: usize) -> Error {
    Error::parse("generic netlink message", &format!("{length} bytes"), "a header of 4 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_bytes() {
        let mut expected = vec![3, 2, 0, 0]; // CTRL_CMD_GETFAMILY, version 2
        expected.extend(9_u16.to_ne_bytes()); // 4 + "vdpa" + the zero
        expected.extend(2_u16.to_ne_bytes()); // CTRL_ATTR_FAMILY_NAME
        expected.extend(b"vdpa\0\0\0\0");
        assert_eq!(encode_get_family("vdpa"), expected);
    }

    #[test]
    fn answer_bytes() {
        let mut answer = vec![1, 2, 0, 0]; // CTRL_CMD_NEWFAMILY
        answer.extend(9_u16.to_ne_bytes());
        answer.extend(2_u16.to_ne_bytes()); // CTRL_ATTR_FAMILY_NAME
        answer.extend(b"vdpa\0\0\0\0");
        answer.extend(6_u16.to_ne_bytes());
        answer.extend(1_u16.to_ne_bytes()); // CTRL_ATTR_FAMILY_ID
        answer.extend(0x26_u16.to_ne_bytes());
        answer.extend([0, 0]);
        assert_eq!(parse_family(&answer).unwrap(), 0x26);
        assert!(parse_family(&answer[..16]).is_err(), "no id");
        assert!(parse_family(&answer[..2]).is_err(), "no header");
    }

    /// The controller is in every kernel, and asking it needs no privilege.
    #[test]
    fn a_real_family_and_a_missing_one() {
        let mut socket = Socket::generic().unwrap();
        assert_eq!(family(&mut socket, "nlctrl").unwrap(), CONTROLLER);
        let error = family(&mut socket, "ringway").unwrap_err();
        assert_eq!(error.errno(), Some(errno::ENOENT), "{error}");
    }
}
