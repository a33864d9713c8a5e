//! Beats.

use std::time::Duration;

use statehouse_core::{ErrorKind, Version};

use super::kit::{CoordBackend, key, put, put_with};
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::beats::{BeatOptions, Beaten, Beats, BeatsOptions};
use crate::capability::BEATS;
use crate::options::PutOptions;
use crate::outcome::RemoveOutcome;

/// Long enough that a loaded machine beats in time.
const LONG: u32 = 300;

async fn beat(store: &dyn CoordStore, name: &str, version: Version, options: BeatOptions) -> Beaten {
    store.beat_with(&key(name), version, options).await.expect("an answer")
}

async fn beats(store: &dyn CoordStore, group: &str) -> Beats {
    store.beats_with(&key(group), BeatsOptions::default()).await.expect("an answer")
}

async fn living(store: &dyn CoordStore, group: &str) -> Vec<String> {
    let mut names: Vec<_> = beats(store, group).await.living.iter().map(|(key, _)| key.as_str().to_owned()).collect();
    names.sort();
    names
}

pub(super) async fn a_beat_counts_until_its_time_is_over(backend: &impl CoordBackend) {
    let (store, long, short) = (backend.service().await, LONG * backend.step(), 2 * backend.step());
    let [one, other] = [put(&*store, "m/1", "1").await, put(&*store, "m/2", "2").await];
    let alone = beat(&*store, "m/1", one, BeatOptions::anew(long)).await;
    assert_eq!((alone.was_there, alone.is_there, alone.ends_in), (false, true, None));
    assert!(beat(&*store, "m/2", other, BeatOptions::anew(short)).await.is_there);
    let told = beat(&*store, "m/1", one, BeatOptions::again(long)).await.ends_in.expect("another one");
    assert!(told <= short, "{told:?}");
    backend.pass_time(3 * backend.step()).await;
    assert_eq!(living(&*store, "m").await, ["m/1"], "nobody has to beat for that");
    let after = beat(&*store, "m/1", one, BeatOptions::again(long)).await;
    assert!(after.is_there && after.ends_in.is_none_or(|ends_in| ends_in > short), "{after:?}");
    let [(name, left)] = &beats(&*store, "m").await.living[..] else { panic!("one") };
    assert!(&**name == "m/1" && *left <= long && !left.is_zero(), "{name} {left:?}");
    let late = beat(&*store, "m/2", other, BeatOptions::again(long)).await;
    assert!(!late.was_there && !late.is_there, "it was over");
    assert!(beat(&*store, "m/2", other, BeatOptions::anew(long)).await.is_there, "it comes anew");
    let again = beat(&*store, "m/2", other, BeatOptions::again(long)).await;
    assert!(again.was_there && again.is_there);
    assert_eq!(living(&*store, "m").await, ["m/1", "m/2"]);
    assert!(beat(&*store, "m/2", other, BeatOptions::anew(long)).await.was_there);
}

pub(super) async fn a_beat_is_of_a_record_at_its_version(backend: &impl CoordBackend) {
    let (store, long) = (backend.service().await, LONG * backend.step());
    let first = put(&*store, "m/1", "1").await;
    let options = PutOptions::default().with_time_to_live(2 * backend.step());
    let expires = put_with(&*store, "m/2", "2", options).await;
    assert!(!beat(&*store, "m/1", first, BeatOptions::again(long)).await.is_there, "it has not come");
    assert!(beat(&*store, "m/1", first, BeatOptions::anew(long)).await.is_there);
    assert!(!beat(&*store, "m/none", first, BeatOptions::anew(long)).await.is_there);
    let second = put(&*store, "m/1", "1").await;
    for options in [BeatOptions::again(long), BeatOptions::anew(long), BeatOptions::last()] {
        let refused = beat(&*store, "m/1", first, options).await;
        assert!(!refused.was_there && !refused.is_there);
        assert_eq!(living(&*store, "m").await, ["m/1"]);
    }
    assert!(beat(&*store, "m/1", second, BeatOptions::again(long)).await.is_there);
    assert_eq!(store.remove(&key("m/1"), second).await.expect("an answer"), RemoveOutcome::Removed);
    assert!(!beat(&*store, "m/1", second, BeatOptions::again(long)).await.is_there);
    backend.pass_time(3 * backend.step()).await;
    assert!(!beat(&*store, "m/2", expires, BeatOptions::anew(long)).await.is_there, "its record is over");
}

