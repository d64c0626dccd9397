//! The kernel's calls alone, without anything that a product needs: no look at what is there, no
//! record, no check. What carving a card, changing a function and attaching one cost at least.
//!
//! `bare carve PF COUNT` makes so many VFs and on each a vDPA device for vhost-vdpa; `bare change
//! NAME` gives such a device to virtio-vdpa. `bare attach VF NETNS IFNAME` gives a VF's interface to
//! a namespace, under a name and set up; `bare detach IFNAME NETNS NAME` takes it back.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use nix::sched::{CloneFlags, setns};

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
        ["attach", vf, netns, ifname] => attach(vf, netns, ifname),
        ["detach", ifname, netns, name] => detach(ifname, netns, name),
        _ => Err(io::Error::other(
            "usage: bare carve PF COUNT | bare change NAME | bare attach VF NETNS IFNAME | \
             bare detach IFNAME NETNS NAME",
        )),
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

fn attach(vf: &str, netns: &str, ifname: &str) -> io::Result<()> {
    let dir = format!("{PCI}/devices/{vf}/net");
    let interface = fs::read_dir(dir)?.next().ok_or(io::ErrorKind::NotFound)??.path();
    let index = fs::read_to_string(interface.join("ifindex"))?;
    let index = index.trim().parse().map_err(io::Error::other)?;
    let there = File::open(netns)?;
    Route::open()?.give(index, &there, ifname)?;
    setns(&there, CloneFlags::CLONE_NEWNET)?;
    Route::open()?.set(ifname, UP).map(drop)
}

fn detach(ifname: &str, netns: &str, name: &str) -> io::Result<()> {
    let (here, there) = (File::open("/proc/self/ns/net")?, File::open(netns)?);
    setns(there, CloneFlags::CLONE_NEWNET)?;
    let route = Route::open()?;
    route.set(ifname, 0)?;
    let index = route.index(ifname)?;
    route.give(index, &here, name)
}

/// `IFF_UP`.
const UP: u32 = 1;

/// Links by route netlink (include/uapi/linux/{rtnetlink,if_link}.h).
struct Route(Socket);

impl Route {
    fn open() -> io::Result<Self> {
        connect(NETLINK_ROUTE).map(Self)
    }

    /// Moves and renames.
    fn give(&self, index: u32, netns: &File, name: &str) -> io::Result<()> {
        const SET_LINK: u16 = 19;
        const NET_NS_FD: u16 = 28;
        let fd = u32::try_from(netns.as_raw_fd()).map_err(io::Error::other)?.to_ne_bytes();
        let head = [8u16.to_ne_bytes(), NET_NS_FD.to_ne_bytes()].concat();
        let body = [ifinfo(index, 0, 0), text(IFNAME, name), head, fd.to_vec()].concat();
        ask(&self.0, SET_LINK, REQUEST | ACK, &body).map(drop)
    }

    fn set(&self, name: &str, flags: u32) -> io::Result<()> {
        const NEW_LINK: u16 = 16;
        let body = [ifinfo(0, flags, UP), text(IFNAME, name)].concat();
        ask(&self.0, NEW_LINK, REQUEST | ACK, &body).map(drop)
    }

    fn index(&self, name: &str) -> io::Result<u32> {
        const GET_LINK: u16 = 18;
        let body = [ifinfo(0, 0, 0), text(IFNAME, name)].concat();
        let answer = ask(&self.0, GET_LINK, REQUEST, &body)?;
        let index = answer.get(20..24).and_then(|bytes| bytes.try_into().ok());
        index.map(u32::from_ne_bytes).ok_or_else(|| io::Error::other("a short answer"))
    }
}

const IFNAME: u16 = 3;

/// `struct ifinfomsg`.
fn ifinfo(index: u32, flags: u32, change: u32) -> Vec<u8> {
    [0, index, flags, change].map(u32::to_ne_bytes).concat()
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
        let socket = connect(NETLINK_GENERIC)?;
        let answer = ask(
            &socket,
            CONTROL,
            REQUEST,
            &[command(GET_FAMILY), text(FAMILY_NAME, "vdpa")].concat(),
        )?;
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
        let body = [command(DEV_NEW), bus, text(2, vf), text(4, name)].concat();
        ask(&self.socket, self.id, REQUEST | ACK, &body).map(drop)
    }
}

/// `struct genlmsghdr`.
fn command(number: u8) -> Vec<u8> {
    vec![number, 1, 0, 0]
}

/// A string's attribute, padded.
fn text(kind: u16, text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(text.as_bytes());
    bytes.resize(usize::from(length).next_multiple_of(4), 0);
    bytes
}

fn connect(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;

/// Sends a request, and gives its only answer; fails with the kernel's error.
fn ask(socket: &Socket, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    const ERROR: u16 = 2;
    let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    message.extend([0; 8]);
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
