//! One server of a cluster that holds writes back, while the others answer.

use statehouse_core::{Namespace, Result};
use statehouse_session::{NewSession, RedisSessionStore, SessionKey, SessionStoreExt as _, Token, Touched};
use statehouse_testkit::RedisCluster;

use super::*;

/// Which a cluster of the testkit has.
const PRIMARIES: usize = 3;

/// Of one request: long after it must be known that none is answered.
const TIMEOUT: Duration = Duration::from_secs(10);

struct Subject {
    cluster: RedisCluster,
    store: Arc<RedisSessionStore>,
    namespace: Namespace,
}

impl Subject {
    async fn start() -> Self {
        let (cluster, namespace) = (RedisCluster::start().await, random_namespace());
        let mut url = ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", &cluster.url()).unwrap();
        let config = RedisConfig::from_url(&mut url).unwrap().with_timeout(TIMEOUT).with_deadline(2 * TIMEOUT);
        let redis = RedisClient::open(config).await.unwrap();
        let store = Arc::new(RedisSessionStore::new(redis, &namespace).unwrap());
        Self { cluster, store, namespace }
    }

    fn record(&self, key: &SessionKey) -> String {
        format!("{}:session:records:{key}", self.namespace)
    }

    async fn primary_of(&self, key: &SessionKey) -> &RedisServer {
        self.cluster.primary_of(&self.record(key)).await.unwrap().expect("a primary")
    }

    /// A key of which this server is the primary.
    async fn key_on(&self, server: &RedisServer) -> SessionKey {
        loop {
            let key = Token::generate().unwrap().key();
            if self.primary_of(&key).await.address() == server.address() {
                return key;
            }
        }
    }

    /// A session on each primary.
    async fn one_on_each(&self) -> Vec<SessionKey> {
        let (mut keys, mut found) = (Vec::new(), Vec::new());
        while keys.len() < PRIMARIES {
            let (token, hour) = (Token::generate().unwrap(), Duration::from_secs(3_600));
            let (key, primary) = (token.key(), self.primary_of(&token.key()).await.address());
            if !found.contains(&primary) {
                self.store.create(&key, &NewSession::new(token.verifier_hash(), hour, hour)).await.unwrap();
                found.push(primary);
                keys.push(key);
            }
        }
        keys
    }

    async fn touch(&self, key: &SessionKey) -> (Result<Touched>, Duration) {
        let asked = Instant::now();
        (self.store.touch(key).await, asked.elapsed())
    }

    /// Touches until one is refused at once. Each begins when those before are late: others say nothing.
    async fn learn(&self, key: &SessionKey) {
        let (begun, mut waiting) = (Instant::now(), JoinSet::new());
        loop {
            let (store, key) = (Arc::clone(&self.store), *key);
            waiting.spawn(async move {
                let asked = Instant::now();
                (store.touch(&key).await, asked.elapsed())
            });
            tokio::time::sleep(LIMIT).await;
            while let Some(done) = waiting.try_join_next() {
                let (touched, lasted) = done.unwrap();
                if touched.is_err() && lasted < LIMIT / 4 {
                    return;
                }
            }
            assert!(begun.elapsed() < KNOWN_BY, "a server that holds writes back is waited for for ever");
        }
    }

    /// Gives the slot of a key that is not there to another primary.
    async fn move_slot(&self, key: &SessionKey, to: &RedisServer) {
        let (from, record) = (self.primary_of(key).await, self.record(key));
        let slot = from.command(&["CLUSTER", "KEYSLOT", &record]).await.unwrap().integer().unwrap().to_string();
        let id =
            async |node: &RedisServer| node.command(&["CLUSTER", "MYID"]).await.unwrap().text().unwrap().to_owned();
        let (from_id, to_id) = (id(from).await, id(to).await);
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await.unwrap();
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await.unwrap();
        for node in [to, from] {
            node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await.unwrap();
        }
    }
}

/// Each server is known for itself, whether or not others are asked meanwhile.
async fn a_node_holds_writes_back(others_are_asked: bool) {
    let subject = Subject::start().await;
    let keys = subject.one_on_each().await;
    let [sick, well @ ..] = &keys[..] else { panic!("no nodes") };
    let server = subject.primary_of(sick).await;
    server.command(&["CLIENT", "PAUSE", "120000", "WRITE"]).await.unwrap();
    let ask = async {
        loop {
            for key in well.iter().filter(|_| others_are_asked) {
                assert_eq!(subject.touch(key).await.0.unwrap(), Touched::Slid);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = subject.learn(sick) => {}
        () = ask => {}
    }
    let mut lasted = Vec::new();
    for _ in 0..ENOUGH {
        let (refused, long) = subject.touch(sick).await;
        assert!(refused.is_err());
        lasted.push(long);
        for key in well {
            assert_eq!(subject.touch(key).await.0.expect("another node's"), Touched::Slid);
        }
    }
    lasted.sort_unstable();
    assert!(lasted[ENOUGH * 9 / 10] < LIMIT / 4, "{lasted:?}");
    server.command(&["CLIENT", "UNPAUSE"]).await.unwrap();
    let begun = Instant::now();
    while subject.touch(sick).await.0.is_err() {
        assert!(begun.elapsed() < KNOWN_BY, "writes are not sent again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_that_holds_writes_back_is_waited_for_by_nobody_though_others_answer() {
    a_node_holds_writes_back(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_that_holds_writes_back_keeps_nobody_from_the_others() {
    a_node_holds_writes_back(false).await;
}

/// To move slots off a server is what is done with one that is ill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_moved_off_a_node_that_holds_writes_back_says_nothing_of_that_node() {
    let subject = Subject::start().await;
    let keys = subject.one_on_each().await;
    let (sick, to) = (subject.primary_of(&keys[0]).await, subject.primary_of(&keys[1]).await);
    let moved = subject.key_on(sick).await;
    sick.command(&["CLIENT", "PAUSE", "120000", "WRITE"]).await.unwrap();
    // From then on it is asked beside this key whether it answers.
    subject.learn(&moved).await;
    subject.move_slot(&moved, to).await;
    let begun = Instant::now();
    while !matches!(subject.touch(&moved).await.0, Ok(Touched::Gone)) {
        assert!(begun.elapsed() < KNOWN_BY, "nobody follows the slot");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It is asked each half second.
    let begun = Instant::now();
    while begun.elapsed() < 3 * LIMIT {
        let (refused, long) = subject.touch(&keys[0]).await;
        assert!(refused.is_err() && long < 2 * LIMIT, "waited for {long:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sick.command(&["CLIENT", "UNPAUSE"]).await.unwrap();
    let begun = Instant::now();
    while subject.touch(&keys[0]).await.0.is_err() {
        assert!(begun.elapsed() < KNOWN_BY, "writes are not sent again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
