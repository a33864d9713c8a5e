//! Servers that have no room left.

/// What scripts begin with, behind [`REFUSE_LATE`](statehouse_redis::REFUSE_LATE), that keep or renew what is there: `in_place(command, key, …)` answers
/// as `redis.pcall`, and is done on a server that is full as well.
pub(crate) const IN_PLACE: &str = include_str!("full.lua");
