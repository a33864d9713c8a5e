//! The backends against real servers.

#[cfg(feature = "opensearch")]
mod opensearch;
#[cfg(feature = "opensearch")]
mod random;
