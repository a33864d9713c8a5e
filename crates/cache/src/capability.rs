//! What one backend can do that another may not.

pub use statehouse_core::capability::SHARED;
