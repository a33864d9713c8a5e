//! Files that are stored out of sight first, and files that are kept for some time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use statehouse_core::conformance::Backend;
use statehouse_core::conformance::fenced::holder;
use statehouse_core::{Error, ErrorKind, Result};

use super::kit::{clear, fresh, kind, names, noise, streamed};
use super::puts::PARTS;
use crate::api::FileStore;
use crate::body::Body;
use crate::capability::{STAGED, TIME_TO_LIVE};
use crate::digest::Digest;
use crate::files::{Decision, Files};
use crate::options::StagesOptions;
use crate::outcome::{CommitOutcome, DiscardOutcome, Swept};
use crate::stage::{Stage, StageId};

/// How often commits and discards race.
const RACES: usize = 20;

async fn stages(files: &Files, older_than: Duration) -> Result<Vec<Stage>> {
    let options = StagesOptions::new(format!("{}/", files.namespace())).with_older_than(older_than);
    files.store().stages_with(options).await
}

/// Of whatever length, and with all that a put may say of it.
pub(super) async fn a_stage_is_out_of_sight_until_it_is_committed(files: Files) -> Result<()> {
    let (large, lone) = (noise(PARTS, 5), noise(300 << 10, 6));
    let bodies = [
        (Bytes::new(), Body::from("")),
        (Bytes::from("DICM"), Body::from("DICM")),
        (lone.clone(), streamed(&lone, 999)),
        (large.clone(), streamed(&large, 1 << 20)),
        (large.clone(), Body::from(large.clone())),
    ];
    for (at, (content, body)) in bodies.into_iter().enumerate() {
        let name = format!("p42/{at} é.dcm");
        let put = files.put(&name, body).content_type("application/dicom").metadata("ward", "Zoë 7");
        let staged = put.stage().await?;
        assert_eq!((staged.len(), staged.sha256()), (content.len() as u64, Digest::of(&content)));
        assert_eq!(kind(files.head(&name).await), Some(ErrorKind::NotFound));
        assert_eq!(names(&files, "").await?, [""; 0]);
        let CommitOutcome::Committed(stored) = staged.commit().await? else { panic!("{name} is staged") };
        assert_eq!((stored.len, stored.sha256), (staged.len(), Some(staged.sha256())));
        let object = files.get(&name).await?;
        assert_eq!((&object.meta().etag, object.meta().sha256), (&stored.etag, stored.sha256));
        assert_eq!(object.meta().content_type.as_deref(), Some("application/dicom"));
        assert_eq!((object.meta().user["ward"].as_str(), object.meta().user.len()), ("Zoë 7", 1));
        assert!(object.bytes().await? == content, "{name}");
        // Whoever commits it once more is told the same.
        assert_eq!(files.commit(&name, staged.id()).await?, CommitOutcome::Committed(stored));
        files.delete(&name).await?;
        assert_eq!(files.commit(&name, staged.id()).await?, CommitOutcome::Gone, "it brings nothing back");
    }
    Ok(())
}

/// And so is one that never was, or is another file's.
pub(super) async fn a_stage_that_was_discarded_is_gone(files: Files) -> Result<()> {
    let content = noise(PARTS, 7);
    for body in [Body::from("short"), streamed(&content, 1 << 20)] {
        let staged = files.put("a", body).stage().await?;
        let id = staged.id();
        assert_eq!(files.commit("b", id).await?, CommitOutcome::Gone);
        assert_eq!(files.discard("b", id).await?, DiscardOutcome::Absent);
        assert_eq!(staged.clone().discard().await?, DiscardOutcome::Discarded);
        assert_eq!(staged.clone().commit().await?, CommitOutcome::Gone);
        assert_eq!(staged.discard().await?, DiscardOutcome::Absent);
        assert!(!files.exists("a").await?);
    }
    let never: StageId = "00112233445566778899aabbccddeeff".parse()?;
    assert_eq!(files.commit("a", never).await?, CommitOutcome::Gone);
    assert_eq!(files.discard("a", never).await?, DiscardOutcome::Absent);
    let staged = files.put("a", "kept").stage().await?;
    assert!(staged.commit().await?.stored().is_some());
    assert_eq!(staged.discard().await?, DiscardOutcome::Committed);
    assert_eq!(files.get("a").bytes().await?, "kept");
    Ok(())
}

