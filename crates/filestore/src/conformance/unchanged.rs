//! Reads that say what the reader has.

use std::time::Duration;

use statehouse_core::{ErrorKind, Result, Timestamp};

use super::kit::{kind, noise};
use crate::files::Files;
use crate::meta::ETag;
use crate::outcome::ReadOutcome;

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_micros(time.as_micros() - u64::try_from(by.as_micros()).unwrap_or(u64::MAX))
}

/// Neither is any of it read, also of a long file, nor is a range of it looked at.
pub(super) async fn what_the_reader_has_is_not_modified(files: Files) -> Result<()> {
    for len in [5, 900_000] {
        let known = files.put("a", noise(len, 1)).await?.etag;
        assert!(files.get("a").if_none_match(&known).await?.found().is_none(), "{len}");
        assert_eq!(files.head("a").if_none_match(&known).await?, ReadOutcome::NotModified);
        assert!(files.get("a").range(1..2).if_none_match(&known).await?.found().is_none());
        assert!(
            files.get("a").if_none_match(&known).range(1_000_000..).await?.found().is_none(),
            "conditions go first"
        );
        assert_eq!(kind(files.get("a").if_none_match(&known).range(3..3).await), Some(ErrorKind::InvalidInput));
        files.put("a", noise(len, 2)).await?;
        let object = files.get("a").if_none_match(&known).range(..3).await?.unconditional()?;
        assert_eq!(object.bytes().await?, noise(len, 2)[..3]);
        let head = files.head("a").if_none_match(&known).await?.unconditional()?;
        assert_eq!(head, files.head("a").await?);
        let beyond = files.get("a").if_none_match(&known).range(1_000_000..).await;
        assert_eq!(kind(beyond), Some(ErrorKind::InvalidInput));
    }
    for other in ["", "*", "\"\"", "a, b", "0123456789abcdef0123456789abcdef"] {
        let other = ETag::new(other);
        assert!(files.get("a").if_none_match(&other).await?.found().is_some(), "{other:?}");
        assert!(files.head("a").if_none_match(&other).await?.found().is_some(), "{other:?}");
        assert_eq!(kind(files.get("none").if_none_match(&other).await), Some(ErrorKind::NotFound));
    }
    assert_eq!(kind(files.head("none").if_modified_since(Timestamp::from_micros(0)).await), Some(ErrorKind::NotFound));
    Ok(())
}

/// A file that was written in the second that is asked for was not written since.
pub(super) async fn times_of_reads_count_in_whole_seconds(files: Files) -> Result<()> {
    files.put("a", "content").await?;
    let (at, second) = (files.head("a").await?.modified, Duration::from_secs(1));
    let begun = Timestamp::from_micros(at.as_micros() / 1_000_000 * 1_000_000);
    for time in [begun, at, begun + second / 2, at + second, at + second * 3600, Timestamp::from_micros(u64::MAX)] {
        assert!(files.get("a").if_modified_since(time).await?.found().is_none(), "{at:?} {time:?}");
        assert_eq!(files.head("a").if_modified_since(time).await?, ReadOutcome::NotModified, "{at:?} {time:?}");
        assert_eq!(files.get("a").if_unmodified_since(time).bytes().await?, "content", "{at:?} {time:?}");
        assert_eq!(files.head("a").if_unmodified_since(time).await?.len, 7);
    }
    for time in [earlier(begun, second / 1000), earlier(at, second * 3600), Timestamp::from_micros(0)] {
        assert!(files.get("a").if_modified_since(time).await?.found().is_some(), "{at:?} {time:?}");
        assert!(files.head("a").if_modified_since(time).await?.found().is_some(), "{at:?} {time:?}");
        assert_eq!(kind(files.get("a").if_unmodified_since(time).await), Some(ErrorKind::Conflict), "{at:?} {time:?}");
        assert_eq!(kind(files.head("a").if_unmodified_since(time).await), Some(ErrorKind::Conflict));
        assert_eq!(kind(files.get("a").if_unmodified_since(time).reader().await), Some(ErrorKind::Conflict));
    }
    Ok(())
}

/// What the file must be before what the reader has, and an etag in place of a time.
pub(super) async fn conditions_of_reads_are_looked_at_in_the_order_of_http(files: Files) -> Result<()> {
    files.put("a", "content").await?;
    let meta = files.head("a").await?;
    let (own, other) = (meta.etag, ETag::new("0123456789abcdef0123456789abcdef"));
    let (before, after) = (earlier(meta.modified, Duration::from_secs(9)), meta.modified + Duration::from_secs(9));
    let conflict = Some(ErrorKind::Conflict);
    assert_eq!(files.get("a").if_match(&own).if_unmodified_since(before).bytes().await?, "content");
    assert_eq!(kind(files.get("a").if_match(&other).if_unmodified_since(after).await), conflict);
    assert_eq!(kind(files.get("a").if_match(&other).if_none_match(&own).await), conflict);
    assert_eq!(kind(files.head("a").if_match(&other).if_none_match(&own).await), conflict);
    assert_eq!(kind(files.get("a").if_unmodified_since(before).if_none_match(&own).await), conflict);
    assert_eq!(kind(files.head("a").if_unmodified_since(before).if_modified_since(after).await), conflict);
    // Some servers look at parts of a second.
    let just_before = earlier(meta.modified, Duration::from_secs(1));
    assert_eq!(kind(files.get("a").if_unmodified_since(just_before).if_none_match(&own).await), conflict);
    assert_eq!(kind(files.head("a").if_unmodified_since(just_before).if_none_match(&own).await), conflict);
    assert!(files.get("a").if_match(&own).if_none_match(&own).await?.found().is_none());
    assert!(files.get("a").if_none_match(&other).if_modified_since(after).await?.found().is_some());
    assert!(files.head("a").if_none_match(&other).if_modified_since(after).await?.found().is_some());
    assert!(files.get("a").if_modified_since(before).if_none_match(&own).await?.found().is_none());
    assert_eq!(files.head("a").if_modified_since(before).if_none_match(&own).await?, ReadOutcome::NotModified);
    Ok(())
}
