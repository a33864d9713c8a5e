//! The session of one request.

mod commit;
mod contention;
mod finish;
mod flash;
mod handle;
mod identity;
mod load;
mod messages;
mod state;
mod watch;
mod work;

pub use self::flash::Flash;
pub use self::handle::{Session, Sessions};

#[cfg(test)]
mod told;
