//! How often a log-in was tried in vain, counted where all replicas see it.

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Database;
use crate::time::now;

/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Failures of one account from one address, of one account from anywhere, and of one address.
const LIMITS: [i64; 3] = [10, 60, 200];

/// A try that was counted before its password is checked, so that many at once are not more than were allowed.
#[derive(Debug)]
pub(crate) struct Attempt([String; 3]);

impl Attempt {
    pub(crate) fn of(login: &str, address: IpAddr) -> Self {
        let (login, address) = (login.to_lowercase(), network(address));
        Self([subject(&["pair", &login, &address]), subject(&["account", &login]), subject(&["address", &address])])
    }
}

/// Whoever has one address of IPv6 has the 2⁶⁴ of its network.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x}/64", u128::from(address) >> 64),
    }
}

fn subject(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl Database {
    /// Counts this try. If it is one too many: when the next one is allowed.
    pub(crate) async fn count_attempt(&self, attempt: &Attempt) -> sqlx::Result<Option<Duration>> {
        let now = now();
        let until = now + i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX);
        let mut wait = None;
        for (subject, limit) in attempt.0.iter().zip(LIMITS) {
            let (count, until): (i64, i64) = sqlx::query_as(
                "INSERT INTO attempts (subject, count, until) VALUES ($1, 1, $2) ON CONFLICT (subject) DO UPDATE SET \
                 count = CASE WHEN attempts.until < $3 THEN 1 ELSE attempts.count + 1 END, \
                 until = CASE WHEN attempts.until < $3 THEN $2 ELSE attempts.until END RETURNING count, until",
            )
            .bind(subject.as_str())
            .bind(until)
            .bind(now)
            .fetch_one(&self.pool)
            .await?;
            if count > limit {
                let left = Duration::from_millis(u64::try_from(until - now).unwrap_or_default());
                wait = wait.max(Some(left));
            }
        }
        Ok(wait)
    }

    /// It succeeded: the account's failures from this address are forgotten, and elsewhere it was none.
    pub(crate) async fn forgive_attempt(&self, attempt: &Attempt) -> sqlx::Result<()> {
        let [pair, account, address] = &attempt.0;
        sqlx::query("DELETE FROM attempts WHERE subject = $1").bind(pair.as_str()).execute(&self.pool).await?;
        sqlx::query("UPDATE attempts SET count = count - 1 WHERE subject IN ($1, $2) AND count > 0")
            .bind(account.as_str())
            .bind(address.as_str())
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// Forgets what no longer counts.
    pub(crate) async fn sweep_attempts(&self) -> sqlx::Result<u64> {
        let swept = sqlx::query("DELETE FROM attempts WHERE until < $1").bind(now()).execute(&self.pool).await?;
        Ok(swept.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_tell_accounts_and_networks_apart_and_name_nobody() {
        let attempt = |login, address: &str| Attempt::of(login, address.parse().unwrap()).0;
        assert_eq!(attempt("Ada", "10.0.0.1"), attempt("ada", "10.0.0.1"));
        assert_eq!(attempt("ada", "2001:db8::1"), attempt("ada", "2001:db8::2"));
        let (one, other) = (attempt("ada", "10.0.0.1"), attempt("grace", "10.0.0.2"));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
        assert_ne!(one[1], attempt("ada\n10.0.0.1", "10.0.0.1")[0]);
        assert!(one.iter().all(|subject| subject.len() == 32 && !subject.contains("ada")));
    }
}
