//! What one backend can do that another may not.

use statehouse_core::Capability;
pub use statehouse_core::capability::{DURABLE, FENCED, FENCED_AT_ONCE, SHARED};

/// No session of somebody who is logged in is dropped before its time when memory is full. Redis has it if it is certain
/// that it evicts nothing.
pub const UNEVICTED: Capability =
    Capability::new("unevicted", "no session of somebody who is logged in is dropped when memory is full");
