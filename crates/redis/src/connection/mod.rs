//! One connection to one server: made, shared, watched and replaced.

mod doubt;
pub(crate) mod flow;
pub(crate) mod link;
pub(crate) mod server;
pub(crate) mod source;
mod spares;
mod state;
pub(crate) mod stream;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod wait;
pub(crate) mod waited;
