//! The kernel's calls alone, without anything that a product needs: no look at what is there, no
//! record, no check. What carving a card and changing a function cost at least.
//!
//! `bare carve PF COUNT` makes so many VFs and on each a vDPA device for vhost-vdpa; `bare change
//! NAME` gives such a device to virtio-vdpa.

use std::fs;
use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

const PCI: &str = "/sys/bus/pci";
const VDPA: &str = "/sys/bus/vdpa";

fn main() -> io::Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["carve", pf, count] => carve(pf, count),
        ["change", name] => {
            fs::write(format!("{VDPA}/devices/{name}/driver/unbind"), name)?;
            bind(name, "virtio_vdpa")
        }
        _ => Err(io::Error::other("usage: bare carve PF COUNT | bare change NAME")),
    }
}

fn carve(pf: &str, count: &str) -> io::Result<()> {
    let card = format!("{PCI}/devices/{pf}");
    fs::write(format!("{VDPA}/drivers_autoprobe"), "0")?;
    fs::write(format!("{card}/sriov_drivers_autoprobe"), "0")?;
    fs::write(format!("{card}/sriov_numvfs"), count)?;
    let count: u32 = count.parse().map_err(io::Error::other)?;
    let mut vdpa = Family::open()?;
    for index in 0..count {
        let link = fs::read_link(format!("{card}/virtfn{index}"))?;
        let vf = link.file_name().unwrap_or_default().to_string_lossy();
        fs::write(format!("{PCI}/devices/{vf}/driver_override"), "vp-vdpa")?;
        fs::write(format!("{PCI}/drivers_probe"), &*vf)?;
        let name = format!("vdpa:{vf}");
        vdpa.create(&name, &vf)?;
        bind(&name, "vhost_vdpa")?;
    }
    Ok(())
}

fn bind(name: &str, driver: &str) -> io::Result<()> {
    fs::write(format!("{VDPA}/devices/{name}/driver_override"), driver)?;
    fs::write(format!("{VDPA}/drivers_probe"), name)
}

/// The vdpa family of generic netlink (include/uapi/linux/{netlink,genetlink,vdpa}.h).
struct Family {
    socket: Socket,
    id: u16,
}

impl Family {
    fn open() -> io::Result<Self> {
        const CONTROL: u16 = 16;
        const GET_FAMILY: u8 = 3;
        const FAMILY_ID: u16 = 1;
        const FAMILY_NAME: u16 = 2;
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let answer = ask(&socket, CONTROL, GET_FAMILY, REQUEST, &text(FAMILY_NAME, "vdpa"))?;
        let mut rest = answer.get(20..).unwrap_or_default();
        while let [low, high, kind_low, kind_high, value @ ..] = rest {
            let (length, kind) = ([*low, *high], [*kind_low, *kind_high]);
            if u16::from_ne_bytes(kind) == FAMILY_ID && value.len() >= 2 {
                return Ok(Self { socket, id: u16::from_ne_bytes([value[0], value[1]]) });
            }
            let length = usize::from(u16::from_ne_bytes(length)).max(4).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        Err(io::Error::other("there is no vdpa family"))
    }

    fn create(&mut self, name: &str, vf: &str) -> io::Result<()> {
        const DEV_NEW: u8 = 3;
        let bus = text(1, "pci");
        let body = [bus, text(2, vf), text(4, name)].concat();
        ask(&self.socket, self.id, DEV_NEW, REQUEST | ACK, &body).map(drop)
    }
}

/// A string's attribute, padded.
fn text(kind: u16, text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(text.as_bytes());
    bytes.resize(usize::from(length).next_multiple_of(4), 0);
    bytes
}

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;

/// Sends a request, and gives its only answer; fails with the kernel's error.
fn ask(socket: &Socket, family: u16, command: u8, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    const ERROR: u16 = 2;
    let length = u32::try_from(20 + body.len()).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend([family.to_ne_bytes(), flags.to_ne_bytes()].concat());
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(body);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let word = |at: usize| answer.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or([0; 4]);
    let [low, high, ..] = word(4);
    match (u16::from_ne_bytes([low, high]), i32::from_ne_bytes(word(16))) {
        (ERROR, 0) => Ok(answer),
        (ERROR, code) => Err(io::Error::from_raw_os_error(-code)),
        _ => Ok(answer),
    }
}
