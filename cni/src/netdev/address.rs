//! The address of an interface whose function's PF has said it.

use std::{
    thread,
    time::{Duration, Instant},
};

use ringway_kernel::{
    Mac,
    error::Result,
    link::{Link, Links},
};

/// A driver that resets its function for it (iavf) takes tens of milliseconds, on a busy node more.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Has a function's interface, which is down, take the address that its PF was told; gives the link
/// as it then is, whatever its address. An error is the last refusal.
///
/// Drivers differ. mlx5_core and virtio_net take it as they are told. igb refuses even that very
/// address once the PF has one (E1000_VF_SET_MAC_ADDR, igb_rcv_msg_from_vf,
/// drivers/net/ethernet/intel/igb/igb_main.c), and igbvf reads it from the PF when it resets, which
/// it does each time that its interface is set down (igbvf_down, igbvf_reset,
/// drivers/net/ethernet/intel/igbvf/netdev.c). iavf is told by a reset that comes later.
pub(super) fn take(links: &mut Links, index: u32, mac: Mac) -> Result<Link> {
    let start = Instant::now();
    let mut refused = links.set_mac(index, mac).err();
    if refused.is_some() {
        links.set_up(index)?;
        links.set_down(index)?;
    }
    loop {
        let link = links.get(index)?;
        if link.mac == Some(mac) {
            return Ok(link);
        }
        if start.elapsed() >= TAKEN_WITHIN {
            return refused.map_or(Ok(link), Err);
        }
        thread::sleep(LOOK_AGAIN);
        refused = links.set_mac(index, mac).err();
    }
}