pub(super) async fn the_condition_of_a_stage_is_decided_by_its_commit(files: Files) -> Result<()> {
    let create = files.put("a", "created").if_absent().stage().await?;
    let first = files.put("a", "there first").await?;
    let replace = files.put("a", "replaced").if_match(&first.etag).stage().await?;
    let late = files.put("a", "late").if_match(&first.etag).stage().await?;
    assert_eq!(create.commit().await?, CommitOutcome::Conflict);
    assert_eq!(files.get("a").bytes().await?, "there first");
    assert!(replace.commit().await?.stored().is_some());
    assert!(replace.commit().await?.stored().is_some(), "and is told so again");
    assert_eq!(late.commit().await?, CommitOutcome::Conflict);
    assert_eq!(files.get("a").bytes().await?, "replaced");
    files.delete("a").await?;
    assert_eq!(late.commit().await?, CommitOutcome::Conflict);
    // The stages are still there.
    assert!(create.commit().await?.stored().is_some());
    assert_eq!(files.get("a").bytes().await?, "created");
    assert_eq!(late.discard().await?, DiscardOutcome::Discarded);
    let fenced = files.put("a", "x").fenced(&holder("export", 1)).stage().await;
    assert_eq!(kind(fenced.map(drop)), Some(ErrorKind::InvalidInput));
    Ok(())
}

pub(super) async fn of_commits_and_a_discard_one_wins(files: Files) -> Result<()> {
    for race in 0..RACES {
        let name = format!("p{race}");
        let staged = files.put(&name, format!("{race}")).stage().await?;
        let discard = async {
            for _ in 0..race % 5 {
                tokio::task::yield_now().await;
            }
            staged.clone().discard().await
        };
        let (one, other, discarded) = tokio::join!(staged.commit(), staged.commit(), discard);
        let (one, other, discarded) = (one?.stored(), other?.stored(), discarded?);
        let there = files.exists(&name).await?;
        match discarded {
            DiscardOutcome::Discarded => {
                assert!(!there && one.is_none() && other.is_none(), "{race}: {one:?} {other:?}")
            }
            DiscardOutcome::Committed => assert!(there && one.is_some() && one == other, "{race}: {one:?} {other:?}"),
            DiscardOutcome::Absent => panic!("{race}: it was there"),
        }
        assert_eq!(stages(&files, Duration::ZERO).await?, []);
    }
    Ok(())
}

pub(super) async fn a_stage_is_listed_with_its_age_until_it_is_decided(files: Files) -> Result<()> {
    assert_eq!(stages(&files, Duration::ZERO).await?, []);
    let (one, other) = (files.put("a/b", "1").stage().await?, files.put("a/b", "2").stage().await?);
    let third = files.put("c é", streamed(&noise(PARTS, 8), 1 << 20)).stage().await?;
    let mut found: Vec<_> =
        stages(&files, Duration::ZERO).await?.into_iter().map(|stage| (stage.key, stage.id)).collect();
    found.sort();
    let mut expected =
        vec![(files.key("a/b")?, one.id()), (files.key("a/b")?, other.id()), (files.key("c é")?, third.id())];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(stages(&files, Duration::from_secs(600)).await?, [], "none is so old");
    let below = StagesOptions::new(files.key("c")?.as_str());
    assert_eq!(files.store().stages_with(below).await?.len(), 1);
    assert!(one.commit().await?.stored().is_some());
    assert_eq!(other.discard().await?, DiscardOutcome::Discarded);
    assert_eq!(stages(&files, Duration::ZERO).await?.len(), 1);
    assert_eq!(third.discard().await?, DiscardOutcome::Discarded);
    assert_eq!(stages(&files, Duration::ZERO).await?, []);
    Ok(())
}

