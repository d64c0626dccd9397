//! Ringway's operator: turns policies and networks into what nodes and pods read.
//!
//! It watches the cluster and compares:
//! - [`render`](mod@render): `DevicePolicy` objects and what nodes have in, each node's spec out;
//! - [`status`](mod@status): what became of a policy, from findings and the nodes' conditions;
//! - [`networks`]: `DeviceNetwork` in, NetworkAttachmentDefinition out;
//! - [`writes`](mod@writes): all of it together, as the list of objects to write.
//!
//! Those are pure. [`apply`] carries the list out, [`controller`] watches, [`lease`] sees to it
//! that one replica works at a time. [`check`] tells a person whether an installation works, and
//! [`remove`](mod@remove) takes one down.
//!
//! It never touches a node: the node's agent does, by its `NodeDevices`.

pub mod apply;
pub mod args;
pub mod check;
pub mod cluster;
pub mod common;
pub mod conditions;
pub mod controller;
pub mod crds;
pub mod finding;
pub mod health;
pub mod lease;
pub mod networks;
pub mod partition;
pub mod remove;
pub mod render;
pub mod run;
pub mod selector;
pub mod status;
pub mod writes;
