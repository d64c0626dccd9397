//! Answers put together by hand from the layout in include/uapi/linux/netlink.h.

use super::*;

const SEQUENCE: u32 = 7;

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((16 + body.len() as u32).to_ne_bytes()); // nlmsg_len
    bytes.extend(kind.to_ne_bytes()); // nlmsg_type
    bytes.extend(flags.to_ne_bytes()); // nlmsg_flags
    bytes.extend(sequence.to_ne_bytes()); // nlmsg_seq
    bytes.extend(4242_u32.to_ne_bytes()); // nlmsg_pid
    bytes.extend(body);
    bytes
}

fn end(errno: i32, message: Option<&str>) -> Event {
    Event::End { errno, message: message.map(str::to_owned), interrupted: false }
}

/// The explanation "no", as an attribute.
fn explanation() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(7_u16.to_ne_bytes()); // nla_len: 4 + "no" + the zero
    bytes.extend(1_u16.to_ne_bytes()); // NLMSGERR_ATTR_MSG
    bytes.extend(b"no\0\0");
    bytes
}

#[test]
fn a_request_has_length_type_flags_sequence_and_no_port() {
    let mut expected = Vec::new();
    expected.extend(18_u32.to_ne_bytes());
    expected.extend(0x10_u16.to_ne_bytes());
    expected.extend(5_u16.to_ne_bytes()); // NLM_F_REQUEST | NLM_F_ACK
    expected.extend(SEQUENCE.to_ne_bytes());
    expected.extend([0; 4]);
    expected.extend([3, 1]);
    assert_eq!(encode(0x10, Flags::REQUEST | Flags::ACK, SEQUENCE, &[3, 1]), expected);
}

#[test]
fn ends() {
    let check = |kind: u16, flags: u16, body: Vec<u8>, expected: Event| {
        let datagram = message(kind, flags, SEQUENCE, &body);
        assert_eq!(parse(&datagram, SEQUENCE).unwrap(), [expected]);
    };
    let number = |errno: i32| (-errno).to_ne_bytes().to_vec();
    let echo = |payload: &[u8]| message(0x1c, 5, SEQUENCE, payload);
    let (capped, tlvs) = (0x100, 0x200);

    // An acknowledgement echoes only the header; an error echoes the request.
    check(2, 0, [number(0), echo(&[])].concat(), end(0, None));
    check(2, 0, [number(19), echo(&[1, 2, 3, 4])].concat(), end(19, None));
    // With an explanation behind the echo, capped or whole.
    let body = [number(22), echo(&[]), explanation()].concat();
    check(2, capped | tlvs, body, end(22, Some("no")));
    let body = [number(22), echo(&[9; 8]), explanation()].concat();
    check(2, tlvs, body, end(22, Some("no")));
    // Capped: the echoed header says more than is there.
    let mut header = echo(&[9; 8]);
    header.truncate(16);
    check(2, capped | tlvs, [number(22), header, explanation()].concat(), end(22, Some("no")));
    // The end of a dump: with a number, without, with an explanation.
    check(3, 2, number(0), end(0, None));
    check(3, 2, Vec::new(), end(0, None));
    check(3, 2 | tlvs, [number(95), explanation()].concat(), end(95, Some("no")));
}

#[test]
fn only_the_answer_to_the_request() {
    let datagram = [
        message(0x1c, 2, SEQUENCE - 1, &[1, 1, 1, 1]), // late answer to an earlier request
        message(0x1c, 2, SEQUENCE, &[2, 2]),
        vec![0, 0], // padding
        message(1, 0, SEQUENCE, &[]),
        message(0x1c, 2 | 0x10, SEQUENCE, &[3, 3, 3, 3]),
    ]
    .concat();
    let expected = [
        Event::Message { kind: 0x1c, body: vec![2, 2], interrupted: false },
        Event::Message { kind: 0x1c, body: vec![3; 4], interrupted: true },
    ];
    assert_eq!(parse(&datagram, SEQUENCE).unwrap(), expected);
}

#[test]
fn broken_answers_are_errors() {
    let check = |datagram: &[u8]| {
        assert!(parse(datagram, SEQUENCE).is_err(), "{datagram:?}");
    };
    let whole = message(0x1c, 2, SEQUENCE, &[1, 2, 3, 4]);
    check(&whole[..15]);
    check(&whole[..19]);
    check(&[0; 16]); // a length of zero would never advance
    check(&message(4, 0, SEQUENCE, &[])); // NLMSG_OVERRUN
    check(&message(2, 0x200, SEQUENCE, &[0; 4])); // attributes promised, none there
    let mut huge = vec![0; 4];
    huge.extend(u32::MAX.to_ne_bytes()); // an echo of 4 GiB
    huge.extend([0; 12]);
    check(&message(2, 0x200, SEQUENCE, &huge));
}