/// And leaves alone what it is not told of, and what is young.
pub(super) async fn a_sweep_ends_stages_as_it_is_told(files: Files) -> Result<()> {
    let mut staged = Vec::new();
    for name in ["committed", "discarded", "kept", "unknown"] {
        staged.push(files.put(name, name).stage().await?);
    }
    let refused = files.put("refused", "new").if_absent().stage().await?;
    files.put("refused", "old").await?;
    let decide = async |name: String, _: StageId| match name.as_str() {
        "committed" | "refused" => Ok(Decision::Commit),
        "discarded" => Ok(Decision::Discard),
        "kept" => Ok(Decision::Keep),
        _ => Err(Error::new(ErrorKind::Unavailable, "the database is away")),
    };
    assert_eq!(files.sweep().grace(Duration::ZERO).await?, Swept::default(), "nobody decides");
    let young = files.sweep().grace(Duration::from_secs(600)).decide(decide).await?;
    assert_eq!(young, Swept::default());
    let swept = files.sweep().grace(Duration::ZERO).decide(decide).await;
    assert_eq!(kind(swept), Some(ErrorKind::Unavailable), "and has done the rest");
    assert_eq!(files.get("committed").bytes().await?, "committed");
    assert_eq!(names(&files, "").await?, ["committed", "refused"]);
    assert_eq!(staged[1].commit().await?, CommitOutcome::Gone);
    let known = |_: String, _: StageId| async { Ok(Decision::Discard) };
    let swept = files.sweep().grace(Duration::ZERO).decide(known).await?;
    assert_eq!((swept.committed, swept.discarded, swept.kept), (0, 3, 0));
    for gone in staged[2..].iter().chain([&refused]) {
        assert_eq!(gone.commit().await?, CommitOutcome::Gone);
    }
    assert_eq!(files.get("refused").bytes().await?, "old");
    Ok(())
}

/// One that was replaced has the time of what replaced it, and a copy its own.
pub(super) async fn a_file_is_swept_when_its_time_is_over_and_not_before(files: Files) -> Result<()> {
    let (short, long, begin) = (Duration::from_secs(2), Duration::from_secs(3600), Instant::now());
    let put = |name: &'static str, kept| files.put(name, name).time_to_live(kept);
    for name in ["over", "prolonged", "kept"] {
        put(name, short).await?;
    }
    put("long", long).await?;
    files.put("parts", streamed(&noise(PARTS, 9), 1 << 20)).time_to_live(short).await?;
    assert!(put("staged", short).stage().await?.commit().await?.stored().is_some());
    put("prolonged", long).await?;
    files.put("kept", "for ever").await?;
    files.copy("over", "copied").await?;
    let meta = files.head("over").await?;
    assert_eq!(meta.expires, Some(meta.modified + short));
    assert_eq!(files.head("kept").await?.expires, None);
    let mut swept = files.sweep().await?.expired;
    assert!(swept == 0 || begin.elapsed() >= short, "nothing is over yet");
    while swept < 4 && begin.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        swept += files.sweep().await?.expired;
    }
    assert_eq!(swept, 4, "each is counted once");
    assert_eq!(names(&files, "").await?, ["kept", "long", "prolonged"]);
    assert_eq!(kind(files.put("a", "x").time_to_live(Duration::from_millis(9)).await), Some(ErrorKind::InvalidInput));
    Ok(())
}

pub(super) async fn what_a_store_cannot_stage_or_keep_for_a_time_it_refuses(files: Files) -> Result<()> {
    let has = files.store().capabilities();
    let unsupported = Some(ErrorKind::Unsupported);
    if !has.has(STAGED) {
        assert_eq!(kind(files.put("a", "x").stage().await.map(drop)), unsupported);
        assert_eq!(kind(files.commit("a", "00112233445566778899aabbccddeeff".parse()?).await), unsupported);
        assert_eq!(kind(stages(&files, Duration::ZERO).await), unsupported);
    }
    if !has.has(TIME_TO_LIVE) {
        assert_eq!(kind(files.put("a", "x").time_to_live(Duration::from_secs(60)).await), unsupported);
    }
    assert!(!files.exists("a").await?);
    Ok(())
}

pub(super) async fn a_stage_survives_a_restart(backend: &mut impl Backend<Service = dyn FileStore>) {
    let files = fresh(&backend.service().await);
    let (namespace, staged) = (files.namespace().clone(), files.put("a", "staged").stage().await.unwrap());
    let id = staged.id();
    drop((files, staged));
    backend.reopen().await;
    let files = Files::new(backend.service().await, namespace);
    assert!(!files.exists("a").await.unwrap());
    assert!(files.commit("a", id).await.unwrap().stored().is_some());
    assert_eq!(files.get("a").bytes().await.unwrap(), "staged");
    clear(&files).await.unwrap();
}
