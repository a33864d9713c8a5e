//! Codes that belong together, such as all that a ward sees: each set is one table, and any replica extends it.

mod copies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use statehouse::coord::{Broadcast, News, Readiness, SharedState};

use self::copies::{Copies, Copy};

use crate::error::{AppError, Result};
use crate::outages;

/// The most codes of a set.
const MOST: usize = 5_000;

/// A set as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ProblemSet {
    /// How often it was extended. Whoever knows the set as of one revision asks for what came since.
    pub(crate) revision: u64,
    /// Each code, and the revision that it came with.
    pub(crate) codes: BTreeMap<String, u64>,
}

/// All sets. Each replica remembers those that it has read, and hears of changes; what it may not have heard it reads again.
#[derive(Clone, Debug)]
pub(crate) struct ProblemSets {
    state: SharedState<ProblemSet>,
    changes: Broadcast,
    heard: Arc<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    copies: Copies,
    /// Whether every change is heard; unknown before it listens.
    readiness: OnceLock<Readiness>,
    resyncs: AtomicU64,
}

impl ProblemSets {
    pub(crate) fn new(state: SharedState<ProblemSet>, changes: Broadcast) -> Self {
        Self { state, changes, heard: Arc::default() }
    }

    /// Listens to what other replicas change, until it is dropped.
    pub(crate) async fn follow(self) -> Result<(), statehouse::Error> {
        let (mut news, heard) = (self.changes.subscribe()?, &self.heard);
        let _first = heard.readiness.set(news.readiness());
        while let Some(news) = news.next().await {
            match news {
                News::Message { message, .. } => heard.copies.forget(&String::from_utf8_lossy(&message)),
                _ => {
                    heard.copies.forget_all();
                    heard.resyncs.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// How often this replica has begun to hear everything: once at the start, and after each time when it may not have.
    pub(crate) fn resyncs(&self) -> u64 {
        self.heard.resyncs.load(Ordering::Relaxed)
    }

    /// The set of this name; an empty one if nobody has begun it. For at most ten seconds it may be that of before, if a
    /// connection is lost and that is not noticed yet.
    pub(crate) async fn get(&self, name: &str) -> Result<ProblemSet> {
        check_name(name)?;
        let hears = || self.heard.readiness.get().is_some_and(Readiness::is_ready);
        let drops = match self.heard.copies.get(name) {
            Copy::Here(set) if hears() => return Ok(set),
            Copy::Here(_) => None,
            Copy::Missing(drops) => Some(drops),
        };
        let set = self.read(name).await?;
        if let Some(drops) = drops.filter(|_| hears()) {
            self.heard.copies.keep(name, &set, drops);
        }
        Ok(set)
    }

    async fn read(&self, name: &str) -> Result<ProblemSet> {
        Ok(self.state.get(name).await?.map(|found| found.value).unwrap_or_default())
    }

    /// Adds codes, whoever else does so at the same time. What is there already makes no revision.
    pub(crate) async fn extend(&self, name: &str, codes: &[String]) -> Result<ProblemSet> {
        check_name(name)?;
        let now = self.read(name).await?;
        if codes.iter().all(|code| now.codes.contains_key(code)) {
            return Ok(now);
        }
        let updated = self.state.update(name, |before| before.unwrap_or_default().with(codes)).await?;
        if !codes.iter().all(|code| updated.value.codes.contains_key(code)) {
            return Err(AppError::conflict(format!("A problem set has at most {MOST} codes.")));
        }
        self.heard.copies.forget(name);
        if let Err(error) = self.changes.send(name.to_owned()).await {
            // It is done; others see it a little later.
            outages::failed("the broadcast of changes", &error);
        }
        Ok(updated.value)
    }
}

impl ProblemSet {
    /// As it is if that brings nothing, or too much. It is decided on what is there as this is written.
    fn with(mut self, codes: &[String]) -> Self {
        let new: BTreeSet<_> = codes.iter().filter(|code| !self.codes.contains_key(*code)).collect();
        if new.is_empty() || self.codes.len() + new.len() > MOST {
            return self;
        }
        self.revision += 1;
        for code in codes {
            self.codes.entry(code.clone()).or_insert(self.revision);
        }
        self
    }

    /// The codes that came after this revision, each with its own.
    pub(crate) fn since(&self, revision: u64) -> impl Iterator<Item = (&str, u64)> {
        let all = self.codes.iter().map(|(code, came)| (code.as_str(), *came));
        all.filter(move |(_, came)| *came > revision)
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=40).contains(&name.len()) && name.bytes().all(plain) { Ok(()) } else { Err(AppError::not_found("set")) }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use statehouse::{Config, Services};

    use super::*;

    async fn sets() -> ProblemSets {
        let coord = Services::open(Config::in_memory()).await.unwrap().coordination();
        ProblemSets::new(coord.state("problem-sets"), coord.broadcast("problem-sets"))
    }

    fn codes<const N: usize>(codes: [&str; N]) -> Vec<String> {
        codes.map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_set_grows_and_tells_what_came_since_any_revision() {
        let sets = sets().await;
        sets.extend("ward", &codes(["I10", "E11.9"])).await.unwrap();
        let same = sets.extend("ward", &codes(["I10"])).await.unwrap();
        assert_eq!(same.revision, 1, "nothing came");
        let set = sets.extend("ward", &codes(["I10", "J45.909"])).await.unwrap();
        assert_eq!(set, sets.get("ward").await.unwrap());
        let since = |revision| set.since(revision).collect::<Vec<_>>();
        assert_eq!(since(0), [("E11.9", 1), ("I10", 1), ("J45.909", 2)]);
        assert_eq!(since(1), [("J45.909", 2)]);
        assert!(since(2).is_empty() && sets.get("other").await.unwrap().codes.is_empty());
    }

    #[test]
    fn what_others_added_meanwhile_makes_no_revision_and_counts() {
        let ward = ProblemSet::default().with(&codes(["I10"]));
        assert_eq!(ward.clone().with(&codes(["I10"])), ward);
        let many: Vec<_> = (1..MOST).map(|code| code.to_string()).collect();
        let full = ward.with(&many);
        assert_eq!((full.codes.len(), full.revision), (MOST, 2));
        assert_eq!(full.clone().with(&codes(["E11.9"])), full);
    }

    #[tokio::test]
    async fn a_replica_that_hears_of_changes_remembers_and_sees_them() {
        let one = sets().await;
        let other = ProblemSets { heard: Arc::default(), ..one.clone() };
        let listening = tokio::spawn(other.clone().follow());
        while !other.heard.readiness.get().is_some_and(Readiness::is_ready) {
            tokio::task::yield_now().await;
        }
        assert_eq!(other.resyncs(), 1);
        for (revision, code) in (1..).zip(["I10", "E11.9", "J45.909"]) {
            one.extend("ward", &codes([code])).await.unwrap();
            while other.get("ward").await.unwrap().revision != revision {
                tokio::task::yield_now().await;
            }
            assert!(matches!(other.heard.copies.get("ward"), Copy::Here(_)), "it is remembered");
        }
        listening.abort();
    }

    #[tokio::test]
    async fn names_and_sizes_have_bounds() {
        let sets = sets().await;
        for name in ["", "A", "a/b", "ä", &"x".repeat(41)] {
            assert_eq!(sets.get(name).await.unwrap_err().status, StatusCode::NOT_FOUND, "{name}");
        }
        let many: Vec<_> = (0..=MOST).map(|code| code.to_string()).collect();
        assert_eq!(sets.extend("ward", &many).await.unwrap_err().status, StatusCode::CONFLICT);
        sets.extend("ward", &many[1..]).await.unwrap();
    }
}
