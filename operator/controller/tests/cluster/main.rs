//! The operator at an API server that is a value: the real client, a service under it that keeps
//! objects and tells watchers of each change. What only a real API server can show (admission,
//! field managers, rights) is shown in the lab.
//!
//! Time is paused: tokio moves it on whenever everybody waits, so that minutes pass at once.

// helpers of tests are outside of what clippy takes for a test
#![allow(clippy::unwrap_used)]

mod lease;
mod networks;
mod objects;
mod remove;
mod specs;
