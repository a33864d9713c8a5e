//! Files that are kept for some time.
//!
//! A listing does not say how long a file is kept, so each such file has an empty object beside it that does, by its name:
//! `.statehouse/expires/<seconds since 1970, 12 digits>/<key>`. It is written before the file, and says when to look: what the file
//! says then, by the server's clock, is what counts. A file that is then kept for much longer was written again: what is looked at next is
//! its end, and one object is left of all that there were.

use std::time::{Duration, SystemTime};

use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::ObjectFileStore;
use super::client::Remote;
use super::list::OwnPage;
use super::sweep::is_away;
use crate::capability;
use crate::key::FileKey;
use crate::meta::ETag;
use crate::options::{Condition, SweepOptions};
use crate::outcome::Deleted;

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What says when a file has to be looked at.
#[derive(Clone, Copy)]
struct Marker<'a> {
    name: &'a str,
    key: &'a FileKey,
    due: u64,
    written: Timestamp,
}

impl ObjectFileStore {
    /// Removes a file whose time is over, if it is still that one.
    pub(super) async fn delete_expired(&self, key: &FileKey, etag: ETag) -> Result<bool> {
        match self.delete_as_told(key, Condition::Match(etag)).await {
            Ok(deleted) => Ok(deleted == Deleted::Removed),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn sweep_expired(&self, options: &SweepOptions) -> Result<u64> {
        let Some(native) = self.remote.native.as_ref().filter(|_| self.capabilities.has(capability::TIME_TO_LIVE))
        else {
            return Ok(0);
        };
        let folder = format!("{}{}/expires/", self.remote.prefix, crate::key::RESERVED);
        let (mut pages, mut swept, mut failed) = (self.remote.list_own(native, &folder), 0, None);
        while let Some(OwnPage { found, now }) = pages.next().await? {
            for (name, written) in found {
                let Some((due, key)) = name.split_once('/') else { continue };
                let (Ok(due), Ok(key)) = (due.parse::<u64>(), FileKey::new(key)) else { continue };
                if due > seconds(now) || !key.starts_with(&options.prefix) {
                    continue;
                }
                // One that cannot be deleted keeps none of the others.
                let marker = Marker { name: &name, key: &key, due, written };
                let (removed, error) = self.sweep_marked(marker, now, options.uploads_older_than).await;
                swept += u64::from(removed);
                failed = match error {
                    Some(error) if is_away(&error) => return Err(error),
                    error => failed.or(error),
                };
            }
        }
        failed.map_or(Ok(swept), Err)
    }

    /// Removes a file whose time is over, if it is, and the marker that has said to look: while that is young, the file that it is of may be
    /// on its way still, whatever is there. Whether the file was removed, and what failed.
    async fn sweep_marked(&self, marker: Marker<'_>, now: SystemTime, older_than: Duration) -> (bool, Option<Error>) {
        let looked = match self.sweep_one(marker.key, now).await {
            Ok(looked) => looked,
            Err(error) => return (false, Some(error)),
        };
        let removed = looked == Looked::Removed;
        if looked == Looked::Replaced || super::sweep::age(marker.written, now) < older_than {
            return (removed, None);
        }
        let done = async {
            if let Looked::HasLonger(end) = looked {
                // It is this file's, whose upload took that long.
                if end.saturating_sub(marker.due) <= older_than.as_secs() {
                    return Ok(());
                }
                // Whatever else there is, it is looked at then: its own may be missing, as after a restore, which dates it anew.
                self.remote.look_at(marker.key, end).await?;
            }
            self.remote.remove(&self.remote.path(&format!("{}/expires/{}", crate::key::RESERVED, marker.name))?).await
        };
        (removed, done.await.err())
    }

    /// What a file is like, of which it was written down that its time is over.
    async fn sweep_one(&self, key: &FileKey, now: SystemTime) -> Result<Looked> {
        let meta = match self.remote.peek(key).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Looked::Nothing),
            found => found?.0,
        };
        match meta.expires {
            // By the server's clock. When a file was written it says in whole seconds, so up to one too early.
            Some(expires) if expires >= Timestamp::from(now) => Ok(Looked::HasLonger(seconds(expires.into()))),
            Some(_) if self.delete_expired(key, meta.etag).await? => Ok(Looked::Removed),
            Some(_) => Ok(Looked::Replaced),
            None => Ok(Looked::Nothing),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// Until when.
    HasLonger(u64),
    /// Just now.
    Replaced,
    Removed,
    /// There is none, or none that has an end.
    Nothing,
}

impl Remote {
    /// What time it is at the server; by the host's clock where no answer has said so.
    pub(super) fn now(&self) -> SystemTime {
        let heard = self.native.as_ref().and_then(|native| native.server.clock.now());
        heard.unwrap_or_else(SystemTime::now)
    }

    /// Has a sweep look at a file that is about to be written, when its time is over.
    pub(super) async fn expect_end(&self, key: &FileKey, time_to_live: Duration) -> Result<()> {
        self.look_at(key, seconds(self.now()).saturating_add(time_to_live.as_secs())).await
    }

    async fn look_at(&self, key: &FileKey, due: u64) -> Result<()> {
        let path = self.path(&format!("{}/expires/{due:012}/{key}", crate::key::RESERVED))?;
        self.put_own(&path, String::new()).await
    }
}
