//! How often a log-in was tried in vain, counted where all replicas see it.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use sha2::{Digest, Sha256};
use statehouse::Result;
use statehouse::coord::{Coordination, Counter};

/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Failures of one account from one address, of one account from anywhere, and of one address.
const LIMITS: [i64; 3] = [10, 60, 200];

/// A try that is counted before its password is checked, so that many at once are not more than were allowed.
#[derive(Debug)]
pub(crate) struct Attempt([Counter; 3]);

impl Attempt {
    pub(crate) fn of(coord: &Coordination, login: &str, address: IpAddr) -> Self {
        Self(
            subjects(login, address)
                .map(|subject| coord.counter(&format!("log-in-failures/{subject}")).time_to_live(WINDOW)),
        )
    }

    /// Counts it. If it is one too many: when the next one is allowed.
    pub(crate) async fn count(&self) -> Result<Option<Duration>> {
        let counted = try_join_all(self.0.iter().map(|counter| counter.add(1))).await?;
        let mut wait = None;
        for ((counter, count), limit) in self.0.iter().zip(counted).zip(LIMITS) {
            if count > limit {
                let left = counter.count().await?.and_then(|count| count.expires_in);
                wait = wait.max(Some(left.unwrap_or_default()));
            }
        }
        Ok(wait)
    }

    /// It succeeded: the account's failures from this address are forgotten, and elsewhere it was none.
    pub(crate) async fn forgive(&self) -> Result<()> {
        let [pair, account, address] = &self.0;
        try_join(pair.reset(), try_join(account.add(-1), address.add(-1))).await.map(drop)
    }
}

/// Hashes: people type passwords into the wrong field.
fn subjects(login: &str, address: IpAddr) -> [String; 3] {
    let (login, address) = (login.to_lowercase(), network(address));
    [hash(&["pair", &login, &address]), hash(&["account", &login]), hash(&["address", &address])]
}

/// Whoever has one address of IPv6 has the 2⁶⁴ of its network.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x}/64", u128::from(address) >> 64),
    }
}

fn hash(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use statehouse::{Config, Services};

    use super::*;

    #[test]
    fn subjects_tell_accounts_and_networks_apart_and_name_nobody() {
        let of = |login, address: &str| subjects(login, address.parse().unwrap());
        assert_eq!(of("Ada", "10.0.0.1"), of("ada", "10.0.0.1"));
        assert_eq!(of("ada", "2001:db8::1"), of("ada", "2001:db8::2"));
        let (one, other) = (of("ada", "10.0.0.1"), of("grace", "10.0.0.2"));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
        assert_ne!(one[1], of("ada\n10.0.0.1", "10.0.0.1")[0]);
        assert!(one.iter().all(|subject| subject.len() == 32 && !subject.contains("ada")));
    }

    #[tokio::test]
    async fn log_ins_that_fail_are_counted_by_account_and_by_address_until_they_are_forgotten() {
        let coord = Services::open(Config::in_memory()).await.unwrap().coordination();
        let attempt = |login: &str, address: &str| Attempt::of(&coord, login, address.parse().unwrap());
        let ada = attempt("ada", "10.0.0.1");
        for tried in 0..10 {
            assert_eq!(ada.count().await.unwrap(), None, "{tried}");
        }
        let wait = ada.count().await.unwrap().expect("one too many");
        assert!(wait > Duration::from_secs(60) && wait <= Duration::from_secs(300), "{wait:?}");
        assert_eq!(attempt("ada", "10.0.0.2").count().await.unwrap(), None, "from elsewhere");
        assert_eq!(attempt("grace", "10.0.0.1").count().await.unwrap(), None, "somebody else");
        ada.forgive().await.unwrap();
        assert_eq!(ada.count().await.unwrap(), None, "who has logged in begins anew");

        let mut refused = 0;
        for guess in 0..300 {
            let guess = attempt(&format!("staff{guess:03}"), "10.0.0.3");
            refused += usize::from(guess.count().await.unwrap().is_some());
        }
        assert_eq!(refused, 100, "many accounts from one address");
        let mut refused = 0;
        for address in 0..100 {
            let guess = attempt("florence", &format!("10.1.0.{address}"));
            refused += usize::from(guess.count().await.unwrap().is_some());
        }
        assert_eq!(refused, 40, "one account from many addresses");
    }
}
