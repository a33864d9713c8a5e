//! What one backend can do that another may not.

pub use statehouse_core::capability::{FENCED, FENCED_AT_ONCE, SHARED};
