//! Sessions for tower services.

mod answer;
mod body;
mod csrf;
#[cfg(feature = "axum")]
mod extract;
mod form;
mod guard;
mod service;
mod which;

pub use self::answer::{MissingSessionLayer, error_response};
pub use self::body::SessionBody;
pub use self::csrf::{CsrfLayer, CsrfRefused, CsrfService};
#[cfg(feature = "axum")]
pub use self::extract::{Fresh, PrincipalRejection, SessionError};
pub use self::form::CsrfBody;
pub use self::guard::{RequireLoginLayer, RequireLoginService};
pub use self::service::{SessionLayer, SessionService};
pub use self::which::SessionOf;
