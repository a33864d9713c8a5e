//! What strangers leave behind where coordination lies in files: it counts for its time at least, and leaves the store in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use statehouse_coord::{
    Accepted, CoordKey, CoordStore, CoordStoreExt as _, Coordination, FilesConfig, FilesCoordStore, PutOptions,
    RemoveOutcome, SingleUse,
};
use statehouse_core::layer::Layer;
use statehouse_core::{Clock as _, ManualClock, Namespace, Result};
use statehouse_filestore::{
    FileStore, LayeredFileStore, ListOptions, LocalFileStore, MemoryConfig, MemoryFileStore, Start,
};
use statehouse_testkit::{FaultProxy, S3Server};
use tokio::time::{Instant, sleep, timeout};

use crate::lock::{Skewed, until};
use crate::{open_files_at, random_namespace};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The records of this prefix, expired and removed ones too, as files.
async fn kept(files: &dyn FileStore, namespace: &Namespace, prefix: &str) -> usize {
    let (mut count, mut options) = (0, ListOptions::new(format!(".coordination/{namespace}/{prefix}")));
    loop {
        let page = files.list_with(options.clone()).await.unwrap();
        count += page.entries.len();
        let Some(next) = page.next else { return count };
        options = options.with_start(Start::Token(next));
    }
}

/// Files and records with one clock, which a test moves on.
struct Manual {
    files: Arc<dyn FileStore>,
    namespace: Namespace,
    clock: ManualClock,
}

impl Manual {
    fn new() -> Self {
        let clock = ManualClock::default();
        let files = MemoryFileStore::with_config(MemoryConfig::default().with_clock(clock.clone()));
        Self { files: Arc::new(files), namespace: random_namespace(), clock }
    }

    fn open(&self) -> Arc<FilesCoordStore> {
        self.open_with(Arc::clone(&self.files))
    }

    fn open_with(&self, files: Arc<dyn FileStore>) -> Arc<FilesCoordStore> {
        let config = FilesConfig::default().with_clock(self.clock.clone());
        Arc::new(FilesCoordStore::new(files, &self.namespace, config).unwrap())
    }

    async fn kept(&self, prefix: &str) -> usize {
        kept(&*self.files, &self.namespace, prefix).await
    }
}

fn tokens(store: &Arc<FilesCoordStore>, name: &str, lives: Duration) -> SingleUse {
    Coordination::new(Arc::clone(store) as Arc<dyn CoordStore>).single_use(name, lives)
}

