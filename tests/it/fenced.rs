//! A holder that is stopped for longer than its lease: what it still writes is refused before its successor has written.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use statehouse::coord::Lock;
use statehouse::core::{Fence, Guarded};
use statehouse::files::Files;
use statehouse::search::{Document, Index};
use statehouse::session::{
    Attribute, AttributeName, Authority, Delta, NewSession, SaveOptions, Saved, SessionConfig, SessionKey,
    SessionStoreExt as _, Sessions, Token,
};
use statehouse::{Config, Error, ErrorKind, Services};
use statehouse_testkit::{RedisSentinel, RedisServer, S3Server};
use tokio::time::sleep;

const LONG: Duration = Duration::from_secs(120);
const LEASE: Duration = Duration::from_millis(400);

fn namespace() -> String {
    let id = statehouse::coord::WriteId::generate().unwrap();
    id.as_bytes().iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// One thing that a lock guards, and how it is written and read.
trait Thing {
    async fn write(&self, text: &str, fence: &Fence) -> Result<(), Error>;
    async fn read(&self) -> Option<String>;
}

impl Thing for Files {
    async fn write(&self, text: &str, fence: &Fence) -> Result<(), Error> {
        self.put("today", text.to_owned()).fenced(fence).await.map(drop)
    }

    async fn read(&self) -> Option<String> {
        let found = self.get("today").bytes().await.ok()?;
        Some(String::from_utf8(found.to_vec()).unwrap())
    }
}

impl Thing for statehouse::cache::TypedCache<String> {
    async fn write(&self, text: &str, fence: &Fence) -> Result<(), Error> {
        self.set("today", text.to_owned()).fenced(fence).await.map(drop)
    }

    async fn read(&self) -> Option<String> {
        Some(String::clone(&*self.get("today").await.unwrap()?))
    }
}

impl Thing for statehouse::coord::SharedState<String> {
    async fn write(&self, text: &str, fence: &Fence) -> Result<(), Error> {
        self.fenced(fence).update("today", |_| text.to_owned()).await.map(drop)
    }

    async fn read(&self) -> Option<String> {
        Some(self.get("today").await.unwrap()?.value)
    }
}

#[derive(Document)]
struct Export {
    #[document(id)]
    day: String,
    #[document(text)]
    text: String,
}

impl Thing for Index<Export> {
    async fn write(&self, text: &str, fence: &Fence) -> Result<(), Error> {
        self.upsert(Export { day: "today".into(), text: text.into() }).fenced(fence).await
    }

    async fn read(&self) -> Option<String> {
        Some(self.get("today").await.unwrap()?.text)
    }
}

/// A session that the application itself writes.
struct One(Arc<dyn statehouse::session::SessionStore>, SessionKey);

impl One {
    async fn of(services: &Services) -> Self {
        let (store, token) = (services.sessions(), Token::generate().unwrap());
        store.create(&token.key(), &NewSession::new(token.verifier_hash(), LONG, LONG)).await.unwrap();
        Self(store, token.key())
    }
}

fn attribute() -> AttributeName {
    AttributeName::new("today").unwrap()
}

impl Thing for One {
    async fn write(&self, text: &str, fence: &Fence) -> Result<(), Error> {
        let base = self.0.load(&self.1).await?.found().unwrap();
        let delta = Delta::new().with_set(attribute(), Attribute::encode(&text).unwrap());
        let options = SaveOptions::default().with_fence(fence);
        let saved = self.0.save_with(&base, Authority::Application, &delta, options).await?;
        assert!(matches!(saved, Saved::Applied(_)), "{saved:?}");
        Ok(())
    }

    async fn read(&self) -> Option<String> {
        let found = self.0.load(&self.1).await.unwrap().found().unwrap();
        found.record().attributes().get(&attribute()).map(|value| value.decode().unwrap())
    }
}

/// The fence of a holder that is stopped: neither its renewals nor anything else of it goes on.
async fn stopped(lock: Lock) -> Fence {
    let process = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let guard = runtime.block_on(lock.lease(LEASE).wait(LONG).into_future()).unwrap();
        let fence = guard.fence().clone();
        std::mem::forget(guard);
        runtime.shutdown_background();
        fence
    };
    tokio::task::spawn_blocking(process).await.unwrap()
}

