//! Ring 7: the product on a real cluster, as its users meet it: objects in, conditions and pods
//! out. Runs on the host against the lab's cluster, one test at a time: `cargo lab test cluster`.
//! Each test starts from a cluster without policies, networks and pods of ours and a card without
//! functions, and leaves them so.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is a test")]

mod admission;
mod agent;
mod churn;
mod cluster;
mod device_plugin;
mod drift;
mod features;
mod hotplug;
mod kubelet;
mod lab;
mod network;
mod observed;
mod pods;
mod policy;
mod reboot;
mod removal;
mod user_namespaces;
