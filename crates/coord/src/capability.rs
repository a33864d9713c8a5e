//! What one backend can do that another may not.

use statehouse_core::Capability;
pub use statehouse_core::capability::{DURABLE, FENCED, FENCED_AT_ONCE, SHARED};

/// Records expire by the store's own clock, to the millisecond, whoever reads them. Without it a record lives longer for
/// those who have not watched it: see [`CoordStore`](crate::CoordStore#behavior).
pub const SERVER_TIME: Capability =
    Capability::new("server_time", "records expire by the store's clock, whoever reads them");

/// Records of which strangers say how many there are, those of [`SingleUse`](crate::SingleUse) and of requests that are answered once, leave
/// the store in the end, though it tells no [time](SERVER_TIME). Of files it needs that the file store
/// [deletes](statehouse_filestore::capability::DELETE_IF_MATCH) a file only if it is the expected one.
pub const SWEEPS: Capability = Capability::new(
    "sweeps",
    "records of used tokens and of answered requests leave the store when their time is long over",
);

/// [`wait_with`](crate::CoordStore::wait_with) hears of a change from the store, and need not ask again and again.
pub const NOTIFY: Capability = Capability::new("notify", "the store says when a record changes");

/// [`Signals`](crate::Signals) tell what is published to those who listen.
pub const SUBSCRIBE: Capability = Capability::new("subscribe", "what is published is told to those who listen");

/// Who has a record says with [beats](crate::CoordStore::beat_with) that it is there, and need not put it again and again.
pub const BEATS: Capability = Capability::new("beats", "who is there need not write its record again and again");