async fn is_refused(thing: &impl Thing, fence: &Fence, is: &str) {
    let late = thing.write("late", fence).await.unwrap_err();
    assert!(late.kind() == ErrorKind::Fenced && !late.is_retryable(), "{late:?}");
    assert_eq!(thing.read().await.as_deref(), Some(is));
}

/// Stops a holder for twice its lease.
async fn refuses_who_was_stopped(services: &Services, guarded: &(impl Guarded + Clone), thing: &impl Thing) {
    let coord = services.coordination();
    let lock = || coord.lock("export").guards(guarded);
    // Opens what is not open yet, before anybody's clock counts.
    lock().wait(LONG).await.unwrap().release().await.unwrap();
    let stale = stopped(lock()).await;
    thing.write("of the first", &stale).await.unwrap();
    sleep(2 * LEASE).await;
    let guard = lock().lease(LONG).wait(LONG).await.unwrap();
    assert!(guard.token() > stale.token());
    is_refused(thing, &stale, "of the first").await;
    thing.write("of the second", guard.fence()).await.unwrap();
    is_refused(thing, &stale, "of the second").await;
    guard.release().await.unwrap();
}

async fn all_refuse(config: Config) {
    let services = Services::open(config.with_namespace(namespace())).await.unwrap();
    let cache = services.cache::<String>("exports").time_to_live(LONG).open().unwrap();
    let files = services.files("exports").unwrap();
    let state = services.coordination().state::<String>("exports");
    let index = services.search::<Export>("exports").open().await.unwrap();
    let sessions = Sessions::new(services.sessions(), SessionConfig::default());
    refuses_who_was_stopped(&services, &cache, &cache).await;
    refuses_who_was_stopped(&services, &files, &files).await;
    refuses_who_was_stopped(&services, &state, &state).await;
    refuses_who_was_stopped(&services, &index, &index).await;
    refuses_who_was_stopped(&services, &sessions, &One::of(&services).await).await;
    services.shutdown().await.unwrap();
}

