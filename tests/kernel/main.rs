//! Ring 6: the kernel layer on a real kernel with emulated cards. Runs inside the lab's node, as
//! root, one test at a time: `cargo lab test kernel`. Each test starts from a card without virtual
//! functions and a vDPA bus without devices, and leaves them so.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is a test")]

mod agent;
mod attach;
mod capabilities;
mod clock;
mod cni;
mod cni_attacks;
mod cni_functions;
mod cni_switchdev;
mod conformance;
mod constants;
mod defaults;
mod eswitch;
mod faults;
mod link;
mod module;
mod monitor;
mod ownership;
mod program;
mod reset;
mod selftest;
mod simulator;
mod sriov;
mod storage;
mod stuck;
mod subfunction;
mod tracer;
mod vduse;
mod vfio;
mod vp_vdpa;

use ringway_kernel_tests::{node, stand};
