//! A program that runs a VDUSE network device: it answers what the kernel asks, moves no packet, and
//! can be made deaf. Numbers and structures: include/uapi/linux/vduse.h.

#![allow(unsafe_code, reason = "VDUSE is spoken by ioctls, and nobody's library does")]

use std::fs::{self, File};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use rustix::event::{PollFd, PollFlags};

const NAME: usize = 256;
/// `struct vduse_dev_config` without its last member: name, vendor_id, device_id, features, vq_num,
/// vq_align, reserved\[13\], config_size.
const CONFIG: usize = NAME + 4 + 4 + 8 + 4 + 4 + 52 + 4;
/// `struct vduse_dev_request` and `struct vduse_dev_response`.
const MESSAGE: usize = 4 + 4 + 16 + 128;
/// `VIRTIO_ID_NET`.
const NET: u32 = 1;
/// `VIRTIO_NET_F_MAC`, `VIRTIO_F_VERSION_1`, `VIRTIO_F_ACCESS_PLATFORM`.
const FEATURES: u64 = 1 << 5 | 1 << 32 | 1 << 33;

nix::ioctl_write_ptr!(set_api_version, 0x81, 0x01, u64);
nix::ioctl_write_ptr!(create_dev, 0x81, 0x02, [u8; CONFIG]);
nix::ioctl_write_ptr!(destroy_dev, 0x81, 0x03, [u8; NAME]);
nix::ioctl_write_ptr!(vq_setup, 0x81, 0x14, [u8; 32]);

/// The device, until it is dropped: its vDPA device must be gone by then.
pub(crate) struct Program {
    name: String,
    hears: Arc<(Mutex<bool>, Condvar)>,
    /// It ends when the pipe does.
    thread: Option<(JoinHandle<()>, PipeWriter)>,
}

impl Program {
    /// Makes it, with two virtqueues, and waits for no answer longer than it takes.
    pub(crate) fn new(name: &str) -> Self {
        let mut config = padded(name);
        config.extend([0; 4]);
        config.extend(NET.to_ne_bytes());
        config.extend(FEATURES.to_ne_bytes());
        config.extend(2u32.to_ne_bytes());
        config.extend(4096u32.to_ne_bytes());
        config.extend([0; 52]);
        // `struct virtio_net_config`: mac, status, max_virtqueue_pairs, mtu
        let mac = [0x02, 0, 0, 0, 0, name.bytes().last().unwrap_or_default()];
        let net =
            [&mac[..], &1u16.to_ne_bytes(), &1u16.to_ne_bytes(), &1500u16.to_ne_bytes()].concat();
        config.extend(u32::try_from(net.len()).unwrap().to_ne_bytes());
        assert_eq!(config.len(), CONFIG);
        config.extend(&net);
        let control = control();
        // SAFETY: CONFIG bytes are there, and as many more as config_size says.
        unsafe { create_dev(control.as_raw_fd(), config.as_ptr().cast()) }
            .expect("VDUSE_CREATE_DEV");
        // it may take as long as it wants
        fs::write(format!("/sys/class/vduse/{name}/msg_timeout"), "0").unwrap();

        let device =
            File::options().read(true).write(true).open(format!("/dev/vduse/{name}")).unwrap();
        for index in 0..2u32 {
            let mut queue = [0; 32];
            queue[..4].copy_from_slice(&index.to_ne_bytes());
            queue[4..6].copy_from_slice(&256u16.to_ne_bytes());
            // SAFETY: `queue` is a whole `struct vduse_vq_config`.
            unsafe { vq_setup(device.as_raw_fd(), &raw const queue) }.expect("VDUSE_VQ_SETUP");
        }
        let hears = Arc::new((Mutex::new(true), Condvar::new()));
        let ((end, lives), listens) = (std::io::pipe().unwrap(), hears.clone());
        let thread = thread::spawn(move || answer(device, &end, &listens));
        Self { name: name.to_owned(), hears, thread: Some((thread, lives)) }
    }

    /// Whether it answers from now on; what it was asked meanwhile it answers then.
    pub(crate) fn hears(&self, hears: bool) {
        *self.hears.0.lock().unwrap() = hears;
        self.hears.1.notify_all();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.hears(true);
        let Some((thread, lives)) = self.thread.take() else { return };
        drop(lives);
        if thread.join().is_err() || thread::panicking() {
            return;
        }
        destroy(&self.name).expect("VDUSE_DESTROY_DEV");
    }
}

/// Removes a device that nobody runs any more, if there is one.
pub(crate) fn forget(name: &str) {
    match destroy(name) {
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(error) => panic!("VDUSE_DESTROY_DEV {name}: {error}"),
    }
}

fn destroy(name: &str) -> nix::Result<()> {
    let name: [u8; NAME] = padded(name).try_into().unwrap();
    // SAFETY: `name` is a whole name buffer.
    unsafe { destroy_dev(control().as_raw_fd(), &raw const name) }.map(drop)
}

fn control() -> File {
    let control = File::options().read(true).write(true).open("/dev/vduse/control").unwrap();
    // SAFETY: the version is a u64.
    unsafe { set_api_version(control.as_raw_fd(), &0) }.expect("VDUSE_SET_API_VERSION");
    control
}

fn padded(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(NAME, 0);
    bytes
}

/// Agrees to whatever the kernel says: another status, another mapping.
fn answer(mut device: File, end: &PipeReader, hears: &(Mutex<bool>, Condvar)) {
    let mut request = [0; MESSAGE];
    loop {
        let wait = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = [wait(end.as_fd()), wait(device.as_fd())];
        rustix::event::poll(&mut fds, None).unwrap();
        if !fds[0].revents().is_empty() || device.read_exact(&mut request).is_err() {
            return;
        }
        drop(hears.1.wait_while(hears.0.lock().unwrap(), |hears| !*hears).unwrap());
        let mut response = [0; MESSAGE];
        response[..4].copy_from_slice(&request[4..8]);
        match device.write_all(&response) {
            // whoever asked has given up meanwhile
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) => return,
            Ok(()) => {}
        }
    }
}
