//! A process that stores files with their rows is killed between every two steps; behind the sweep each row has its file, and each
//! file its row.
//!
//! The table has a row for each file, by the stage that the file was, and the sweep adds one without a name for a stage that has
//! none: so a transaction that comes after the sweep's word finds it, and fails.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, AssertSqlSafe};
use statehouse::Namespace;
use statehouse::files::{CommitOutcome, Decision, Files, StageId, Swept};
use statehouse_core::ServiceUrl;
use statehouse_core::conformance::rounds;
use statehouse_testkit::{PostgresServer, S3Server, Speaker, clock_off};

const FILES: &str = "STATEHOUSE_TEST_STAGED_FILES";
const ROWS: &str = "STATEHOUSE_TEST_STAGED_ROWS";
const TABLE: &str = "STATEHOUSE_TEST_STAGED_TABLE";
const TASK: &str = "STATEHOUSE_TEST_STAGED_TASK";

/// Where the process stops to be killed.
const STEPS: [&str; 6] = ["uploading", "staged", "inserted", "transacted", "committed", "discarding"];

/// Longer than any transaction here takes.
const GRACE: Duration = Duration::from_secs(60);

/// How long the process may be silent, and any statement of it take.
const SAID_WITHIN: Duration = Duration::from_secs(180);

/// What the process works with, and so does who looks at it afterwards.
struct Place {
    files: Files,
    pool: AnyPool,
    table: String,
    urls: [String; 2],
    /// The step that it stops at.
    stop: Option<String>,
}

impl Place {
    async fn open(files: &str, rows: &str, table: &str) -> Self {
        sqlx::any::install_default_drivers();
        let namespace = Namespace::new(format!("staged.{table}")).unwrap();
        let url = ServiceUrl::parse(FILES, files).unwrap();
        let pool = AnyPoolOptions::new().max_connections(4).connect(rows).await.unwrap();
        let store = statehouse::files::open(url, &namespace).await.unwrap();
        Self { files: store, pool, table: table.to_owned(), urls: [files.to_owned(), rows.to_owned()], stop: None }
    }

    fn sql(&self, statement: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(statement.replace("TABLE_OF_FILES", &self.table))
    }

    async fn create(&self) {
        let statement = "CREATE TABLE TABLE_OF_FILES (stage TEXT PRIMARY KEY, name TEXT)";
        sqlx::query(self.sql(statement)).execute(&self.pool).await.unwrap();
    }

    /// One file with its row, as an application stores it. None if the sweep was faster.
    async fn store(&self, name: &str) -> Option<()> {
        let begin = futures_util::stream::iter([Ok::<_, std::io::Error>(vec![7_u8; 9 << 20]), Ok(name.into())]);
        let stopping = futures_util::stream::once(self.stop("uploading")).map(|()| Ok("!".into()));
        let staged = self.files.put_stream(name, begin.chain(stopping)).if_absent().stage().await.unwrap();
        self.stop("staged").await;
        let mut transaction = self.pool.begin().await.unwrap();
        let insert = "INSERT INTO TABLE_OF_FILES (stage, name) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let insert = sqlx::query(self.sql(insert)).bind(staged.id().to_string()).bind(name.to_owned());
        let inserted = insert.execute(&mut *transaction).await.unwrap().rows_affected();
        self.stop("inserted").await;
        transaction.commit().await.unwrap();
        if inserted == 0 {
            self.stop("discarding").await;
            let _gone = staged.discard().await.unwrap();
            return None;
        }
        self.stop("transacted").await;
        let outcome = staged.commit().await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{name} has its row: {outcome:?}");
        self.stop("committed").await;
        Some(())
    }

    /// Waits to be killed, if it is to be here.
    async fn stop(&self, step: &str) {
        let Some(at) = &self.stop else { return };
        if step == "staged" && at == "discarding" {
            for stage in self.files.store().stages_with(Default::default()).await.unwrap() {
                self.decide(stage.id).await.unwrap();
            }
        }
        if step == at {
            say(&format!("at {at}"));
            std::future::pending::<()>().await;
        }
    }

    /// What the database says of a stage, for ever.
    async fn decide(&self, stage: StageId) -> statehouse::Result<Decision> {
        let insert = "INSERT INTO TABLE_OF_FILES (stage, name) VALUES ($1, NULL) ON CONFLICT DO NOTHING";
        sqlx::query(self.sql(insert)).bind(stage.to_string()).execute(&self.pool).await.unwrap();
        let select = "SELECT name FROM TABLE_OF_FILES WHERE stage = $1 AND name IS NOT NULL";
        let row: Option<(String,)> =
            sqlx::query_as(self.sql(select)).bind(stage.to_string()).fetch_optional(&self.pool).await.unwrap();
        Ok(row.map_or(Decision::Discard, |_| Decision::Commit))
    }

