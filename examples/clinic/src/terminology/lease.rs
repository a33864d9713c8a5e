//! Whose turn it is to load: decided by one small file in the file store, which all replicas see.
//!
//! The file is created if absent, and replaced only by who knows its present state, so there is one loader at a time.
//! The loader rewrites it all the while. One that is not rewritten for a time belongs to a replica that died, and is
//! taken over. Each replica measures that time on its own clock, so clocks need not agree.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use statehouse::files::{ETag, Files, PutOutcome};
use statehouse::{Error, ErrorKind, Result};

use super::Edition;
use crate::id::new_id;

/// A loader that has not said for so long that it is alive is dead.
const DEAD_AFTER: Duration = Duration::from_secs(10);

#[derive(Deserialize, Serialize)]
struct Marker {
    state: MarkerState,
    /// Makes every state of the file differ from every other: some stores name a state by its content.
    unique: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
enum MarkerState {
    Loading,
    Loaded,
    /// Its loader has stopped on its own: nobody needs to wait whether it is dead.
    GivenUp,
}

/// The right to load, while it is [renewed](Self::renew).
pub(super) struct Lease {
    files: Files,
    name: String,
    etag: ETag,
}

/// What a replica does now.
pub(super) enum Turn {
    /// Everything is loaded.
    Loaded(Loaded),
    /// This replica loads.
    Load(Lease),
    /// Another one loads.
    Wait,
}

/// The note that everything is loaded.
pub(super) struct Loaded(Lease);

impl Loaded {
    /// The note is wrong: the index was lost. Loads again.
    pub(super) async fn distrust(self) -> Result<Option<Lease>> {
        let mut lease = self.0;
        lease.renew().await.map(|mine| mine.then_some(lease))
    }
}

/// Looks at the marker now and then.
pub(super) struct Watch {
    files: Files,
    name: String,
    /// The state of the marker that was seen last, and since when.
    seen: Option<(ETag, Instant)>,
}

impl Watch {
    pub(super) fn new(files: Files, edition: Edition) -> Self {
        Self { files, name: edition.index_name(), seen: None }
    }

    pub(super) async fn turn(&mut self) -> Result<Turn> {
        let object = match self.files.get(&self.name).await {
            Ok(object) => object,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.create().await,
            Err(error) => return Err(error),
        };
        let etag = object.meta().etag.clone();
        let state = serde_json::from_slice::<Marker>(&object.bytes().await?).map(|marker| marker.state);
        let mut lease = Lease { files: self.files.clone(), name: self.name.clone(), etag: etag.clone() };
        if matches!(state, Ok(MarkerState::Loaded)) {
            return Ok(Turn::Loaded(Loaded(lease)));
        }
        let free = matches!(state, Ok(MarkerState::GivenUp)) || self.is_dead(&etag);
        if free && lease.renew().await? {
            return Ok(Turn::Load(lease));
        }
        Ok(Turn::Wait)
    }

    async fn create(&self) -> Result<Turn> {
        let put = self.files.put(&self.name, marker(MarkerState::Loading)?).if_absent().await;
        Ok(match put? {
            PutOutcome::Stored(stored) => {
                let lease = Lease { files: self.files.clone(), name: self.name.clone(), etag: stored.etag };
                Turn::Load(lease)
            }
            PutOutcome::Conflict => Turn::Wait,
        })
    }

    /// Whoever shares the index may share the file, also one on a disk.
    fn is_dead(&mut self, etag: &ETag) -> bool {
        match &self.seen {
            Some((seen, since)) if seen == etag => since.elapsed() > DEAD_AFTER,
            _ => {
                self.seen = Some((etag.clone(), Instant::now()));
                false
            }
        }
    }
}

impl Lease {
    /// Says that this loader is alive. `false` if another has taken over.
    pub(super) async fn renew(&mut self) -> Result<bool> {
        self.write(MarkerState::Loading).await
    }

    /// Lets another one load at once.
    pub(super) async fn give_up(mut self) -> Result<()> {
        self.write(MarkerState::GivenUp).await.map(drop)
    }

    /// Says that everything is loaded. `false` if another has taken over, and will say so.
    pub(super) async fn finish(mut self) -> Result<bool> {
        self.write(MarkerState::Loaded).await
    }

    async fn write(&mut self, state: MarkerState) -> Result<bool> {
        match self.files.put(&self.name, marker(state)?).if_match(&self.etag).await? {
            PutOutcome::Stored(stored) => {
                self.etag = stored.etag;
                Ok(true)
            }
            PutOutcome::Conflict => Ok(false),
        }
    }
}

fn marker(state: MarkerState) -> Result<Vec<u8>> {
    serde_json::to_vec(&Marker { state, unique: new_id() })
        .map_err(|error| Error::new(ErrorKind::Unexpected, "the marker cannot be encoded").with_source(error))
}

#[cfg(test)]
mod tests {
    use statehouse::{Config, Services};

    use super::*;

    /// Two replicas may have one folder on a disk, which knows nothing of them.
    #[tokio::test]
    async fn on_a_disk_too_one_of_two_loads_and_the_other_one_waits() {
        let folder = tempfile::tempdir().unwrap();
        let place = format!("file:{}", folder.path().display());
        let services = Services::open(Config::in_memory().with_files(place)).await.unwrap();
        let watch = || Watch::new(services.files("terminology").unwrap(), Edition::default());
        let (mut one, mut other) = (watch(), watch());
        let Turn::Load(mut lease) = one.turn().await.unwrap() else { panic!("nobody else loads") };
        for _ in 0..3 {
            assert!(matches!(other.turn().await.unwrap(), Turn::Wait), "it is loaded already");
            assert!(lease.renew().await.unwrap(), "nobody has taken it");
        }
        lease.give_up().await.unwrap();
        assert!(matches!(other.turn().await.unwrap(), Turn::Load(_)), "nobody has to be waited for");
    }
}
