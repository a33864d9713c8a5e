//! Sessions for tower services.

mod body;
#[cfg(feature = "axum")]
mod extract;
mod service;

pub use self::body::SessionBody;
#[cfg(feature = "axum")]
pub use self::extract::MissingSessionLayer;
pub use self::service::{SessionLayer, SessionService};