async fn durable_redis() -> RedisServer {
    RedisServer::builder().arg("--appendonly", "yes").start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_on_a_disk_and_in_redis_a_holder_that_was_stopped_is_refused_before_its_successor_has_written() {
    all_refuse(Config::in_memory()).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("file://{}", folder.path().join(name).display());
    let on_disk = Config::in_memory().with_files(at("files")).with_sessions(at("sessions"));
    all_refuse(on_disk.with_search(format!("tantivy://{}", folder.path().join("search").display()))).await;
    let server = durable_redis().await;
    let redis = server.url();
    let in_redis = Config::in_memory().with_cache(redis.as_str()).with_sessions(redis.as_str());
    all_refuse(in_redis.with_coordination(redis.as_str())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_s3_a_holder_that_was_stopped_is_refused_before_its_successor_has_written() {
    let (server, redis) = (S3Server::shared().await, durable_redis().await);
    let url = crate::s3_url(server, server.secret_key(), server.bucket());
    let config = Config::in_memory().with_namespace(namespace()).with_files(url).with_coordination(redis.url());
    let services = Services::open(config).await.unwrap();
    let files = services.files("exports").unwrap();
    refuses_who_was_stopped(&services, &files, &files).await;
}

/// What is lost with the server's data is raised again, and higher.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_still_rise_after_all_of_redis_was_flushed() {
    let server = durable_redis().await;
    let url = server.url();
    let config =
        Config::in_memory().with_namespace(namespace()).with_cache(url.as_str()).with_coordination(url.as_str());
    let services = Services::open(config).await.unwrap();
    let cache = services.cache::<String>("exports").time_to_live(LONG).open().unwrap();
    let mut stale = Vec::new();
    for round in 0..3 {
        let lock = services.coordination().lock("export").guards(&cache);
        let guard = lock.lease(LONG).wait(LONG).await.unwrap();
        assert!(stale.iter().all(|before: &Fence| before.token() < guard.token()), "{round}");
        cache.write("of the last", guard.fence()).await.unwrap();
        for fence in &stale {
            is_refused(&cache, fence, "of the last").await;
        }
        stale.push(guard.fence().clone());
        server.command(&["FLUSHALL"]).await.unwrap();
        // Its record is gone: there is nothing to be given back.
        let _ = guard.release().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_still_rise_after_a_failover() {
    let group = RedisSentinel::start_with(RedisServer::builder().arg("--appendonly", "yes")).await;
    let url = group.url();
    let config =
        Config::in_memory().with_namespace(namespace()).with_cache(url.as_str()).with_coordination(url.as_str());
    let services = Services::open(config).await.unwrap();
    let cache = services.cache::<String>("exports").time_to_live(LONG).open().unwrap();
    let lock = || services.coordination().lock("export").guards(&cache);
    lock().wait(LONG).await.unwrap().release().await.unwrap();
    let stale = stopped(lock()).await;
    group.primary().await.unwrap().unwrap().kill();
    // Whatever the new primary knows of it.
    let begun = std::time::Instant::now();
    let guard = loop {
        match lock().lease(LONG).wait(LONG).await {
            Ok(guard) => break guard,
            Err(error) => assert!(begun.elapsed() < LONG, "{error}"),
        }
        sleep(Duration::from_millis(100)).await;
    };
    assert!(guard.token() > stale.token());
    let late = cache.write("late", &stale).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late:?}");
    cache.write("of the second", guard.fence()).await.unwrap();
}

const FOLDER: &str = "STATEHOUSE_TEST_FENCED_FOLDER";
const REDIS: &str = "STATEHOUSE_TEST_FENCED_REDIS";
const NAMESPACE: &str = "STATEHOUSE_TEST_FENCED_NAMESPACE";

async fn replica(folder: &str, redis: &str, namespace: &str) -> (Services, Files) {
    let config = Config::in_memory().with_namespace(namespace).with_files(format!("file://{folder}/files"));
    let services = Services::open(config.with_coordination(redis)).await.unwrap();
    let files = services.files("exports").unwrap();
    (services, files)
}

/// Not a test of its own: the process that the other test starts and stops. Started by hand it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_stopped() {
    let told = [FOLDER, REDIS, NAMESPACE].map(|name| std::env::var(name).unwrap_or_default());
    let [folder, redis, namespace] = &told;
    if folder.is_empty() {
        return;
    }
    let (services, files) = replica(folder, redis, namespace).await;
    let lock = services.coordination().lock("export").guards(&files).lease(Duration::from_secs(1));
    let guard = lock.wait(LONG).await.unwrap();
    files.write("of the first", guard.fence()).await.unwrap();
    writeln!(std::io::stdout(), "\nholds it").unwrap();
    // Not within a write, which would keep the mark.
    while !std::path::Path::new(folder).join("go on").exists() {
        sleep(Duration::from_millis(5)).await;
    }
    let late = files.write("late", guard.fence()).await.map_err(|error| error.kind());
    writeln!(std::io::stdout(), "\nwas answered {late:?}").unwrap();
    guard.lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_for_longer_than_its_lease_writes_nothing_when_it_goes_on() {
    let (folder, redis, namespace) = (tempfile::tempdir().unwrap(), durable_redis().await, namespace());
    let path = folder.path().to_str().unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fenced::the_process_that_is_stopped", "--nocapture"])
        .env(FOLDER, path)
        .env(REDIS, redis.url())
        .env(NAMESPACE, &namespace)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "holds it"));
    let pid = Pid::from_child(&process);
    kill_process(pid, Signal::STOP).unwrap();
    let (services, files) = replica(path, &redis.url(), &namespace).await;
    let guard = services.coordination().lock("export").guards(&files).lease(LONG).wait(LONG).await.unwrap();
    std::fs::write(folder.path().join("go on"), "").unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    let answer = lines.find(|line| line.starts_with("was answered"));
    assert_eq!(answer.as_deref(), Some("was answered Err(Fenced)"));
    assert_eq!(files.read().await.as_deref(), Some("of the first"));
    files.write("of the second", guard.fence()).await.unwrap();
    assert!(process.wait().unwrap().success());
}
