//! Ringway's agent: makes one node's SR-IOV functions and vDPA devices what they shall be.
//!
//! Observe, plan, apply, until the plan is empty:
//! - [`node`] reads the node as plain data and executes single steps: the one edge to the world;
//! - [`wanted`] turns a spec into checked values;
//! - [`plan`](mod@plan) compares the two and says what to do, in order, and whom each step disturbs;
//! - [`reconcile`] goes through the steps, and never undoes: after a failure it observes again.
//!
//! What is wanted comes from the cluster, or from a file: the agent works without a cluster too.
//! Before the cluster is there, [`boot`] goes by what was wanted last; [`reset`] puts the node back
//! to what it was before anything was.

mod abilities;
pub mod args;
pub mod attachments;
pub mod before;
pub mod boot;
pub mod cards;
mod changes;
pub mod cli;
pub mod cluster;
pub mod drain;
mod events;
pub mod files;
mod follow;
pub mod holders;
pub mod host;
pub mod install;
pub mod kubelet;
pub mod leave;
pub mod local;
mod metrics;
mod news;
pub mod node;
pub mod offer;
pub mod plan;
mod preview;
pub mod reconcile;
pub mod reset;
mod say;
pub mod selftest;
pub mod serve;
mod show;
pub mod standing;
pub mod status;
pub mod step;
pub mod udev;
pub mod unit;
pub mod wanted;
pub mod wish;
mod work;

#[cfg(test)]
mod fake;
