use std::time::Duration;

use statehouse_core::Result;

use super::format::State;
use crate::api::CoordStore;
use crate::options::ScanOptions;

/// A lock that somebody has: told by [`Coordination::locks`](crate::Coordination::locks).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockReport {
    /// What kind of thing is locked.
    pub kind: LockKind,
    /// What it is called.
    pub name: String,
    /// What the holder is called; see [`Coordination::with_label`](crate::Coordination::with_label).
    pub holder: String,
    /// How long it is held if it is not renewed.
    pub expires_in: Option<Duration>,
}

/// What a lock is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LockKind {
    /// What an application [locks](crate::Coordination::lock) itself.
    Lock,
    /// What is [run once](crate::Coordination::run_once), and is run now.
    Run,
    /// What is done [every so often](crate::Coordination::schedule), and is done now.
    Schedule,
}

impl LockKind {
    const ALL: [Self; 3] = [Self::Lock, Self::Run, Self::Schedule];

    /// What the keys of its locks begin with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Run => "run-lock",
            Self::Schedule => "schedule-lock",
        }
    }

    /// In a word: `lock`, `run` or `schedule`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Run => "run",
            Self::Schedule => "schedule",
        }
    }
}

/// All locks that are held, as they were when each was read: told by [`Coordination::locks`](crate::Coordination::locks).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockList {
    /// Those that can be read, by their kinds and names.
    pub locks: Vec<LockReport>,
    /// How many names have something else than a lock: nobody gets those until what is there is taken away.
    pub skipped: u64,
}

/// All that are held. What cannot be read is held by nobody who could be named.
pub(crate) async fn list(store: &dyn CoordStore) -> Result<LockList> {
    let LockList { locks: mut held, mut skipped } = LockList::default();
    for kind in LockKind::ALL {
        let prefix = format!("{}/", kind.prefix());
        let mut options = ScanOptions::new(prefix.as_str());
        loop {
            let page = store.scan_with(options.clone()).await?;
            for (key, record) in page.records {
                let Some(name) = key.strip_prefix(&*prefix) else { continue };
                match State::decode(&record.value) {
                    Ok(State::Held { holder, .. }) => {
                        held.push(LockReport { kind, name: name.to_owned(), holder, expires_in: record.expires_in });
                    }
                    Ok(_) => {}
                    Err(_) => skipped += 1,
                }
            }
            skipped += page.skipped;
            match page.next {
                Some(next) => options = options.with_start(next),
                None => break,
            }
        }
    }
    held.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    Ok(LockList { locks: held, skipped })
}
