//! Scripts that are run under a lock.

use statehouse_core::{ErrorKind, Fence, Key, Result, Retry, Version};
use statehouse_redis::redis::cmd;
use statehouse_redis::{
    Idempotence, REFUSE_LATE, REFUSE_STALE, REFUSE_STALE_TO_DELETE, RedisClient, RedisScript, raise,
};
use statehouse_testkit::{RedisCluster, RedisServer};

use crate::{keys, open};

const YES: Idempotence = Idempotence::Idempotent;

fn fence(token: u64) -> Fence {
    Fence::new(Key::new("lock/export").unwrap(), Version::new(token))
}

/// A key and its mark, in one slot.
struct Guarded {
    client: RedisClient,
    key: Vec<u8>,
    mark: Vec<u8>,
}

impl Guarded {
    async fn at(url: &str) -> Self {
        let (client, keys) = (open(url).await.unwrap(), keys());
        Self { client, key: keys.tagged("exports", "last"), mark: keys.tagged("exports", "mark") }
    }

    async fn write(&self, text: &str, token: u64) -> Result<()> {
        let set = RedisScript::new([REFUSE_LATE, REFUSE_STALE, "return redis.call('SET', KEYS[1], ARGV[1])"].concat());
        set.key(&self.key[..]).arg(text).deadline().fence(&self.mark, &fence(token)).run(&self.client, YES).await
    }

    async fn is_refused(&self, token: u64) {
        let error = self.write("late", token).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Fenced && !error.is_retryable(), "{token}: {error:?}");
        let error = raise(&self.mark, &fence(token)).run::<u8>(&self.client, YES).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{token}");
    }

    async fn read(&self, key: &[u8]) -> Option<String> {
        self.client.query(cmd("GET").arg(key), YES).await.unwrap()
    }
}

/// Numbers that Lua tells apart, that it rounds, and the greatest of all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_below_its_mark_is_refused() {
    for url in [RedisServer::shared().await.url(), RedisCluster::shared().await.url()] {
        let guarded = Guarded::at(&url).await;
        let mut before = None;
        for token in
            [1, 9_999_999_999, 10_000_000_000, 1_795_223_382_034_413, 9_007_199_254_740_992, 9_007_199_254_740_993]
        {
            guarded.write("first", token).await.unwrap();
            guarded.write("again", token).await.unwrap();
            assert_eq!(guarded.read(&guarded.mark).await, Some(format!("{token:020}")));
            for below in before.into_iter().chain([token - 1]) {
                guarded.is_refused(below).await;
            }
            assert_eq!(guarded.read(&guarded.key).await.as_deref(), Some("again"));
            before = Some(token);
        }
        assert_eq!(raise(&guarded.mark, &fence(u64::MAX)).run::<u8>(&guarded.client, YES).await.unwrap(), 1);
        guarded.is_refused(u64::MAX - 1).await;
        guarded.write("last", u64::MAX).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_mark_is_as_good_as_lost() {
    let guarded = Guarded::at(&RedisServer::shared().await.url()).await;
    for planted in
        ["", "7", "99999999999999999999x", "9999999999999999999", "-9999999999999999999", "9999999999.999999999"]
    {
        guarded.client.query::<()>(cmd("SET").arg(&guarded.mark).arg(planted), YES).await.unwrap();
        guarded.write("written", 5).await.unwrap();
        guarded.is_refused(4).await;
    }
    guarded.client.query::<()>(cmd("DEL").arg(&guarded.mark), YES).await.unwrap();
    guarded.client.query::<()>(cmd("RPUSH").arg(&guarded.mark).arg("a list"), YES).await.unwrap();
    guarded.write("written", 5).await.unwrap();
    guarded.is_refused(4).await;
}

/// Whoever has the lock now can delete and raise where nothing is stored, and whoever had it before can do neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_raises_marks_and_deletes_under_them() {
    let server = RedisServer::builder().max_memory(64 << 20, "noeviction").start().await;
    let guarded = Guarded::at(&server.url()).await;
    guarded.write("first", 7).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "100kb"]).await.unwrap();
    let error = guarded.write("more", 8).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL), "{error:?}");
    assert_eq!(guarded.read(&guarded.mark).await, Some(format!("{:020}", 7)), "what is not written raises nothing");
    let source = [REFUSE_LATE, REFUSE_STALE_TO_DELETE, "return redis.call('DEL', KEYS[1])"].concat();
    let delete = RedisScript::new(source);
    let delete = async |token| -> Result<u8> {
        delete.key(&guarded.key[..]).fence(&guarded.mark, &fence(token)).deadline().run(&guarded.client, YES).await
    };
    assert_eq!(delete(8).await.unwrap(), 1);
    assert_eq!(delete(7).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(raise(&guarded.mark, &fence(9)).run::<u8>(&guarded.client, YES).await.unwrap(), 1);
    assert_eq!(delete(8).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(guarded.read(&guarded.mark).await, Some(format!("{:020}", 9)));
}
