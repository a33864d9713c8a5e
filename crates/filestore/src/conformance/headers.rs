//! Content dispositions and cache controls.

use statehouse_core::{ErrorKind, Result};

use super::kit::{kind, noise, streamed};
use super::puts::PARTS;
use crate::body::Body;
use crate::capability::{CONTENT_HEADERS, DELETE_IF_MATCH};
use crate::disposition::{attachment, inline};
use crate::files::Files;

const CACHE: &str = "private, max-age=31536000, immutable";

async fn headers(files: &Files, name: &str) -> Result<(Option<String>, Option<String>)> {
    let head = files.head(name).await?;
    let got = files.get(name).range(..1).await?;
    assert_eq!(*got.meta(), head, "{name}");
    assert!(head.user.is_empty(), "{:?}", head.user);
    Ok((head.content_disposition, head.cache_control))
}

/// However it is stored, and whoever copies or renames it; what replaces it has its own.
pub(super) async fn a_file_keeps_its_disposition_and_cache_control(files: Files) -> Result<()> {
    let named = attachment("Röntgen \"2\"; p=42.png");
    let expected = (Some(named.clone()), Some(CACHE.to_owned()));
    let long = noise(PARTS + 1, 1);
    for (name, body) in [("a", Body::from("x")), ("b", streamed(&noise(9, 2), 2)), ("c", streamed(&long, 1 << 20))] {
        files.put(name, body).content_disposition(&named).cache_control(CACHE).await?;
        assert_eq!(headers(&files, name).await?, expected, "{name}");
        files.copy(name, "copy").await?;
        assert_eq!(headers(&files, "copy").await?, expected, "a copy of {name}");
    }
    if files.store().capabilities().has(DELETE_IF_MATCH) {
        files.rename("copy", "renamed").await?;
        assert_eq!(headers(&files, "renamed").await?, expected);
    }
    files.put("a", "y").content_disposition(inline("y.txt")).await?;
    assert_eq!(headers(&files, "a").await?, (Some(inline("y.txt")), None));
    files.put("a", "z").cache_control("no-store").await?;
    assert_eq!(headers(&files, "a").await?, (None, Some("no-store".to_owned())));
    files.put("a", "plain").await?;
    assert_eq!(headers(&files, "a").await?, (None, None));
    files.copy("a", "c").await?;
    assert_eq!(headers(&files, "c").await?, (None, None), "nothing of what the copy replaces");
    Ok(())
}

/// The longest, too, beside what else is kept.
pub(super) async fn the_longest_disposition_and_cache_control_read_back(files: Files) -> Result<()> {
    let (named, cache) = (format!("inline; filename={}", "x".repeat(1007)), "y".repeat(255));
    let put = files.put("a", "x").content_disposition(&named).cache_control(&cache).metadata("n", "z".repeat(256));
    put.content_type("a/".to_owned() + &"b".repeat(253)).await?;
    let meta = files.head("a").await?;
    assert_eq!((meta.content_disposition, meta.cache_control), (Some(named.clone()), Some(cache.clone())));
    assert_eq!(meta.user["n"].len(), 256);
    let put = files.put("a", "y").content_disposition(&named).cache_control(&cache).metadata("n", "z".repeat(257));
    assert_eq!(kind(put.await), Some(ErrorKind::InvalidInput));
    assert_eq!(files.get("a").bytes().await?, "x");
    Ok(())
}

/// Those that it was staged with.
pub(super) async fn a_committed_stage_keeps_its_disposition_and_cache_control(files: Files) -> Result<()> {
    for (name, body) in [("a", Body::from("x")), ("b", streamed(&noise(PARTS, 3), 1 << 20))] {
        let put = files.put(name, body).content_disposition(attachment(name)).cache_control(CACHE);
        assert!(put.stage().await?.commit().await?.stored().is_some());
        assert_eq!(headers(&files, name).await?, (Some(attachment(name)), Some(CACHE.to_owned())), "{name}");
    }
    Ok(())
}

/// Before anything is sent or written; and so is every one by a store that keeps none.
pub(super) async fn what_would_be_another_header_is_refused(files: Files) -> Result<()> {
    let invalid = Some(ErrorKind::InvalidInput);
    let long = "x".repeat(1025);
    for bad in ["", " inline", "inline\r\nset-cookie: a=b", "inline; filename=\"Röntgen\"", "filename=a", &long] {
        assert_eq!(kind(files.put("a", "x").content_disposition(bad).await), invalid, "{bad:?}");
    }
    for bad in ["", "no-store\r\nset-cookie: a=b", "no-store\n", "é", &long] {
        assert_eq!(kind(files.put("a", "x").cache_control(bad).await), invalid, "{bad:?}");
    }
    assert!(!files.exists("a").await?);
    let stored = files.put("a", "x").content_disposition("inline").await;
    if files.store().capabilities().has(CONTENT_HEADERS) {
        assert_eq!(stored?.len, 1);
    } else {
        assert_eq!(kind(stored), Some(ErrorKind::Unsupported));
        assert_eq!(kind(files.put("a", "x").cache_control("no-store").await), Some(ErrorKind::Unsupported));
        assert!(!files.exists("a").await?);
    }
    Ok(())
}
