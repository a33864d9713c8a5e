//! The session of one request. Its verbs: `get`, `insert`, `update` and `remove` are in `handle.rs`, `login` and `logout` in
//! `identity.rs`, `commit` in `commit.rs`, `list` and `revoke` in `devices.rs`, `flash` and `take_flash` in `flash.rs`,
//! `csrf_token` in `csrf.rs`.

mod at_once;
mod commit;
mod contention;
mod csrf;
mod devices;
mod ended;
mod finish;
mod flash;
mod handle;
mod identity;
mod last;
mod load;
mod messages;
mod state;
mod stay;
mod watch;
mod work;

#[cfg(feature = "tower-sessions")]
pub(crate) use self::contention::{Contention, Race};
pub use self::devices::ListedSession;
pub use self::flash::Flash;
pub(crate) use self::handle::Closed;
pub use self::handle::{Session, Sessions};
pub(crate) use self::state::Outage;

#[cfg(test)]
mod told;
