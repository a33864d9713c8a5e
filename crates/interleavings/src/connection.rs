//! The connections of `statehouse-redis`. What would connect to a server is a stand-in here.

#[allow(dead_code, reason = "compiled for its locks, not for its callers")]
#[path = "../../redis/src/connection/doubt.rs"]
pub(crate) mod doubt;
#[allow(dead_code, reason = "as above")]
#[path = "../../redis/src/connection/flow.rs"]
pub(crate) mod flow;
#[allow(dead_code, reason = "as above")]
#[path = "../../redis/src/connection/link.rs"]
pub(crate) mod link;
#[allow(dead_code, reason = "as above")]
#[path = "../../redis/src/connection/server.rs"]
pub(crate) mod server;
#[path = "../../redis/src/connection/spares.rs"]
pub(crate) mod spares;
#[path = "../../redis/src/connection/state.rs"]
pub(crate) mod state;
#[path = "../../redis/src/connection/waited.rs"]
pub(crate) mod waited;

pub(crate) mod source;
pub(crate) mod stream;
