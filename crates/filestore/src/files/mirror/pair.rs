use std::time::{Duration, Instant};

use futures_util::future::try_join;
use statehouse_core::{ErrorKind, Result, Timestamp};
use tokio::sync::OnceCell;

use super::super::place::Place;
use super::super::walk::{Tries, apart};
use crate::body::Body;
use crate::digest::corrupt;
use crate::key::FileKey;
use crate::meta::{ETag, Meta};
use crate::options::{Condition, DeleteOptions, GetOptions, HeadOptions, PutOptions};
use crate::outcome::{DeleteOutcome, PutOutcome};

/// By how much a time to live may end earlier there, as clocks differ, and later, as a put takes its time: it counts from the put's end.
const EARLIER: Duration = Duration::from_secs(60);
const LATER: Duration = Duration::from_secs(60 * 60);

/// The two stores.
pub(super) struct Pair<'a> {
    pub(super) from: &'a Place,
    pub(super) to: &'a Place,
    pub(super) remove_others: bool,
    clocks: OnceCell<Clocks>,
}

/// What time it was here and there, and when that was asked.
struct Clocks {
    here: Timestamp,
    there: Timestamp,
    asked: Instant,
}

/// What has become of one file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Settled {
    Copied { bytes: u64, has_digest: bool },
    Same,
    Gone,
    Expired,
    Other,
    Removed,
}

/// One file in both.
struct File {
    from: FileKey,
    to: FileKey,
    /// What this mirror has put there, or may have: that goes again if there is none here.
    ours: Vec<Ours>,
    /// What it has become, if it stays so.
    became: Option<Settled>,
}

/// What a mirror has put. As often as one file is tried, there are so many of it at most.
enum Ours {
    Stored(ETag),
    /// Nobody knows whether it was.
    Doubtful(Meta),
}

impl Ours {
    /// Whether this is what is there.
    fn is(&self, there: &Meta) -> bool {
        match self {
            Self::Stored(etag) => *etag == there.etag,
            Self::Doubtful(here) => is_same(here, there),
        }
    }
}

impl<'a> Pair<'a> {
    pub(super) const fn new(from: &'a Place, to: &'a Place) -> Self {
        Self { from, to, remove_others: false, clocks: OnceCell::const_new() }
    }

    /// The clocks that say when a file has ended. They are asked once: how far a host's clock is off is nothing that changes with each
    /// file.
    async fn clocks(&self) -> Result<&Clocks> {
        let asked = async {
            let (here, there) = try_join(self.from.store.now(), self.to.store.now()).await?;
            Ok(Clocks { here, there, asked: Instant::now() })
        };
        self.clocks.get_or_try_init(|| asked).await
    }

    /// What time it is here.
    async fn now(&self) -> Result<Timestamp> {
        let clocks = self.clocks().await?;
        Ok(clocks.here + clocks.asked.elapsed())
    }

    /// What is there, with its end by the clock here.
    async fn look_there(&self, key: &FileKey) -> Result<Option<Meta>> {
        let mut there = look(self.to, key).await?;
        if let Some(expires) = there.as_mut().and_then(|there| there.expires.as_mut()) {
            let clocks = self.clocks().await?;
            *expires = clocks.here + expires.since(clocks.there);
        }
        Ok(there)
    }

    /// Makes one file there what it is here.
    pub(super) async fn settle(&self, name: String) -> Result<Result<Settled>> {
        apart(&name, self.insist(&name).await, &[self.from, self.to]).await
    }

    async fn insist(&self, name: &str) -> Result<Settled> {
        let key = |place: &Place| FileKey::within(&place.namespace, name);
        let (from, to) = (key(self.from)?, key(self.to)?);
        let mut file = File { from, to, ours: Vec::new(), became: None };
        let mut tries = Tries::new();
        loop {
            match self.attempt(&mut file).await {
                Ok(Some(settled)) => return Ok(settled),
                Ok(None) => tries.next(None).await?,
                Err(error) => tries.next(Some(error)).await?,
            }
        }
    }

