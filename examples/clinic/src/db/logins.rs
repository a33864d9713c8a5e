use super::Database;
use crate::time::now;

/// A session that somebody began, and on what.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// The key of the session in the session store, in hexadecimal. It finds the session and opens nothing.
    pub(crate) session_key: String,
    pub(crate) device: String,
    pub(crate) started_at: i64,
}

from_row!(Login { session_key, device, started_at });

impl Database {
    pub(crate) async fn add_login(&self, staff: i64, session_key: &str, device: &str) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO logins (session_key, staff, device, started_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (session_key) DO UPDATE SET staff = $2, device = $3, started_at = $4",
        )
        .bind(session_key)
        .bind(staff)
        .bind(device)
        .bind(now())
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// What a member of staff began, the newest first. Sessions that have expired since are among them.
    pub(crate) async fn logins(&self, staff: i64) -> sqlx::Result<Vec<Login>> {
        sqlx::query_as(
            "SELECT session_key, device, started_at FROM logins WHERE staff = $1 ORDER BY started_at DESC, session_key",
        )
        .bind(staff)
        .fetch_all(&self.pool)
        .await
    }

    /// Of whom, and which: sessions that began before this time, so many, behind this key.
    pub(crate) async fn logins_before(
        &self,
        started: i64,
        behind: &str,
        most: i64,
    ) -> sqlx::Result<Vec<(i64, String)>> {
        sqlx::query_as(
            "SELECT staff, session_key FROM logins WHERE started_at < $1 AND session_key > $2 \
             ORDER BY session_key LIMIT $3",
        )
        .bind(started)
        .bind(behind)
        .bind(most)
        .fetch_all(&self.pool)
        .await
    }

    pub(crate) async fn remove_login(&self, staff: i64, session_key: &str) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM logins WHERE staff = $1 AND session_key = $2")
            .bind(staff)
            .bind(session_key)
            .execute(&self.pool)
            .await
            .map(drop)
    }
}
