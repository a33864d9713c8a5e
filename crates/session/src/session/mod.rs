//! The session of one request.

mod commit;
mod contention;
mod devices;
mod finish;
mod flash;
mod handle;
mod identity;
mod load;
mod messages;
mod state;
mod watch;
mod work;

pub use self::devices::ListedSession;
pub use self::flash::Flash;
pub use self::handle::{Session, Sessions};

#[cfg(test)]
mod told;
