//! What one backend can do that another may not.

use statehouse_core::Capability;
pub use statehouse_core::capability::{DURABLE, FENCED, FENCED_AT_ONCE, SHARED};

/// No session of somebody who is logged in is dropped before its time when memory is full. Redis has it if it is certain
/// that it evicts nothing.
pub const UNEVICTED: Capability =
    Capability::new("unevicted", "no session of somebody who is logged in is dropped when memory is full");

/// It knows which sessions are whose: it lists them, ends them together, and bounds how many somebody has.
pub const PRINCIPALS: Capability =
    Capability::new("principals", "the sessions of a principal are listed, ended together, and bounded in number");