    /// None if it is to be done again.
    async fn attempt(&self, file: &mut File) -> Result<Option<Settled>> {
        // Before this store is read: what is put there behind this look, the condition finds.
        let there = self.look_there(&file.to).await?;
        if let Some(there) = &there {
            match look(self.from, &file.from).await? {
                None => return self.without(file, Some(there), Settled::Gone).await,
                Some(here) if is_same(&here, there) => return Ok(file.became.or(Some(Settled::Same))),
                Some(_) => {}
            }
        }
        let object = match self.from.store.get_with(&file.from, GetOptions::default()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.without(file, there.as_ref(), Settled::Gone).await;
            }
            object => object?.unconditional()?,
        };
        let here = object.meta().clone();
        let condition = there.as_ref().map_or(Condition::Absent, |there| Condition::Match(there.etag.clone()));
        let now = if here.expires.is_some() { self.now().await? } else { Timestamp::default() };
        let Some(options) = options(&here, condition, now) else {
            // What is there is not what has ended here.
            return self.without(file, there.as_ref(), Settled::Expired).await;
        };
        let object = if here.sha256.is_some() { object.verify_sha256() } else { object };
        self.put(file, here, Body::from(object), options).await
    }

    async fn put(&self, file: &mut File, here: Meta, body: Body, options: PutOptions) -> Result<Option<Settled>> {
        let put = self.to.store.put_with(&file.to, body, options).await;
        match &put {
            Ok(PutOutcome::Stored(stored)) => file.ours.push(Ours::Stored(stored.etag.clone())),
            // It may have been made all the same. Any other failure says that it was not: what is there is another's.
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => file.ours.push(Ours::Doubtful(here.clone())),
            _ => {}
        }
        let Some(stored) = put?.stored() else { return Ok(None) };
        if stored.len != here.len || here.sha256.is_some_and(|digest| stored.sha256 != Some(digest)) {
            return Err(corrupt("the other store has not stored what it was given"));
        }
        file.became = Some(Settled::Copied { bytes: here.len, has_digest: here.sha256.is_some() });
        match look(self.from, &file.from).await? {
            Some(again) if again == here => Ok(file.became),
            // It was replaced since.
            Some(_) => Ok(None),
            None => self.delete(file, &stored.etag).await,
        }
    }

    /// There is none here any more, for this reason.
    async fn without(&self, file: &mut File, there: Option<&Meta>, why: Settled) -> Result<Option<Settled>> {
        match there {
            Some(there) if self.remove_others || file.ours.iter().any(|ours| ours.is(there)) => {
                self.delete(file, &there.etag).await
            }
            Some(_) => Ok(Some(Settled::Other)),
            None => Ok(Some(match file.became {
                Some(Settled::Removed) => Settled::Removed,
                _ => why,
            })),
        }
    }

    /// And then both are looked at again: where an etag is the content's, what was deleted may be what somebody has just put.
    async fn delete(&self, file: &mut File, etag: &ETag) -> Result<Option<Settled>> {
        let options = DeleteOptions::default().with_if_match(etag.clone());
        let deleted = self.to.store.delete_with(&file.to, options).await?;
        if deleted == DeleteOutcome::Removed {
            file.became = Some(if self.remove_others { Settled::Removed } else { Settled::Gone });
        }
        Ok(None)
    }
}

async fn look(place: &Place, key: &FileKey) -> Result<Option<Meta>> {
    match place.store.head_with(key, HeadOptions::default()).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found?.unconditional().map(Some),
    }
}

/// How it is put; none if it has no time left.
fn options(here: &Meta, condition: Condition, now: Timestamp) -> Option<PutOptions> {
    let mut options = PutOptions::default().with_condition(condition);
    options.content_type.clone_from(&here.content_type);
    options.content_disposition.clone_from(&here.content_disposition);
    options.cache_control.clone_from(&here.cache_control);
    options.user.clone_from(&here.user);
    options.expected_digest = here.sha256;
    if let Some(expires) = here.expires {
        let left = expires.since(now);
        if left.is_zero() {
            return None;
        }
        // Whole seconds count, and it is kept at least as long.
        options.time_to_live = Some(Duration::from_secs(left.as_secs() + 1));
    }
    Some(options)
}

/// Whether what is there is what is here, as far as both say of themselves.
fn is_same(here: &Meta, there: &Meta) -> bool {
    let ends = match (here.expires, there.expires) {
        (None, None) => true,
        (Some(here), Some(there)) => here.since(there) <= EARLIER && there.since(here) <= LATER,
        _ => false,
    };
    ends && here.sha256.is_some()
        && (here.sha256, here.len, &here.user) == (there.sha256, there.len, &there.user)
        && here.content_type == there.content_type
        && here.content_disposition == there.content_disposition
        && here.cache_control == there.cache_control
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn meta(change: impl FnOnce(Meta) -> Meta) -> Meta {
        let key = FileKey::new("n/a").unwrap();
        change(Meta::new(key, 4, ETag::new("\"1\""), Timestamp::default()).with_sha256(Some(Digest::of(b"DICM"))))
    }

    const fn at(seconds: u64) -> Option<Timestamp> {
        Some(Timestamp::from_micros(seconds * 1_000_000))
    }

    #[test]
    fn a_file_is_the_same_if_all_that_is_kept_with_it_is() {
        let text = || Some("text/plain".to_owned());
        let others = [
            meta(|meta| meta.with_sha256(Some(Digest::of(b"MCID")))),
            meta(|meta| meta.with_sha256(None)),
            meta(|meta| meta.with_content_type(text())),
            meta(|meta| meta.with_content_disposition(Some("inline".to_owned()))),
            meta(|meta| meta.with_cache_control(Some("no-cache".to_owned()))),
            meta(|meta| meta.with_user([("modality".to_owned(), "ct".to_owned())].into())),
            meta(|meta| meta.with_expires(at(10_000))),
        ];
        let one = meta(|meta| meta);
        assert!(is_same(&one, &one));
        for other in others {
            assert!(!is_same(&one, &other) && !is_same(&other, &one), "{other:?}");
        }
        let undigested = meta(|meta| meta.with_sha256(None));
        assert!(!is_same(&undigested, &undigested), "nobody knows");
        let expires = |seconds| meta(|meta| meta.with_expires(at(seconds)));
        for (there, same) in [(9_939, false), (9_940, true), (10_000, true), (13_600, true), (13_601, false)] {
            assert_eq!(is_same(&expires(10_000), &expires(there)), same, "{there}");
        }
    }

    #[test]
    fn what_is_left_of_a_time_to_live_is_kept_at_least() {
        let left = |expires, now: Option<Timestamp>| {
            let here = meta(|meta| meta.with_expires(expires));
            options(&here, Condition::Absent, now.unwrap()).map(|options| options.time_to_live)
        };
        assert_eq!(left(None, at(100)), Some(None));
        assert_eq!(left(at(160), at(100)), Some(Some(Duration::from_secs(61))));
        assert_eq!(left(at(100), at(100)), None, "it is over");
        assert_eq!(left(at(99), at(100)), None);
    }
}
