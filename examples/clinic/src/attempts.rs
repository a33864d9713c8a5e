//! How often a log-in was tried in vain, counted where all replicas see it.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all, try_join};
use sha2::{Digest, Sha256};
use statehouse::coord::{Coordination, Counter};
use statehouse::{ErrorKind, Result};

/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Failures of one account from one address, of one account from anywhere, and of one address.
const LIMITS: [i64; 3] = [10, 60, 200];

/// A try that is counted before its password is checked, so that many at once are not more than were allowed. If nobody
/// says what came of it, because the database or the counters are away or whoever tried has gone, it was none.
#[derive(Debug)]
pub(crate) struct Attempt {
    counters: [Counter; 3],
    /// From before the first is counted until somebody says what came of it.
    open: Option<Counting>,
}

/// What each counter has answered, for all who wait for that.
type Counting = Shared<BoxFuture<'static, Vec<Result<i64>>>>;

impl Attempt {
    pub(crate) fn of(coord: &Coordination, login: &str, address: IpAddr) -> Self {
        let counters = subjects(login, address)
            .map(|subject| coord.counter(&format!("log-in-failures/{subject}")).time_to_live(WINDOW));
        Self { counters, open: None }
    }

    /// Counts it. If it is one too many: when the next one is allowed.
    pub(crate) async fn count(&mut self) -> Result<Option<Duration>> {
        let counted = self.open.insert(count(self.counters.clone())).clone().await;
        let counted: Vec<_> = counted.into_iter().collect::<Result<_>>()?;
        let mut wait = None;
        for ((counter, count), limit) in self.counters.iter().zip(counted).zip(LIMITS) {
            if count > limit {
                let left = counter.count().await?.and_then(|count| count.expires_in);
                wait = wait.max(Some(left.unwrap_or_default()));
            }
        }
        if wait.is_some() {
            self.open = None;
        }
        Ok(wait)
    }

    /// The password was another one: it stays counted.
    pub(crate) fn failed(mut self) {
        self.open = None;
    }

    /// Nobody could say whether the password was right.
    pub(crate) async fn take_back(mut self) {
        if let Some(counting) = self.open.take() {
            take_back(&self.counters, counting).await;
        }
    }

    /// It succeeded: the account's failures from this address are forgotten, and elsewhere it was none.
    pub(crate) async fn forgive(mut self) -> Result<()> {
        self.open = None;
        let [pair, account, address] = &self.counters;
        try_join(pair.reset(), try_join(take_one_back(account), take_one_back(address))).await.map(drop)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Without a runtime the process ends.
        if let (Some(counting), Ok(runtime)) = (self.open.take(), tokio::runtime::Handle::try_current()) {
            let counters = self.counters.clone();
            drop(runtime.spawn(async move { take_back(&counters, counting).await }));
        }
    }
}

/// Goes on when whoever tried has gone, so that it is known afterwards what is to be taken back. Were something taken back that
/// was never counted, who goes again and again would be allowed to guess for ever.
fn count(counters: [Counter; 3]) -> Counting {
    let counting = async move { join_all(counters.iter().map(|counter| counter.add(1))).await }.boxed().shared();
    drop(tokio::spawn(counting.clone()));
    counting
}

/// What cannot be taken back is forgotten when its time is over.
async fn take_back(counters: &[Counter; 3], counting: Counting) {
    let counted = counting.await;
    let of_those = counters.iter().zip(&counted).filter(|(_, answer)| may_count(answer));
    let _taken_back = join_all(of_those.map(|(counter, _)| take_one_back(counter))).await;
}

/// Whether it may have been added: an answer that was lost is the fault of nobody who guesses.
fn may_count(answer: &Result<i64>) -> bool {
    answer.as_ref().map_or_else(|error| error.kind() == ErrorKind::OutcomeUnknown, |_| true)
}

