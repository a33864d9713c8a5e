//! What was sent and not answered, and how long it may still be executed.

use std::sync::Arc;
use std::time::Duration;

use redis::{cmd, from_redis_value};
use statehouse_core::policy::Backoff;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::RedisClient;
use crate::failure::{Carrier, Failure, Sent};

/// The pauses between two looks at whether a server has closed a connection.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// The tries of one request that were sent and not answered. Each says until when it may run.
#[derive(Default)]
pub(crate) struct Lost {
    /// When the last of them is over.
    over: Option<Instant>,
    carriers: Vec<Arc<Carrier>>,
    /// Whether one went over a connection of which nothing is known.
    untraced: bool,
}

impl Lost {
    /// One more, which is over at `until`.
    pub(crate) fn add(&mut self, failure: &Failure, until: Instant) {
        self.over = self.over.max(Some(until));
        self.untraced |= failure.over.is_none();
        self.carriers.extend(failure.over.clone());
    }
}

impl RedisClient {
    /// Waits until nothing of it can be executed any more: at the longest until the last is over, and no longer than their
    /// server has the connections that carried them.
    ///
    /// A connection that is closed here says nothing: what was sent over it may be held back in between, by a proxy or a
    /// network that drops packets. But a server that has closed it executes nothing that still comes over it, and it knows
    /// its connections by numbers that it gives out once. If it was restarted, another may have the number; then this
    /// waits. If another server is behind the same address now, as after a failover, the first does not take writes any
    /// more.
    pub(crate) async fn settle(&self, lost: &Lost) {
        let Some(over) = lost.over else { return };
        let closed = async {
            let mut unknown = lost.untraced;
            for carrier in &lost.carriers {
                unknown = unknown || !self.is_closed(carrier, over).await;
            }
            if unknown {
                std::future::pending::<()>().await;
            }
        };
        let _ = timeout_at(over, closed).await;
    }

    /// Asks until the server has closed the connection, if it tells.
    async fn is_closed(&self, carrier: &Carrier, until: Instant) -> bool {
        let mut pauses = Backoff::new(FIRST_LOOK, LONGEST_LOOK);
        let question = cmd("CLIENT").arg("LIST").arg("ID").arg(carrier.client).clone();
        loop {
            let masters = self.inner.topology.masters();
            let Some(node) = masters.iter().find(|node| *node.name() == carrier.server) else { return false };
            match node.send(&question, until).await {
                Ok(answer) => match from_redis_value::<String>(answer) {
                    Ok(list) if list.trim().is_empty() => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                },
                // This user may not ask.
                Err(failure) if failure.sent == Sent::Answered => return false,
                Err(_) => {}
            }
            sleep(pauses.pause()).await;
        }
    }
}
