//! The backends against real servers.

#[cfg(feature = "opensearch")]
mod opensearch;
