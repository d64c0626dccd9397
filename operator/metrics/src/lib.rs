//! Metrics in Prometheus's text format, and the pages over HTTP that they and probes are read from.
//!
//! What is counted is its owner's business: it says what [`families!`] it has, writes them into a
//! [`Page`], and lets [`http`] answer with that.

pub mod family;
mod histogram;
pub mod http;
pub mod probe;
mod text;

pub use family::{Family, Kind};
pub use histogram::Histogram;
pub use text::{CONTENT_TYPE, Page};
