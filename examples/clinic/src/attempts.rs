//! How often a log-in was tried in vain, counted where all replicas see it.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{join_all, try_join, try_join_all};
use sha2::{Digest, Sha256};
use statehouse::Result;
use statehouse::coord::{Coordination, Counter};

/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Failures of one account from one address, of one account from anywhere, and of one address.
const LIMITS: [i64; 3] = [10, 60, 200];

/// A try that is counted before its password is checked, so that many at once are not more than were allowed. If nobody
/// says what came of it, because the database is away or whoever tried has gone, it was none.
#[derive(Debug)]
pub(crate) struct Attempt {
    counters: [Counter; 3],
    /// It is counted, and the password is being checked.
    is_open: bool,
}

impl Attempt {
    pub(crate) fn of(coord: &Coordination, login: &str, address: IpAddr) -> Self {
        let counters = subjects(login, address)
            .map(|subject| coord.counter(&format!("log-in-failures/{subject}")).time_to_live(WINDOW));
        Self { counters, is_open: false }
    }

    /// Counts it. If it is one too many: when the next one is allowed.
    pub(crate) async fn count(&mut self) -> Result<Option<Duration>> {
        let counted = try_join_all(self.counters.iter().map(|counter| counter.add(1))).await?;
        let mut wait = None;
        for ((counter, count), limit) in self.counters.iter().zip(counted).zip(LIMITS) {
            if count > limit {
                let left = counter.count().await?.and_then(|count| count.expires_in);
                wait = wait.max(Some(left.unwrap_or_default()));
            }
        }
        self.is_open = wait.is_none();
        Ok(wait)
    }

    /// The password was another one: it stays counted.
    pub(crate) fn failed(mut self) {
        self.is_open = false;
    }

    /// Nobody could say whether the password was right.
    pub(crate) async fn take_back(mut self) {
        self.is_open = false;
        take_back(&self.counters).await;
    }

    /// It succeeded: the account's failures from this address are forgotten, and elsewhere it was none.
    pub(crate) async fn forgive(mut self) -> Result<()> {
        self.is_open = false;
        let [pair, account, address] = &self.counters;
        try_join(pair.reset(), try_join(account.add(-1), address.add(-1))).await.map(drop)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Without a runtime the process ends.
        if let (true, Ok(runtime)) = (self.is_open, tokio::runtime::Handle::try_current()) {
            let counters = self.counters.clone();
            drop(runtime.spawn(async move { take_back(&counters).await }));
        }
    }
}

/// What cannot be taken back is forgotten when its time is over.
async fn take_back(counters: &[Counter; 3]) {
    let _taken_back = join_all(counters.iter().map(|counter| counter.add(-1))).await;
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
        let mut ada = attempt("ada", "10.0.0.1");
        for tried in 0..10 {
            assert_eq!(ada.count().await.unwrap(), None, "{tried}");
        }
        let wait = ada.count().await.unwrap().expect("one too many");
        assert!(wait > Duration::from_secs(60) && wait <= Duration::from_secs(300), "{wait:?}");
        assert_eq!(attempt("ada", "10.0.0.2").count().await.unwrap(), None, "from elsewhere");
        assert_eq!(attempt("grace", "10.0.0.1").count().await.unwrap(), None, "somebody else");
        ada.forgive().await.unwrap();
        assert_eq!(attempt("ada", "10.0.0.1").count().await.unwrap(), None, "who has logged in begins anew");

        let mut refused = 0;
        for guess in 0..300 {
            let mut guess = attempt(&format!("staff{guess:03}"), "10.0.0.3");
            refused += usize::from(guess.count().await.unwrap().is_some());
            guess.failed();
        }
        assert_eq!(refused, 100, "many accounts from one address");
        let mut refused = 0;
        for address in 0..100 {
            let mut guess = attempt("florence", &format!("10.1.0.{address}"));
            refused += usize::from(guess.count().await.unwrap().is_some());
            guess.failed();
        }
        assert_eq!(refused, 40, "one account from many addresses");
    }

    #[tokio::test]
    async fn what_could_not_be_checked_was_no_guess() {
        let coord = Services::open(Config::in_memory()).await.unwrap().coordination();
        let attempt = || Attempt::of(&coord, "ada", "10.0.0.1".parse().unwrap());
        for _ in 0..30 {
            let mut tried = attempt();
            assert_eq!(tried.count().await.unwrap(), None);
            tried.take_back().await;
        }
        for _ in 0..30 {
            let mut left = attempt();
            assert_eq!(left.count().await.unwrap(), None);
            drop(left);
            let taken_back = async {
                while attempt().counters[0].count().await.unwrap().is_some_and(|count| count.value > 0) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), taken_back).await.expect("it is taken back");
        }
    }
}
