//! A master that Sentinel watches, and the task that follows it.
//!
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/>. Beyond that page's rules, all sentinels are
//! asked and the answer of the highest configuration epoch wins: one sentinel that was cut off from the others cannot
//! lead back to an old master. They are asked when they publish a failover, when the master fails, and now and then.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock, Weak};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::{RedisError, RedisResult, cmd, from_redis_value, pipe};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::Address;
use crate::connection::source::{Connector, Role};
use crate::failure::{Failure, Sent, no_owner, no_such_master, timed_out};
use crate::node::Node;

/// How often the sentinels are asked though nothing failed. An old master that is cut off from them takes writes and
/// loses them; this bounds for how long it is sent any.
const PERIOD: Duration = Duration::from_secs(1);

/// The least time between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the others are waited for once one sentinel has answered.
const GRACE: Duration = Duration::from_millis(200);

pub(crate) struct Sentinel {
    watch: Arc<Watch>,
}

struct Watch {
    connector: Connector,
    sentinels: Vec<Arc<Node>>,
    name: String,
    master: RwLock<Option<Arc<Node>>>,
    wake: Arc<Notify>,
}

/// What one sentinel says about the master.
struct Report {
    address: Address,
    epoch: u64,
    /// This sentinel leads a failover and has promoted a replica already, before the others know.
    promoted: bool,
}

impl Report {
    const fn rank(&self) -> (u64, bool) {
        (self.epoch, self.promoted)
    }
}

impl Sentinel {
    pub(crate) fn new(
        connector: Connector,
        to_sentinels: &Connector,
        sentinels: &[Address],
        name: &str,
    ) -> RedisResult<Self> {
        let (master, wake) = (RwLock::new(None), Arc::new(Notify::new()));
        let role = Role::Sentinel(Arc::clone(&wake));
        let sentinels = sentinels.iter().map(|address| Node::at(to_sentinels, address, role.clone()));
        let sentinels = sentinels.collect::<Result<_, _>>()?;
        Ok(Self { watch: Arc::new(Watch { connector, sentinels, name: name.to_owned(), master, wake }) })
    }

    pub(crate) async fn start(&self, until: Instant) -> Result<(), Failure> {
        self.watch.look(until).await?;
        tokio::spawn(follow(Arc::downgrade(&self.watch), Arc::clone(&self.watch.wake)));
        Ok(())
    }

    pub(crate) fn master(&self) -> Result<Arc<Node>, Failure> {
        self.watch.master().ok_or_else(|| Failure::not_sent(no_owner()))
    }

    /// Asks the sentinels soon, not only at the next turn.
    pub(crate) fn look_again(&self) {
        self.watch.wake.notify_one();
    }
}

/// Holds nothing while it waits, so that dropping the last client closes its connections.
async fn follow(watch: Weak<Watch>, wake: Arc<Notify>) {
    loop {
        sleep(PAUSE).await;
        // Woken or not, it is time to look.
        let _ = timeout(PERIOD - PAUSE, wake.notified()).await;
        let Some(watch) = watch.upgrade() else { return };
        if let Err(failure) = watch.look(Instant::now() + PERIOD).await {
            tracing::warn!(kind = ?failure.error.kind(), "no sentinel says where the Redis master is");
        }
    }
}

impl Watch {
    fn master(&self) -> Option<Arc<Node>> {
        self.master.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn look(&self, until: Instant) -> Result<(), Failure> {
        let address = self.ask_all(until).await?;
        if self.master().is_some_and(|master| master.address() == Some(&address)) {
            return Ok(());
        }
        let node = Node::at(&self.connector, &address, Role::Master).map_err(Failure::not_sent)?;
        tracing::info!(master = %address, "following the Redis master");
        *self.master.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(node);
        Ok(())
    }

    /// The master's address by the report of the highest epoch. Fails only if no sentinel reports any.
    async fn ask_all(&self, until: Instant) -> Result<Address, Failure> {
        let mut answers: FuturesUnordered<_> =
            self.sentinels.iter().map(|sentinel| self.ask(sentinel, until)).collect();
        let (mut best, mut failure): (Option<Report>, _) = (None, Failure::not_sent(timed_out()));
        let mut until = until;
        while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
            match answer {
                Ok(report) => {
                    until = until.min(Instant::now() + GRACE);
                    if best.as_ref().is_none_or(|best| report.rank() > best.rank()) {
                        best = Some(report);
                    }
                }
                // "No such master" says more than that another sentinel is unreachable.
                Err(other) if failure.sent != Sent::Answered => failure = other,
                Err(_) => {}
            }
        }
        best.map(|report| report.address).ok_or(failure)
    }

    async fn ask(&self, sentinel: &Node, until: Instant) -> Result<Report, Failure> {
        let questions = pipe()
            .add_command(cmd("SENTINEL").arg("MASTER").arg(&self.name).clone())
            .add_command(cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name).clone())
            .clone();
        let answer =
            sentinel.send_pipeline(&questions, until).await.map_err(|failure| match failure.error.detail() {
                Some(detail) if detail.contains("No such master") => Failure::answered(no_such_master()),
                _ => failure,
            })?;
        let (fields, address): (HashMap<String, String>, (String, u16)) =
            from_redis_value(answer).map_err(|error| Failure::answered(RedisError::from(error)))?;
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        Ok(Report {
            promoted: (field("ip"), field("port")) != (address.0.as_str(), address.1.to_string().as_str()),
            address: Address::new(address.0, address.1),
            epoch: field("config-epoch").parse().unwrap_or(0),
        })
    }
}

impl fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinel")
            .field("name", &self.watch.name)
            .field("master", &self.watch.master())
            .finish_non_exhaustive()
    }
}