    async fn sweep(&self, grace: Duration, uploads: Duration) -> Swept {
        let sweep = self.files.sweep().grace(grace).uploads_after(uploads);
        sweep.decide(|_, stage| self.decide(stage)).await.unwrap()
    }

    async fn rows(&self) -> BTreeSet<String> {
        let select = self.sql("SELECT name FROM TABLE_OF_FILES WHERE name IS NOT NULL");
        let rows: Vec<(String,)> = sqlx::query_as(select).fetch_all(&self.pool).await.unwrap();
        rows.into_iter().map(|(name,)| name).collect()
    }

    /// Sweeps, and looks at every row and file.
    async fn check(&self) -> BTreeSet<String> {
        // A server may be busy with a part of the dead for a while, and refuse to let go of it.
        let begun = Instant::now();
        let sweep = || self.files.sweep().grace(Duration::ZERO).uploads_after(Duration::ZERO);
        while let Err(error) = sweep().decide(|_, stage| self.decide(stage)).await {
            assert!(begun.elapsed() < Duration::from_secs(30), "{error:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let rows = self.rows().await;
        let entries: Vec<_> = self.files.list("").stream().try_collect().await.unwrap();
        let files: BTreeSet<_> = entries.iter().map(|entry| self.files.name(&entry.key).unwrap().to_owned()).collect();
        assert_eq!(rows, files, "rows and files");
        for name in &files {
            let content = self.files.get(name).await.unwrap().verify_sha256().bytes().await.unwrap();
            assert!(content.ends_with(format!("{name}!").as_bytes()) && content.len() > 9 << 20, "{name} is whole");
        }
        assert_eq!(self.sweep(Duration::ZERO, Duration::ZERO).await, Swept::default(), "nothing is left");
        rows
    }

    async fn clear(&self) {
        for name in self.rows().await {
            self.files.delete(&name).await.unwrap();
        }
        sqlx::query(self.sql("DELETE FROM TABLE_OF_FILES")).execute(&self.pool).await.unwrap();
    }

    fn start(&self, task: &str, environment: &[(&'static str, OsString)]) -> Speaker {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "staged::the_process_that_is_killed", "--nocapture"])
            .envs(environment.iter().cloned())
            .envs([(FILES, &self.urls[0]), (ROWS, &self.urls[1]), (TABLE, &self.table)])
            .env(TASK, task);
        Speaker::start(&mut command).unwrap()
    }
}

fn say(text: &str) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "\n{text}").unwrap();
    stdout.flush().unwrap();
}

/// Not a test of its own: the process that the others start and kill. Started by hand it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Ok(task) = std::env::var(TASK) else { return };
    Speaker::end_with_parent();
    let [files, rows, table] = [FILES, ROWS, TABLE].map(|name| std::env::var(name).unwrap());
    let mut place = Place::open(&files, &rows, &table).await;
    match task.split_once(' ') {
        Some(("stop", at)) => {
            place.stop = Some(at.to_owned());
            place.store("a").await;
        }
        Some(("work", worker)) => {
            for n in 0.. {
                let name = format!("{worker}-{n}");
                let done = place.store(&name).await;
                say(&format!("{} {name}", done.map_or("refused", |()| "stored")));
            }
        }
        Some(("sweep", seconds)) => {
            let swept = place.sweep(Duration::from_secs(seconds.parse().unwrap()), Duration::from_secs(3600)).await;
            say(&format!("swept {} {}", swept.committed, swept.discarded));
        }
        _ => panic!("{task}"),
    }
}

/// What a sweep says that runs to its end.
fn swept(mut sweep: Speaker) -> String {
    let said: Vec<_> = lines(&mut sweep).collect();
    assert!(sweep.wait(SAID_WITHIN).unwrap().success());
    said.join(", ")
}

/// The lines that a process says, until it ends or is killed.
fn lines(child: &mut Speaker) -> impl Iterator<Item = String> {
    let said = std::iter::from_fn(|| child.line(SAID_WITHIN).unwrap_or_else(|error| panic!("{error}")));
    said.filter(|line| ["at ", "stored ", "refused ", "swept "].iter().any(|word| line.starts_with(word)))
}

fn nonce() -> String {
    format!("t{}", std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos())
}

/// A disk beside SQLite, and S3 beside PostgreSQL.
async fn places(folder: &std::path::Path, s3: &S3Server) -> [Place; 2] {
    let disk = format!("file:{}", folder.join("files").display());
    let sqlite = format!("sqlite://{}?mode=rwc", folder.join("rows.db").display());
    let (key, secret, bucket) = (s3.access_key(), s3.secret_key(), s3.bucket());
    let (endpoint, region) = (s3.endpoint(), s3.region());
    let bucket = format!("s3://{key}:{secret}@{bucket}?endpoint={endpoint}&region={region}&allow_http=true");
    let patience = SAID_WITHIN.as_millis();
    let postgres = format!("{}?options=-c%20statement_timeout%3D{patience}", PostgresServer::shared().await.url());
    let places = [Place::open(&disk, &sqlite, &nonce()).await, Place::open(&bucket, &postgres, &nonce()).await];
    for place in &places {
        place.create().await;
    }
    places
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_and_its_file_agree_whenever_the_process_is_killed() {
    let (folder, s3) = (tempfile::tempdir().unwrap(), S3Server::start().await);
    for place in places(folder.path(), &s3).await {
        for round in 0..rounds(6, 200) {
            let step = STEPS[round % STEPS.len()];
            let mut child = place.start(&format!("stop {step}"), &[]);
            assert_eq!(lines(&mut child).next().as_deref(), Some(&*format!("at {step}")));
            child.kill().unwrap();
            let has_row = matches!(step, "transacted" | "committed");
            assert_eq!(place.check().await.len(), usize::from(has_row), "killed when it was {step}");
            place.clear().await;
        }
        // And at any time: what was acknowledged is there.
        for round in 0..rounds(2, 40) {
            let mut child = place.start("work w", &[]);
            let name_of = |line: String| line.strip_prefix("stored ").map(ToOwned::to_owned);
            let mut stored: BTreeSet<_> = lines(&mut child).filter_map(name_of).take(2).collect();
            std::thread::sleep(Duration::from_millis(17 * round as u64 % 300));
            child.kill().unwrap();
            stored.extend(lines(&mut child).filter_map(name_of));
            let there = place.check().await;
            assert!(there.is_superset(&stored), "{stored:?} in {there:?}");
            place.clear().await;
        }
    }
}

/// With the grace no transaction meets it; without one, rows and files agree all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_takes_nothing_that_a_transaction_will_commit() {
    let (folder, s3) = (tempfile::tempdir().unwrap(), S3Server::start().await);
    for place in places(folder.path(), &s3).await {
        for grace in [GRACE, Duration::ZERO] {
            let mut child = place.start("work w", &[]);
            // From when on it works, however long its start takes.
            let first = lines(&mut child).next();
            let end = Instant::now() + Duration::from_secs(rounds(4, 30) as u64);
            let mut swept = 0;
            while Instant::now() < end {
                let now = place.sweep(grace, Duration::from_secs(3600)).await;
                swept += now.committed + now.discarded;
            }
            child.kill().unwrap();
            let said: Vec<_> = first.into_iter().chain(lines(&mut child)).collect();
            let (stored, refused): (Vec<_>, Vec<_>) = said.iter().partition(|line| line.starts_with("stored "));
            assert!(!said.is_empty());
            if grace == GRACE {
                assert!(refused.is_empty() && swept == 0, "{refused:?}, {swept} swept");
            }
            let there = place.check().await;
            assert!(stored.iter().all(|line| there.contains(&line["stored ".len()..])), "{stored:?} in {there:?}");
            place.clear().await;
        }
    }
}

/// A sweep and an upload on hosts whose clocks are wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ages_are_by_the_stores_clock_whatever_that_of_a_replica_says() {
    let (folder, s3) = (tempfile::tempdir().unwrap(), S3Server::start().await);
    let places = places(folder.path(), &s3).await;
    // Servers refuse what is signed more than a quarter of an hour ago, or ahead.
    for (place, off) in places.iter().zip([15 * 60, 14 * 60]) {
        for off in [off, -off] {
            let skewed = tempfile::tempdir().unwrap();
            let clock = clock_off(off, skewed.path()).unwrap();
            let own = place.files.put("b", "own").stage().await.unwrap();
            let mut child = place.start("stop staged", &clock);
            assert_eq!(lines(&mut child).next().as_deref(), Some("at staged"));
            assert_eq!(swept(place.start("sweep 60", &clock)), "swept 0 0", "none is a minute old: {off}");
            assert_eq!(place.sweep(GRACE, Duration::from_secs(3600)).await, Swept::default());
            assert_eq!(swept(place.start("sweep 0", &clock)), "swept 0 2", "{off}");
            assert_eq!(own.commit().await.unwrap(), CommitOutcome::Gone);
            child.kill().unwrap();
            place.clear().await;
        }
    }
}