/// Below nothing there would be room for more guesses than are allowed: what is taken back may have been forgotten meanwhile.
async fn take_one_back(counter: &Counter) -> Result<()> {
    if counter.add(-1).await? < 0 {
        counter.add(1).await?;
    }
    Ok(())
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use statehouse::coord::{LayeredSignals, MemorySignals};
    use statehouse::core::layer::Layer;
    use statehouse::{Config, Error, Services};
    use tokio::sync::Semaphore;

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

    /// Counters that are in trouble: what comes of each call in turn, and of all that follow nothing.
    #[derive(Debug)]
    struct Trouble {
        calls: AtomicUsize,
        comes: [Comes; 3],
        /// Calls that may be made.
        permits: Semaphore,
    }

    #[derive(Clone, Copy, Debug)]
    enum Comes {
        Counted,
        Refused,
        Lost,
    }

    impl Trouble {
        fn new(comes: [Comes; 3], permits: usize) -> Self {
            Self { calls: AtomicUsize::new(0), comes, permits: Semaphore::new(permits) }
        }
    }

    #[derive(Debug)]
    struct In(Arc<Trouble>);

    impl Layer for In {
        async fn around<'a, T: Send + 'a>(
            &'a self,
            _operation: &'static str,
            work: impl Future<Output = Result<T>> + Send + 'a,
        ) -> Result<T> {
            let call = self.0.calls.fetch_add(1, Ordering::SeqCst);
            self.0.permits.acquire().await.expect("never closed").forget();
            match self.0.comes.get(call) {
                Some(Comes::Refused) => Err(Error::new(ErrorKind::Unavailable, "refused")),
                Some(Comes::Lost) => {
                    work.await?;
                    Err(Error::new(ErrorKind::OutcomeUnknown, "the answer was lost"))
                }
                Some(Comes::Counted) | None => work.await,
            }
        }
    }

    /// An attempt on counters in trouble, and the same without.
    async fn in_trouble(trouble: &Arc<Trouble>) -> (Attempt, Attempt) {
        let coord = Services::open(Config::in_memory()).await.unwrap().coordination();
        let signals = Arc::new(MemorySignals::new());
        let faulty = LayeredSignals::new(Arc::clone(&signals) as _, In(Arc::clone(trouble)));
        let of = |coord: &Coordination| Attempt::of(coord, "ada", "10.0.0.1".parse().unwrap());
        (of(&coord.clone().with_signals(Arc::new(faulty))), of(&coord.with_signals(signals)))
    }

    async fn counts(attempt: &Attempt) -> Vec<i64> {
        join_all(attempt.counters.iter().map(Counter::get)).await.into_iter().collect::<Result<_>>().unwrap()
    }

    /// Waits until all that was called has ended and nothing is counted.
    async fn nothing_counts(attempt: &Attempt, trouble: &Trouble, calls: usize) {
        let nothing = async {
            while trouble.calls.load(Ordering::SeqCst) < calls || counts(attempt).await != [0; 3] {
                tokio::task::yield_now().await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(30), nothing).await;
        assert!(done.is_ok(), "{trouble:?}: {:?}", counts(attempt).await);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(counts(attempt).await, [0; 3], "{trouble:?}");
    }

    #[tokio::test]
    async fn what_the_counters_refuse_or_lose_was_no_guess() {
        use Comes::{Counted, Lost, Refused};
        // Three are added, those that may count are taken back, and nothing else.
        for (comes, calls) in [
            ([Counted, Refused, Counted], 5),
            ([Refused, Counted, Lost], 5),
            ([Lost, Counted, Counted], 6),
            ([Refused, Refused, Refused], 3),
        ] {
            let trouble = Arc::new(Trouble::new(comes, 1000));
            let (mut tried, same) = in_trouble(&trouble).await;
            tried.count().await.unwrap_err();
            drop(tried);
            nothing_counts(&same, &trouble, calls).await;
            assert_eq!(trouble.calls.load(Ordering::SeqCst), calls, "{comes:?}");
        }
    }

    #[tokio::test]
    async fn who_goes_while_it_is_counted_has_not_guessed_and_gains_no_guess() {
        for made in 0..3 {
            let trouble = Arc::new(Trouble::new([Comes::Counted; 3], made));
            let (mut tried, same) = in_trouble(&trouble).await;
            assert!(tried.count().now_or_never().is_none(), "it waits");
            while counts(&same).await.into_iter().sum::<i64>() < i64::try_from(made).unwrap() {
                tokio::task::yield_now().await;
            }
            drop(tried);
            trouble.permits.add_permits(1000);
            nothing_counts(&same, &trouble, 6).await;
        }
    }

    #[tokio::test]
    async fn what_was_forgotten_meanwhile_leaves_no_room_for_more_guesses() {
        for succeeds in [false, true] {
            let trouble = Arc::new(Trouble::new([Comes::Counted; 3], 1000));
            let (mut tried, mut same) = in_trouble(&trouble).await;
            assert_eq!(tried.count().await.unwrap(), None);
            same.count().await.unwrap();
            for counter in &same.counters {
                counter.reset().await.unwrap();
            }
            if succeeds {
                tried.forgive().await.unwrap();
            } else {
                tried.take_back().await;
            }
            assert_eq!(counts(&same).await, [0; 3], "succeeds: {succeeds}");
            same.failed();
        }
    }
}
