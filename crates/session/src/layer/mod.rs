//! Sessions for tower services, and the cookie.

mod body;
mod cookie;
#[cfg(feature = "axum")]
mod extract;
mod service;

pub use self::body::SessionBody;
pub use self::cookie::{CookieBuilder, CookieConfig, SameSite, Secure};
#[cfg(feature = "axum")]
pub use self::extract::MissingSessionLayer;
pub use self::service::{SessionLayer, SessionService};
