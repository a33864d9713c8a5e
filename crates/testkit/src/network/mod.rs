//! One table for each service on Redis: every verb under every fault of the network.

mod cell;
mod fault;
mod subject;
mod table;
mod way;

pub use cell::timed_fairly;
pub use fault::NetworkFault;
pub use subject::{Effect, NetworkSubject, RedisTopology};
pub use table::network_table;
