use futures_util::future::join_all;
use statehouse_core::{ErrorKind, Result};

use super::kit::{done, kind, noise, streamed};
use super::puts::PARTS;
use crate::capability;
use crate::files::Files;
use crate::meta::ETag;
use crate::outcome::{DeleteOutcome, PutOutcome};

/// The loser of a create is told so, and the file is as it was.
pub(super) async fn a_create_of_an_existing_file_is_refused_and_changes_nothing(files: Files) -> Result<()> {
    let stored = done(files.put("a", "first").metadata("n", "1").if_absent().await?);
    assert_eq!(files.put("a", "second").if_absent().await?, PutOutcome::Conflict);
    let body = streamed(&noise(5000, 1), 999);
    assert_eq!(files.put("a", body).if_absent().await?, PutOutcome::Conflict);
    let meta = files.head("a").await?;
    assert_eq!((meta.etag, meta.user["n"].as_str()), (stored.etag, "1"));
    assert_eq!(files.get("a").bytes().await?, "first");
    files.delete("a").await?;
    done(files.put("a", "third").if_absent().await?);
    Ok(())
}

/// Two hundred races of sixteen.
pub(super) async fn of_16_racing_creators_exactly_one_wins_200_times(files: Files) -> Result<()> {
    for round in 0..200 {
        race(&files, &format!("r{round}"), 16, |files, name, creator| async move {
            files.put(name, format!("creator {creator}")).if_absent().await
        })
        .await?;
    }
    Ok(())
}

/// Runs racing creators; one wins, the others are told, and the file is the winner's.
async fn race<F>(files: &Files, name: &str, creators: usize, create: impl Fn(Files, String, usize) -> F) -> Result<()>
where
    F: Future<Output = Result<PutOutcome>> + Send + 'static,
{
    let tasks = (0..creators).map(|creator| tokio::spawn(create(files.clone(), name.to_owned(), creator)));
    let mut winners = Vec::new();
    for (creator, result) in join_all(tasks).await.into_iter().enumerate() {
        match result.expect("a creator that panicked") {
            Ok(PutOutcome::Stored(stored)) => winners.push((creator, stored.etag)),
            Ok(PutOutcome::Conflict) => {}
            // S3 may answer a loser 409: somebody is at it, come back.
            Err(error) => {
                assert!(error.kind() == ErrorKind::Conflict && error.is_retryable(), "{name}: {error:?}");
            }
        }
    }
    let [(winner, etag)] = &winners[..] else { panic!("{name}: {} of {creators} won", winners.len()) };
    let object = files.get(name).await?;
    assert_eq!(object.meta().etag, *etag, "{name}");
    let content = object.bytes().await?;
    assert!(content.starts_with(format!("creator {winner}").as_bytes()), "{name}: not the winner's content");
    Ok(())
}

/// Also with an etag that was current once, and on an absent file.
pub(super) async fn a_replace_needs_the_current_etag(files: Files) -> Result<()> {
    let first = files.put("a", "first").await?;
    let second = done(files.put("a", "second").if_match(&first.etag).await?);
    assert_eq!(files.put("a", "third").if_match(&first.etag).await?, PutOutcome::Conflict);
    assert_eq!(files.put("absent", "x").if_match(&second.etag).await?, PutOutcome::Conflict);
    assert_eq!(files.put("below/absent", "x").if_match(&second.etag).await?, PutOutcome::Conflict);
    // An etag comes from a request, with whatever somebody wrote there.
    let (list, spaced) = (format!("\"x\", {}", second.etag), format!(" {}", second.etag));
    let (long, weak) = (format!("\"{}\"", "x".repeat(9_000)), format!("W/{}", second.etag));
    let odd = ["", "\"", "\"\"", "\"*\"", "a\nb", "\u{7f}", "\u{e9}", "*", &list, &spaced, &long, &weak];
    for etag in odd.map(ETag::new) {
        assert_eq!(files.put("a", "third").if_match(&etag).await?, PutOutcome::Conflict, "{etag:?}");
        assert_eq!(files.put("absent", "third").if_match(&etag).await?, PutOutcome::Conflict, "{etag:?}");
        assert_eq!(kind(files.get("a").if_match(&etag).await), Some(ErrorKind::Conflict), "{etag:?}");
        assert_eq!(kind(files.get("absent").if_match(&etag).await), Some(ErrorKind::NotFound), "{etag:?}");
    }
    assert_eq!(files.get("a").bytes().await?, "second");
    assert!(!files.exists("absent").await?);
    Ok(())
}

/// The first state of a file that was A, then B, and is A again is not its third.
pub(super) async fn an_etag_is_of_one_put(files: Files) -> Result<()> {
    let first = files.put("a", "A").await?;
    let again = files.put("a", "A").await?;
    files.put("a", "B").await?;
    let third = files.put("a", "A").await?;
    let etags = [&first.etag, &again.etag, &third.etag];
    assert!(etags[0] != etags[1] && etags[1] != etags[2] && etags[0] != etags[2], "{etags:?}");
    assert_eq!(files.put("a", "C").if_match(&first.etag).await?, PutOutcome::Conflict);
    assert_eq!(kind(files.get("a").if_match(&first.etag).await), Some(ErrorKind::Conflict));
    done(files.put("a", "C").if_match(&third.etag).await?);
    Ok(())
}

