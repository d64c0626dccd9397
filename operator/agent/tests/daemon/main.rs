//! The agent's daemon, on a node whose sysfs is a temporary tree, and at an API server that is a
//! value. Netlink is this machine's, which shows none of the tree's interfaces: they have none.
//!
//! Where time is paused, tokio moves it on whenever everybody waits, so that minutes pass at once.

// helpers of tests are outside of what clippy takes for a test
#![allow(clippy::unwrap_used)]

mod drift;
mod events;
mod object;
mod ownership;
mod rounds;
mod scrape;
mod stop;
mod world;