/// Another token, so that a sweep is begun if one is due; and time for it.
async fn remind(store: &Arc<FilesCoordStore>) {
    let token = statehouse_coord::WriteId::generate().unwrap();
    let accepted = tokens(store, "others", HOUR).accept(token.as_bytes()).await.unwrap();
    assert_eq!(accepted, Accepted::First);
    sleep(Duration::from_millis(20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_leave_in_files_leaves_them_after_its_time_and_a_day_and_not_before() {
    let all = Manual::new();
    let store = all.open();
    for token in 0..40 {
        let short = tokens(&store, "links", HOUR).accept(token.to_string()).await.unwrap();
        let long = tokens(&store, "vouchers", 30 * DAY).accept(token.to_string()).await.unwrap();
        assert_eq!((short, long), (Accepted::First, Accepted::First));
    }
    // Of a request that is to be tried again, and of a lock.
    for name in ["idempotency/orders/1", "lock/export"] {
        let key = CoordKey::new(name).unwrap();
        let version = store.put(&key, "1").await.unwrap().stored().unwrap();
        assert_eq!(store.remove(&key, version).await.unwrap(), RemoveOutcome::Removed);
    }
    for _ in 0..=48 {
        remind(&store).await;
        assert_eq!(all.kept("used/links/").await, 40, "{:?}", all.clock);
        assert_eq!(all.kept("idempotency/").await, 1);
        all.clock.advance(HOUR / 2);
    }
    // For whoever has just come it is one that was used before.
    assert_eq!(tokens(&all.open(), "links", HOUR).accept("7").await.unwrap(), Accepted::Before);
    until("what is over has gone", async || {
        remind(&store).await;
        all.clock.advance(HOUR);
        all.kept("used/links/").await == 0 && all.kept("idempotency/").await == 0
    })
    .await;
    assert!(all.clock.elapsed() <= 2 * (DAY + 2 * HOUR), "{:?}", all.clock);
    for _ in 0..20 {
        all.clock.advance(DAY);
        remind(&store).await;
    }
    assert_eq!((all.kept("used/vouchers/").await, all.kept("lock/").await), (40, 1), "theirs is not over");
    assert_eq!(tokens(&all.open(), "vouchers", DAY).accept("7").await.unwrap(), Accepted::Before);
    until("all have gone", async || {
        all.clock.advance(DAY);
        remind(&store).await;
        all.kept("used/vouchers/").await == 0
    })
    .await;
    assert!(all.kept("used/others/").await < 40, "and others as well");
}

/// Somebody writes the record anew, always just before it is removed.
#[derive(Debug)]
struct Rewriting {
    store: Arc<FilesCoordStore>,
    key: CoordKey,
    times: Arc<AtomicU64>,
}

impl Layer for Rewriting {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if operation == "filestore.delete" {
            let put = self.store.put(&self.key, "anew").await?;
            self.times.fetch_add(u64::from(put.stored().is_some()), Ordering::SeqCst);
        }
        work.await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_a_sweep_looks_at_it_is_not_removed() {
    let (all, key, times) = (Manual::new(), CoordKey::new("used/links/7").unwrap(), Arc::new(AtomicU64::new(0)));
    let other = all.open();
    let rewriting = Rewriting { store: Arc::clone(&other), key: key.clone(), times: Arc::clone(&times) };
    let store = all.open_with(Arc::new(LayeredFileStore::new(Arc::clone(&all.files), rewriting)));
    let lives = PutOptions::default().with_time_to_live(HOUR);
    assert!(other.put_with(&key, "1".into(), lives).await.unwrap().stored().is_some());
    sleep(Duration::from_millis(20)).await;
    all.clock.advance(26 * HOUR);
    until("a sweep has come upon it", async || {
        remind(&store).await;
        all.clock.advance(2 * HOUR);
        times.load(Ordering::SeqCst) > 0
    })
    .await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(other.get(&key).await.unwrap().expect("it is there").value, "anew");
}

/// Two replicas whose clocks are half an hour apart sweep one folder all the time: no token is forgotten before its time, and all go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_whose_clocks_differ_sweep_one_folder_at_once_and_forget_nothing_early() {
    let (folder, namespace) = (tempfile::tempdir().unwrap(), random_namespace());
    let mut replicas = Vec::new();
    for minutes in [15, -15] {
        let files = Arc::new(LocalFileStore::open(folder.path()).await.unwrap());
        let config = FilesConfig::default().with_clock(Skewed(minutes));
        let config = config.with_sweeps_every(Duration::from_millis(1)).with_leeway(Duration::from_millis(50));
        replicas.push(Arc::new(FilesCoordStore::new(files, &namespace, config).unwrap()));
    }
    let long = [0, 1].map(|at| tokens(&replicas[at], "vouchers", HOUR));
    for token in 0..20_usize {
        assert_eq!(long[token % 2].accept(token.to_string()).await.unwrap(), Accepted::First);
    }
    let short = [0, 1].map(|at| tokens(&replicas[at], "links", Duration::from_secs(2)));
    for token in 0..60_usize {
        let begun = Instant::now();
        assert_eq!(short[token % 2].accept(token.to_string()).await.unwrap(), Accepted::First);
        let before = token.saturating_sub(3);
        for links in &short {
            let again = links.accept(before.to_string()).await.unwrap();
            // A machine that stood still for as long knows nothing of it.
            assert!(again == Accepted::Before || begun.elapsed() > Duration::from_secs(1), "{token}");
        }
    }
    let files = LocalFileStore::open(folder.path()).await.unwrap();
    until("all have gone", async || {
        for store in &replicas {
            remind(store).await;
        }
        kept(&files, &namespace, "used/links/").await == 0
    })
    .await;
    for token in 0..20_usize {
        assert_eq!(long[1 - token % 2].accept(token.to_string()).await.unwrap(), Accepted::Before);
    }
}

/// However many tokens come in, the lease of a lock whose holder was killed is over when it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_tokens_makes_no_lock_live_longer() {
    let (all, key) = (Manual::new(), CoordKey::new("lock/export").unwrap());
    let (killed, store) = (all.open(), all.open());
    let lives = PutOptions::default().with_time_to_live(HOUR);
    assert!(killed.put_with(&key, "held".into(), lives).await.unwrap().stored().is_some());
    assert!(store.get(&key).await.unwrap().is_some());
    let links = tokens(&store, "links", HOUR);
    for token in 0..16_500 {
        assert_eq!(links.accept(token.to_string()).await.unwrap(), Accepted::First);
    }
    all.clock.advance(HOUR);
    assert!(store.get(&key).await.unwrap().is_none(), "it is over");
}

/// How often each operation was called.
#[derive(Clone, Debug, Default)]
struct Calls(Arc<[AtomicU64; 3]>);

impl Calls {
    const OF: [&str; 3] = ["filestore.list", "filestore.get", "filestore.put"];

    fn taken(&self) -> [u64; 3] {
        [0, 1, 2].map(|at| self.0[at].swap(0, Ordering::SeqCst))
    }
}

impl Layer for Calls {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if let Some(at) = Self::OF.iter().position(|of| *of == operation) {
            self.0[at].fetch_add(1, Ordering::SeqCst);
        }
        work.await
    }
}

/// What is paid for tokens: two calls for each, one for each that comes again, a sweep an hour, and a look at each token as its age doubles. Whoever
/// lists locks pays nothing for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_paid_for_by_those_who_use_them() {
    let (all, calls) = (Manual::new(), Calls::default());
    let open = || all.open_with(Arc::new(LayeredFileStore::new(Arc::clone(&all.files), calls.clone())));
    let store = open();
    remind(&store).await;
    until("the first sweep is over", async || {
        let before = calls.taken();
        sleep(Duration::from_millis(100)).await;
        before == [0; 3]
    })
    .await;
    let links = tokens(&store, "links", 30 * DAY);
    for token in 0..1_500 {
        assert_eq!(links.accept(token.to_string()).await.unwrap(), Accepted::First);
    }
    assert_eq!(calls.taken(), [0, 1_500, 1_500]);
    assert_eq!(links.accept("7").await.unwrap(), Accepted::Before);
    assert_eq!(calls.taken(), [0, 1, 0]);
    let coord = Coordination::new(Arc::clone(&store) as Arc<dyn CoordStore>);
    assert!(coord.locks().await.unwrap().locks.is_empty());
    assert_eq!(calls.taken(), [3, 0, 0]);
    // Another replica finds that it is not due; by the hour it is, two pages of one kind and one of the other.
    let other = open();
    remind(&other).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(calls.taken(), [0, 2, 1], "the token, and when it was swept last");
    all.clock.advance(HOUR);
    remind(&other).await;
    remind(&store).await;
    sleep(Duration::from_millis(500)).await;
    let [lists, gets, puts] = calls.taken();
    // Who finds it due at the same moment tries to say so, too.
    assert!(lists == 3 && gets <= 6 && (4..=5).contains(&puts), "{lists} {gets} {puts}");
    // In thirty days each is read as often as its age doubles, and no more.
    let mut read = 0;
    for _ in 0..30 {
        all.clock.advance(DAY);
        remind(&store).await;
        sleep(Duration::from_millis(100)).await;
        read += calls.taken()[1];
    }
    assert!((5 * 1_500..=6 * 1_500).contains(&read), "{read}");
}