/// With the capability it never is; without it the etag may be the content's.
pub(super) async fn a_condition_holds_again_where_and_only_where_the_etag_is_the_same_again(
    files: Files,
) -> Result<()> {
    let first = files.put("a", "A").await?;
    files.put("a", "B").await?;
    assert_eq!(files.put("a", "C").if_match(&first.etag).await?, PutOutcome::Conflict);
    let third = files.put("a", "A").await?;
    let holds = files.put("a", "C").if_match(&first.etag).await?.stored().is_some();
    assert_eq!(holds, first.etag == third.etag);
    assert!(!holds || !files.store().capabilities().has(capability::ETAG_PER_PUT));
    Ok(())
}

/// A counter that eight writers raise by read and conditional replace has the exact sum, while a ninth overwrites
/// another file beside it.
pub(super) async fn racing_replaces_lose_no_update(files: Files) -> Result<()> {
    const WRITERS: usize = 8;
    const EACH: usize = 10;
    files.put("counter", "0").await?;
    let writers = (0..WRITERS).map(|writer| {
        let files = files.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while done < EACH {
                let object = files.get("counter").await?;
                let etag = object.meta().etag.clone();
                let text = String::from_utf8(object.bytes().await?.into()).expect("a number");
                let next =
                    text.split(' ').next().and_then(|number| number.parse::<usize>().ok()).expect("a number") + 1;
                // The writer's name makes each content, and so each etag, its own.
                match files.put("counter", format!("{next} by {writer}")).if_match(&etag).await {
                    Ok(PutOutcome::Stored(_)) => done += 1,
                    Ok(PutOutcome::Conflict) => {}
                    Err(error) if error.kind() == ErrorKind::Conflict && error.is_retryable() => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    });
    for result in join_all(writers).await {
        result.expect("a writer that panicked")?;
    }
    let text = files.get("counter").bytes().await?;
    assert!(text.starts_with(format!("{} by", WRITERS * EACH).as_bytes()), "{text:?}");
    Ok(())
}

/// A file that takes several requests is checked like any other, when it is finished.
pub(super) async fn conditions_hold_for_files_in_parts(files: Files) -> Result<()> {
    let content = noise(PARTS, 7);
    let body = || streamed(&content, 1 << 20);
    let first = done(files.put("a", body()).if_absent().await?);
    assert_eq!(files.put("a", body()).if_absent().await?, PutOutcome::Conflict);
    let second = done(files.put("a", "small").if_match(&first.etag).await?);
    assert_eq!(files.put("a", body()).if_match(&first.etag).await?, PutOutcome::Conflict);
    assert_eq!(files.get("a").bytes().await?, "small");
    done(files.put("a", body()).if_match(&second.etag).await?);
    assert_eq!(files.get("a").bytes().await?, content);
    Ok(())
}

/// Four at a time, because each sends twenty megabytes.
pub(super) async fn of_racing_creators_of_a_file_in_parts_exactly_one_wins(files: Files) -> Result<()> {
    race(&files, "a", 4, |files, name, creator| async move {
        let mut content = format!("creator {creator}").into_bytes();
        content.resize(PARTS, b'.');
        files.put(name, streamed(&content.into(), 1 << 20)).if_absent().await
    })
    .await
}

/// A delete of a file that changed meanwhile is refused.
pub(super) async fn a_delete_needs_the_current_etag(files: Files) -> Result<()> {
    let first = files.put("a", "first").await?;
    let second = files.put("a", "second").await?;
    assert_eq!(files.delete("a").if_match(&first.etag).await?, DeleteOutcome::Conflict);
    assert_eq!(files.get("a").bytes().await?, "second");
    assert_eq!(files.delete("a").if_match(&second.etag).await?, DeleteOutcome::Removed);
    assert_eq!(files.delete("a").if_match(&second.etag).await?, DeleteOutcome::Conflict);
    assert_eq!(files.delete("b/a").if_match(&second.etag).await?, DeleteOutcome::Conflict);
    Ok(())
}

/// The condition is on the target.
pub(super) async fn a_conditional_copy_needs_its_target_as_expected(files: Files) -> Result<()> {
    files.put("a", "content").content_type("text/plain").await?;
    let copied = done(files.copy("a", "b").if_absent().await?);
    assert_eq!(files.copy("a", "b").if_absent().await?, PutOutcome::Conflict);
    files.put("a", "changed").content_type("text/html").await?;
    let again = done(files.copy("a", "b").if_match(&copied.etag).await?);
    assert_eq!(files.copy("a", "b").if_match(&copied.etag).await?, PutOutcome::Conflict);
    let object = files.get("b").await?;
    assert_eq!(object.meta().etag, again.etag);
    assert_eq!(object.meta().content_type.as_deref(), Some("text/html"));
    assert_eq!(object.bytes().await?, "changed");
    Ok(())
}
