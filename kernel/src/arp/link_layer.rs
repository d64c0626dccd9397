//! The address of a packet socket (man 7 packet), which rustix has not.

#![allow(unsafe_code)]

use rustix::net::{
    AddressFamily,
    addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque},
};

/// `struct sockaddr_ll` (include/uapi/linux/if_packet.h).
#[derive(Debug)]
#[repr(C)]
pub(super) struct LinkLayer {
    family: u16,
    /// Big-endian.
    protocol: u16,
    index: i32,
    hardware: u16,
    kind: u8,
    length: u8,
    address: [u8; 8],
}

impl LinkLayer {
    /// An interface, and which packets of it (`ETH_P_…`).
    pub(super) fn new(protocol: u16, index: u32) -> Self {
        Self {
            family: AddressFamily::PACKET.as_raw(),
            protocol: protocol.to_be(),
            index: index.cast_signed(),
            hardware: 0,
            kind: 0,
            length: 0,
            address: [0; 8],
        }
    }
}

// SAFETY: the pointer is that of a whole value, which lives as long as the call; its layout is that
// of the kernel's structure, without padding.
unsafe impl SocketAddrArg for LinkLayer {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        f(std::ptr::from_ref(self).cast(), size_of::<Self>() as SocketAddrLen)
    }
}