pub(super) async fn changes_of_a_group_are_counted_and_beats_that_go_on_are_none(backend: &impl CoordBackend) {
    let (store, long) = (backend.service().await, LONG * backend.step());
    let [one, other] = [put(&*store, "m/1", "1").await, put(&*store, "m/2", "2").await];
    let mut last = Version::default();
    let mut rises = |beaten: &Beaten, does: bool, why: &str| {
        assert_eq!(beaten.changes > last, does, "{why}: {:?} after {last:?}", beaten.changes);
        assert!(beaten.changes >= last, "{why}");
        last = beaten.changes;
    };
    rises(&beat(&*store, "m/1", one, BeatOptions::anew(long)).await, true, "one comes");
    rises(&beat(&*store, "m/2", other, BeatOptions::anew(2 * backend.step())).await, true, "another comes");
    rises(&beat(&*store, "m/1", one, BeatOptions::anew(long)).await, true, "one comes anew");
    backend.pass_time(3 * backend.step()).await;
    rises(&beat(&*store, "m/1", one, BeatOptions::again(long)).await, true, "one is over");
    for _ in 0..3 {
        rises(&beat(&*store, "m/1", one, BeatOptions::again(long)).await, false, "it goes on");
        rises(&beat(&*store, "m/2", other, BeatOptions::again(long)).await, false, "who is over is refused");
        rises(&beat(&*store, "m/2", other, BeatOptions::last()).await, false, "who is not there does not go");
    }
    let seen = beats(&*store, "m").await.changes;
    let left = beat(&*store, "m/1", one, BeatOptions::last()).await;
    rises(&left, true, "it goes");
    assert!(left.was_there && !left.is_there && left.changes > seen);
    assert_eq!(beats(&*store, "m").await, Beats::new(left.changes, Vec::new()));
}

pub(super) async fn beats_of_groups_and_of_stores_are_apart(backend: &impl CoordBackend) {
    let another = backend.another().await;
    let (store, beside, long) = (backend.service().await, another.service().await, LONG * backend.step());
    let mut changes = Vec::new();
    for (store, name) in [(&store, "m/1"), (&store, "m/a/b"), (&store, "n/1"), (&store, "m"), (&beside, "m/2")] {
        let version = put(&**store, name, "1").await;
        changes.push(beat(&**store, name, version, BeatOptions::anew(long)).await);
    }
    assert_eq!(living(&*store, "m").await, ["m", "m/1", "m/a/b"]);
    assert_eq!((living(&*store, "n").await, living(&*beside, "m").await), (vec!["n/1".into()], vec!["m/2".into()]));
    assert_eq!(beats(&*store, "none").await, Beats::default());
    assert_eq!(beats(&*store, "n").await.changes, changes[2].changes);
}

pub(super) async fn of_hundreds_that_are_over_none_is_counted(backend: &impl CoordBackend) {
    let (store, long) = (backend.service().await, LONG * backend.step());
    let stays = put(&*store, "m/stays", "1").await;
    beat(&*store, "m/stays", stays, BeatOptions::anew(long)).await;
    let mut others = Vec::new();
    for number in 0..150 {
        let name = format!("m/{number}");
        others.push((put(&*store, &name, "1").await, name));
    }
    let (last, of_last) = others.last().cloned().expect("some");
    for (version, name) in others {
        beat(&*store, &name, version, BeatOptions::anew(5 * backend.step())).await;
    }
    backend.pass_time(6 * backend.step()).await;
    assert_eq!(living(&*store, "m").await, ["m/stays"]);
    let late = beat(&*store, &of_last, last, BeatOptions::again(long)).await;
    assert!(!late.was_there && !late.is_there);
    for _ in 0..3 {
        let beaten = beat(&*store, "m/stays", stays, BeatOptions::again(long)).await;
        assert!(beaten.is_there && beaten.ends_in.is_none_or(|ends_in| ends_in > 6 * backend.step()), "{beaten:?}");
    }
    let [one, other] = [0, 1].map(|_| BeatOptions::again(long).with_deadline(Duration::from_secs(20)));
    let before = beat(&*store, "m/stays", stays, one).await.changes;
    assert_eq!(beat(&*store, "m/stays", stays, other).await.changes, before, "all of them are gone");
}

pub(super) async fn beats_are_refused_by_who_counts_none_and_so_is_what_nobody_takes(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let version = put(&*store, "m/1", "1").await;
    if backend.capabilities().await.has(BEATS) {
        let refused = store.beat_with(&key("m/1"), version, BeatOptions::anew(Duration::ZERO)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert_eq!(beats(&*store, "m").await, Beats::default());
    } else {
        let refused = store.beat_with(&key("m/1"), version, BeatOptions::anew(backend.step())).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        let refused = store.beats_with(&key("m"), BeatsOptions::default()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
    }
}
