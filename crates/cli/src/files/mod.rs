//! `statehouse files`: what is done with all files of an application, name by name.

mod place;
mod report;

use std::io::{Write as _, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use self::place::{Below, Store};
use self::report::Report;
use crate::args::Files as Asked;
use crate::outcome::{Failure, Outcome};

pub(crate) async fn administer(asked: Asked) -> Result<Outcome, Failure> {
    match asked {
        Asked::Mirror { from, to, below, remove_others } => {
            mirror([&from, &to], &Below::of_words(&below), remove_others).await
        }
        Asked::Check { url, below } => {
            let (store, below) = (Store::open(url.as_deref(), "URL").await?, Below::of_words(&below));
            let ended = check(&store, &below).await;
            store.close().await?;
            ended
        }
        Asked::Sweep { url } => {
            let store = Store::open(url.as_deref(), "URL").await?;
            let ended = sweep(&store).await;
            store.close().await?;
            ended
        }
    }
}

async fn mirror(urls: [&str; 2], below: &Below, remove_others: bool) -> Result<Outcome, Failure> {
    let (from, to) = (Store::open(Some(urls[0]), "FROM").await?, Store::open(Some(urls[1]), "TO").await?);
    let known = from.names().await?;
    let mut names = [known.clone(), to.names().await?].concat();
    names.sort();
    names.dedup();
    let (mut report, spoken) = (Report::new(), Spoken::new());
    for name in below.of(names) {
        if remove_others && !known.contains(&name) {
            // An address that is mistyped is a store as well, and so is a folder whose disk is not there.
            report.kept(&name);
            continue;
        }
        let (here, there) = (from.files(&name)?, to.files(&name)?);
        let mirror = here.mirror_to(&there).prefix(below.prefix()).remove_others(remove_others);
        let mirror = match below.after(&name) {
            Some(after) => mirror.after(after),
            None => mirror,
        };
        let ended = mirror.progress(|done| spoken.say(&name, done.files, done.bytes, done.last.as_deref())).await;
        match ended {
            Ok(done) => report.mirrored(&name, &done, remove_others),
            Err(ended) => {
                report.mirrored(&name, ended.done(), remove_others);
                report.ended(&name, ended.done().last.as_deref().or(below.after(&name)), ended.error());
                break;
            }
        }
    }
    report.outcome_of_any()
}

async fn check(store: &Store, below: &Below) -> Result<Outcome, Failure> {
    let (mut report, spoken) = (Report::new(), Spoken::new());
    for name in below.of(store.names().await?) {
        let files = store.files(&name)?;
        let check = files.check().prefix(below.prefix());
        let check = match below.after(&name) {
            Some(after) => check.after(after),
            None => check,
        };
        match check.progress(|done| spoken.say(&name, done.files, done.bytes, done.last.as_deref())).await {
            Ok(done) => report.checked(&name, &done),
            Err(ended) => {
                report.checked(&name, ended.done());
                report.ended(&name, ended.done().last.as_deref().or(below.after(&name)), ended.error());
                break;
            }
        }
    }
    report.outcome_of_any()
}

async fn sweep(store: &Store) -> Result<Outcome, Failure> {
    let mut report = Report::new();
    for name in store.names().await? {
        let files = store.files(&name)?;
        match files.sweep().await {
            Ok(swept) => report.swept(&name, swept),
            // What one name fails with keeps no other.
            Err(error) => report.unswept(&name, &error),
        }
    }
    report.outcome()
}

/// Says on the error stream, now and then, how far it is: who waits for an hour wants to know, and so does a log.
struct Spoken(Mutex<Instant>);

impl Spoken {
    const EVERY: Duration = Duration::from_secs(10);

    fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn say(&self, name: &str, files: u64, bytes: u64, last: Option<&str>) {
        let Ok(mut said) = self.0.lock() else { return };
        if said.elapsed() >= Self::EVERY {
            *said = Instant::now();
            let last = last.unwrap_or_default();
            // Who reads it may have gone.
            let _ = writeln!(stderr(), "statehouse: {name}: {files} files, {bytes} bytes; all up to {name}/{last}");
        }
    }
}
