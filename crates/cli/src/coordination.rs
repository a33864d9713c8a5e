//! `statehouse coordination`.

use std::sync::Arc;

use serde_json::{Value, json};
use statehouse::coord::capability::DURABLE;
use statehouse::coord::{self, CoordStore, CoordStoreExt as _, Transferred, copy_lasting};
use statehouse::core::{Namespace, ServiceUrl};
use statehouse::{Config, Error, ErrorKind};

use crate::args::Copy;
use crate::outcome::{Failure, Outcome};

pub(crate) async fn copy(asked: Copy) -> Result<Outcome, Failure> {
    let namespace = match asked.namespace {
        Some(namespace) => namespace,
        None => Config::from_env().map_err(|error| Failure::setting(&error))?.namespace,
    };
    let namespace = Namespace::new(namespace).map_err(|error| Failure::setting(&error))?;
    let before = asked.from_namespace.map_or_else(|| Ok(namespace.clone()), Namespace::new);
    let before = before.map_err(|error| Failure::setting(&error))?;
    let (from, to) = (read("--from", &asked.from, &before)?, read("--to", &asked.to, &namespace)?);
    let from = coord::open(from, &before).await.map_err(|error| error.with_setting("--from"))?;
    let to = coord::open(to, &namespace).await.map_err(|error| error.with_setting("--to"))?;
    check_lasting(&to).await?;
    let done = copy_lasting(&*from, &*to).await?;
    report(&done, &before)
}

fn read(argument: &str, url: &str, namespace: &Namespace) -> Result<ServiceUrl, Failure> {
    let url = ServiceUrl::parse(argument, url).map_err(|error| Failure::setting(&error))?;
    coord::check(&url, namespace).map_err(|error| Failure::setting(&error))?;
    Ok(url)
}

/// What is copied must be there when this process has ended.
async fn check_lasting(to: &Arc<dyn CoordStore>) -> Result<(), Failure> {
    // What a store can do may be known only once it was asked.
    to.now().await?;
    if to.capabilities().has(DURABLE) {
        return Ok(());
    }
    let message = "it would forget what is copied to it: it must be durable (of Redis: appendonly yes, maxmemory-policy noeviction)";
    Err(Error::new(ErrorKind::Unsupported, message).with_setting("--to").into())
}

fn report(done: &[Transferred], before: &Namespace) -> Result<Outcome, Failure> {
    let found =
        |kind: &Transferred| kind.copied + kind.same + kind.skipped + (kind.differ.len() + kind.damaged.len()) as u64;
    let is_nothing = done.iter().all(|kind| found(kind) == 0);
    let is_good = !is_nothing && done.iter().all(Transferred::is_whole);
    let mut lines: Vec<_> = done.iter().filter(|kind| found(kind) > 0).flat_map(said).collect();
    if is_nothing {
        let what = "there is nothing to copy of the namespace";
        lines.push(format!("{what} {:?}: is --from the right place?", before.as_str()));
    }
    let kinds: Vec<_> = done.iter().map(value).collect();
    let value = json!({ "good": is_good, "namespace": before.as_str(), "kinds": kinds });
    Ok(Outcome::of(lines.join("\n"), &value)?.wrong_unless(is_good))
}

fn said(kind: &Transferred) -> Vec<String> {
    let name = kind.kind.as_str();
    let mut counts = vec![format!("{} copied", kind.copied), format!("{} same", kind.same)];
    let others =
        [(kind.differ.len() as u64, "differ"), (kind.damaged.len() as u64, "damaged"), (kind.skipped, "skipped")];
    counts.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let mut lines = vec![format!("{name}: {}", counts.join(", "))];
    let differs = "says something else in --to, and was left as it is there";
    lines.extend(kind.differ.iter().map(|one| format!("  {name}/{one}: {differs}")));
    lines.extend(kind.damaged.iter().map(|one| format!("  {name}/{one}: in its place in --to is no record")));
    if kind.skipped > 0 {
        lines.push(format!("{name}: what was skipped in --from is no record, or a damaged one"));
    }
    lines
}

fn value(kind: &Transferred) -> Value {
    json!({
        "kind": kind.kind.as_str(), "copied": kind.copied, "same": kind.same, "differ": kind.differ,
        "damaged": kind.damaged, "skipped": kind.skipped,
    })
}
