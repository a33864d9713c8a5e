//! A connection for one statement, within a time limit.
//!
//! A server that has vanished answers nothing. Whoever waits for it waits no longer than this, and its connection takes no
//! place in the pool any more: its successor, of the same name, is asked over another one.

use std::io;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool};
use tokio::time::timeout;

/// Longer than the server lets a statement run, so that it can say so itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(11);

/// How long the pool may ask a connection that comes back whether it is well.
const RETURN_WITHIN: Duration = Duration::from_secs(3);

/// Asks one statement: `ask!(database, query, fetch_all)`.
macro_rules! ask {
    ($database:expr, $query:expr, $how:ident) => {{
        let mut lent = $crate::db::lent::Lent::of(&$database.pool).await?;
        let answer = $crate::db::lent::in_time($query.$how(lent.connection()?)).await;
        lent.answered(&answer);
        answer
    }};
}
pub(super) use ask;

/// Closed when it is dropped, unless it was answered: also if whoever asked has gone.
#[derive(Debug)]
pub(super) struct Lent(Option<PoolConnection<Any>>);

impl Lent {
    pub(super) async fn of(pool: &AnyPool) -> sqlx::Result<Self> {
        pool.acquire().await.map(Some).map(Self)
    }

    pub(super) fn connection(&mut self) -> sqlx::Result<&mut AnyConnection> {
        self.0.as_deref_mut().ok_or(sqlx::Error::WorkerCrashed)
    }

    /// Gives it back if the server is there.
    pub(super) fn answered<T>(mut self, answer: &sqlx::Result<T>) {
        if !matches!(answer, Ok(_) | Err(sqlx::Error::Database(_))) {
            return;
        }
        if let Some(mut connection) = self.0.take() {
            tokio::spawn(timeout(RETURN_WITHIN, connection.return_to_pool()));
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

pub(super) async fn in_time<T>(asking: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let late = |_| sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer in time"));
    timeout(ANSWER_WITHIN, asking).await.map_err(late)?
}