/// Over a network that breaks, too: a sweep that has failed is made up for, by the clock of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_s3_what_is_over_leaves_the_bucket_although_sweeps_fail() {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let endpoint = server.endpoint().replace(server.address(), &proxy.address());
    let files = open_files_at(&server, &endpoint, "&timeout=1s&retries=1").await;
    let namespace = random_namespace();
    let config = FilesConfig::default().with_sweeps_every(Duration::from_millis(1)).with_leeway(Duration::from_secs(3));
    let store = Arc::new(FilesCoordStore::new(Arc::clone(&files), &namespace, config.with_clock(Skewed(15))).unwrap());
    let (links, vouchers) = (tokens(&store, "links", Duration::from_secs(1)), tokens(&store, "vouchers", HOUR));
    for token in 0..8 {
        assert_eq!(links.accept(token.to_string()).await.unwrap(), Accepted::First);
        assert_eq!(vouchers.accept(token.to_string()).await.unwrap(), Accepted::First);
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        // A sweep that is under way is cut off anywhere.
        remind(&store).await;
        proxy.reset_connections();
        sleep(Duration::from_millis(100)).await;
    }
    proxy.cut();
    assert!(links.accept("8").await.is_err());
    proxy.heal();
    timeout(Duration::from_secs(120), async {
        while kept(&*files, &namespace, "used/links/").await > 0 {
            let _ = links.accept("9").await;
            sleep(Duration::from_millis(300)).await;
            if kept(&*files, &namespace, "used/links/").await == 1 {
                break;
            }
        }
    })
    .await
    .expect("they leave the bucket");
    let again = tokens(&store, "vouchers", HOUR);
    for token in 0..8 {
        assert_eq!(again.accept(token.to_string()).await.unwrap(), Accepted::Before);
    }
}
