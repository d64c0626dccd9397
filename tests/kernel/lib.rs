//! What measures and tests on the node's kernel stand on: its cards at rest, devices, pods. Shared
//! by the kernel ring and by the figures (tests/bench). Whatever goes wrong ends the process: each
//! runs in one of its own.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it serves tests")]

pub mod node; // the cards, and the vDPA bus
pub mod stand; // devices, pods, and the CNI binary started as a runtime starts it
