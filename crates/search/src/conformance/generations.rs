//! Cases about generations, and what makes one of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statehouse_core::ErrorKind;

use super::evolution::{changed, found};
use super::kit::{SearchBackend, delete, id, id_set, ids, kinds, put, record, write};
use crate::analysis::Normalizer;
use crate::{
    ActivateOptions, BeginOptions, BulkOptions, Durability, Field, Generation, GenerationOptions, GenerationState,
    GenerationsOptions, Operation, Outcome, Query, Reach, Record, Reindex, Schema, SearchIndex, SearchIndexExt as _,
    SearchRequest, rollback,
};

/// A schema that needs a reindex: a field of another type, one of another name, one that is analyzed otherwise.
pub(super) fn next() -> Arc<Schema> {
    let label = Field::text("label");
    let code = Field::keyword("icd").normalized(Normalizer::default().lowercase().ascii_folding()).sortable();
    changed(&[("size", Some(Field::keyword("size"))), ("label", Some(label)), ("code", None), ("hidden", None)], [code])
}

pub(super) fn old_document(n: usize) -> Record {
    let document = record(&format!("{n:04}")).with("title", "cholera").with("label", "one two");
    document.with("code", format!("A{n}")).with("size", n as u64)
}

pub(super) async fn load(index: &dyn SearchIndex, count: usize) {
    put(index, (0..count).map(|n| old_document(n).with_version(n as u64 + 10))).await;
}

pub(super) async fn with_checksums(index: &dyn SearchIndex) -> Vec<Generation> {
    index.generations_with(GenerationsOptions::default().with_checksums()).await.expect("generations")
}

pub(super) fn reindex(index: &Arc<dyn SearchIndex>) -> Reindex {
    Reindex::new(Arc::clone(index), next()).renamed("code", "icd").batch(20)
}

/// By the new schema, and the generation before is kept.
pub(super) async fn a_reindex_makes_of_stored_documents_those_of_another_schema(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 75).await;
    let done = reindex(&old).run().await.expect("a reindex");
    assert_eq!((done.generation.documents, done.written), (75, 75));
    let new = &*done.index;
    assert_eq!(found(new, Query::term("size", "7")).await, ["0007"]);
    assert_eq!(found(new, Query::term("icd", "a7")).await, ["0007"]);
    assert_eq!(id_set(new, Query::matches("label", "two")).await.len(), 75);
    let document = new.get(&id("0007")).await.expect("a get").expect("it is there");
    assert_eq!(
        (document.version(), document.value("icd"), document.value("code")),
        (Some(17), Some(&"A7".into()), None)
    );
    assert_eq!(found(&*old, Query::matches("label", "two")).await, [""; 0]);
    assert_eq!(found(&*old, Query::term("size", 7_u64)).await, ["0007"]);

    let [kept, live] = <[_; 2]>::try_from(with_checksums(&*old).await).expect("two of them");
    assert_eq!((kept.state, live.state), (GenerationState::Kept, GenerationState::Live));
    assert_eq!((kept.documents, kept.checksum), (live.documents, live.checksum));
    let looked = old.generations().await.expect("generations");
    let looked: Vec<_> = looked.iter().map(|found| (found.documents, found.checksum)).collect();
    assert_eq!((looked, live.checksum.is_some()), (vec![(75, None), (75, None)], true));
    assert_eq!(
        old.ensure(next()).await.expect("a handle of it").schema().field("icd").map(Field::is_sortable),
        Some(true)
    );
}

/// Whichever handle writes, however many write, from before it begins to behind its end: each with the same version.
pub(super) async fn what_is_written_during_a_reindex_is_in_both_generations(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 60).await;
    write(&*old, vec![delete("long-gone", Some(9))]).await.check().expect("deleted");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (old, stop) = (Arc::clone(&old), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                let n = round % 60;
                let operations = vec![
                    Operation::Upsert(old_document(n).with("rank", round as i64)),
                    delete(&format!("{:04}", (n + 30) % 60), None),
                    Operation::Upsert(old_document(1_000 + round).with_version(5)),
                    delete(&format!("{:04}", 1_000 + round / 2), Some(9)),
                ];
                let report = old.bulk(operations).await.expect("a bulk");
                assert!(report.failures().next().is_none(), "{report:?}");
                assert!(
                    old.search(&SearchRequest::new(Query::matches("title", "cholera"))).await.expect("a search").total
                        > 0
                );
                round += 1;
            }
            round
        })
    };
    let done = reindex(&old).per_second(400).run().await.expect("a reindex");
    put(&*done.index, [record("by-new").with("icd", "B1").with("size", "12"), record("new-delete")]).await;
    write(&*done.index, vec![delete("new-delete", None)]).await.check().expect("deleted");
    tokio::time::sleep(Duration::from_millis(20)).await;
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.expect("no write failed") > 0);

    let by_old = old.get(&id("by-new")).await.expect("a get").expect("it is there");
    assert_eq!((by_old.value("code"), by_old.value("size")), (Some(&"B1".into()), Some(&12_u64.into())));
    let generations = with_checksums(&*old).await;
    assert_eq!(
        (generations[0].documents, generations[0].checksum),
        (generations[1].documents, generations[1].checksum)
    );
    assert_eq!(found(&*old, Query::all()).await, found(&*done.index, Query::all()).await);
    assert_eq!(found(&*old, Query::exists("rank")).await, found(&*done.index, Query::exists("rank")).await);
    // Versions of deletes are in both.
    let late = ["1000", "long-gone"].map(|name| Operation::Upsert(record(name).with_version(6)));
    assert_eq!(kinds(&write(&*done.index, late.to_vec()).await), ["stale", "stale"]);
}

/// Whatever was written before and since.
pub(super) async fn a_rollback_loses_nothing_and_may_be_rolled_forward_again(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 30).await;
    let new = reindex(&old).run().await.expect("a reindex").index;
    put(&*new, [record("new").with("icd", "Z9")]).await;
    assert_eq!(rollback(&old).await.expect("a rollback").number, 1);
    put(&*old, [record("old").with("code", "Y8")]).await;
    for index in [&old, &new] {
        assert_eq!(found(&**index, Query::ids(["new", "old", "0003"])).await, ["0003", "new", "old"]);
    }
    assert_eq!(found(&*old, Query::term("code", "z9")).await, ["new"]);
    assert_eq!(rollback(&old).await.expect("forward again").number, 2);
    assert_eq!(found(&*new, Query::term("icd", "y8")).await, ["old"]);
    let live = new.drop_generation(2).await.expect_err("it is live");
    assert_eq!(live.kind(), ErrorKind::Conflict);
    new.drop_generation(1).await.expect("dropped");
    assert_eq!(new.generations().await.expect("generations").len(), 1);
    // Its schema is gone with it, and says so.
    assert_eq!(old.search(&SearchRequest::new(Query::all())).await.expect_err("dropped").kind(), ErrorKind::Conflict);
    assert_eq!(found(&*new, Query::all()).await.len(), 32);
    put(&*new, [record("alone")]).await;
}

/// Neither by its number nor by its schema, and who asks for it is told to wait.
pub(super) async fn a_generation_is_not_used_before_it_holds_what_the_live_one_does(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 10).await;
    let renamed = || BeginOptions::default().with_renamed("code", "icd");
    let filling = old.begin_with(next(), renamed()).await.expect("begun");
    let refused = old.ensure(next()).await.expect_err("it is being filled");
    assert_eq!((refused.kind(), refused.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(old.activate(2).await.expect_err("it is empty").kind(), ErrorKind::Conflict);
    assert_eq!(found(&*old, Query::all()).await.len(), 10);
    assert_eq!(found(&*filling, Query::all()).await, [""; 0]);
    // Of another schema there is no second one; the same is gone on with.
    let other = old.begin_with(changed(&[("tag", None)], []), BeginOptions::default()).await;
    assert_eq!(other.expect_err("one stands there").kind(), ErrorKind::Conflict);
    old.begin_with(next(), renamed()).await.expect("it is gone on with");
    old.copy_with((0..9).map(|n| id(&format!("{n:04}"))).collect(), GenerationOptions::default())
        .await
        .expect("copied");
    assert_eq!(old.activate(2).await.expect_err("one is missing").kind(), ErrorKind::Conflict);
    assert_eq!(reindex(&old).run().await.expect("gone on with").written, 1);
}

/// Whoever still has a handle of one that was dropped writes to none that came behind it.
pub(super) async fn the_number_of_a_generation_is_never_used_again(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 3).await;
    let begin = || BeginOptions::default().with_renamed("code", "icd").with_rows();
    let first = old.begin_with(next(), begin()).await.expect("begun");
    old.drop_generation(2).await.expect("dropped");
    let second = old.begin_with(next(), begin()).await.expect("begun");
    let numbers: Vec<_> = old.generations().await.expect("generations").iter().map(|found| found.number).collect();
    assert_eq!(numbers, [1, 3]);
    let own = BulkOptions::default().with_reach(Reach::Own);
    let late = first.bulk_with(vec![Operation::Upsert(record("late"))], own).await.expect_err("it was dropped");
    assert_eq!(late.kind(), ErrorKind::Unavailable, "there is another one that is being filled");
    assert!(second.get(&id("late")).await.expect("a get").is_none());
    assert_eq!(old.activate(2).await.expect_err("it was dropped").kind(), ErrorKind::NotFound);
}

/// Nor in a later process.
pub(super) async fn the_number_of_a_generation_survives_it(backend: &mut impl SearchBackend) {
    {
        let old = backend.service().await;
        old.begin_with(next(), BeginOptions::default()).await.expect("begun");
        old.drop_generation(2).await.expect("dropped");
    }
    backend.reopen().await;
    let old = backend.service().await;
    old.begin_with(next(), BeginOptions::default()).await.expect("begun");
    assert_eq!(old.generations().await.expect("generations")[1].number, 3);
}

/// By handles that were told to wait, too; and it is gone on with.
pub(super) async fn a_reindex_that_gave_up_is_told_as_unfinished(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 10).await;
    let waiting = reindex(&old).run().await.expect("a reindex").index;
    rollback(&old).await.expect("a rollback");
    old.drop_generation(2).await.expect("dropped");
    let begin =
        async || old.begin_with(next(), BeginOptions::default().with_renamed("code", "icd")).await.expect("begun");
    let refused = async || {
        let search = waiting.search(&SearchRequest::new(Query::all())).await.expect_err("it is not filled");
        let ensure = old.ensure(next()).await.expect_err("it is not filled");
        assert_eq!((search.kind(), search.is_retryable()), (ensure.kind(), ensure.is_retryable()), "{search} {ensure}");
        (ensure.kind(), ensure.is_retryable())
    };
    let (first, second) = (begin().await, begin().await);
    assert_eq!(refused().await, (ErrorKind::Unavailable, true));
    drop(first);
    assert_eq!(refused().await, (ErrorKind::Unavailable, true), "another one fills it");
    drop(second);
    assert_eq!(refused().await, (ErrorKind::Conflict, false));
    let again = begin().await;
    assert_eq!(refused().await, (ErrorKind::Unavailable, true));
    drop(again);
    // A row that it cannot hold ends it.
    let rows = [record("0001"), record("bad").with("rank", "no number")];
    reindex(&old).run_from(rows.into_iter()).await.expect_err("a bad row");
    assert_eq!(refused().await, (ErrorKind::Conflict, false));
    reindex(&old).run().await.expect("it is gone on with");
    assert_eq!(found(&*waiting, Query::all()).await.len(), 10);
}

/// So that a process that ends begins where it was, and one that copies much does not keep all of it in memory.
pub(super) async fn what_is_copied_is_committed_without_anybody_asking(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 3).await;
    let begin = BeginOptions::default().with_renamed("code", "icd");
    let filling = old.begin_with(next(), begin).await.expect("begun");
    let all = (0..3).map(|n| id(&format!("{n:04}"))).collect();
    assert_eq!(old.copy_with(all, GenerationOptions::default()).await.expect("copied"), 3);
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while ids(&*filling, Query::all()).await.len() < 3 {
        assert!(std::time::Instant::now() < until, "it is not committed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Neither what was begun nor what is not there.
pub(super) async fn a_reindex_that_was_not_finished_is_nothing_to_go_back_to(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 10).await;
    assert_eq!(rollback(&old).await.expect_err("there is one").kind(), ErrorKind::NotFound);
    old.begin_with(next(), BeginOptions::default().with_renamed("code", "icd")).await.expect("begun");
    assert_eq!(rollback(&old).await.expect_err("it is being filled").kind(), ErrorKind::NotFound);
    assert_eq!(old.generations().await.expect("generations")[0].state, GenerationState::Live);
}

/// It would be in one of them, and not in the other.
pub(super) async fn a_generation_that_is_not_being_filled_is_not_written_alone(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 10).await;
    let alone = async |index: &dyn SearchIndex| {
        let own = BulkOptions::default().with_reach(Reach::Own);
        index.bulk_with(vec![Operation::Upsert(record("alone"))], own).await.map(drop).map_err(|error| error.kind())
    };
    assert_eq!(alone(&*old).await, Err(ErrorKind::Conflict));
    let filling = old.begin_with(next(), BeginOptions::default().with_renamed("code", "icd")).await.expect("begun");
    assert_eq!(alone(&*old).await, Err(ErrorKind::Conflict));
    assert_eq!(alone(&*filling).await, Ok(()));
    reindex(&old).run().await.expect("a reindex");
    assert_eq!((alone(&*filling).await, alone(&*old).await), (Err(ErrorKind::Conflict), Err(ErrorKind::Conflict)));
    assert!(filling.get(&id("alone")).await.expect("a get").is_none());
}

/// What one says of it holds for the other: it has failed, and neither has it.
pub(super) async fn what_one_generation_cannot_hold_is_in_neither(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 10).await;
    let wanted = changed(&[("title", Some(Field::keyword("title"))), ("hidden", None)], []);
    let new = Reindex::new(Arc::clone(&old), wanted).run().await.expect("a reindex").index;
    // As a text it is many words, and as a keyword one that is too long.
    let long = |name: &str| record(name).with("title", "cholera ".repeat(10_000)).with_version(99);
    let operations = vec![
        Operation::Upsert(long("fresh")),
        Operation::Upsert(old_document(2).with_version(98)),
        Operation::Upsert(long("0003")),
    ];
    let report = write(&*old, operations).await;
    assert_eq!(kinds(&report), ["failed", "updated", "failed"]);
    let Outcome::Failed(error) = &report.outcomes[0] else { panic!("{report:?}") };
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    for index in [&old, &new] {
        let version = async |name: &str| index.get(&id(name)).await.expect("a get").and_then(|found| found.version());
        assert_eq!((version("fresh").await, version("0002").await, version("0003").await), (None, Some(98), Some(13)));
    }
}

/// Whichever handle is asked to show it.
pub(super) async fn a_refresh_shows_what_was_written_by_every_handle(backend: &impl SearchBackend) {
    let old = backend.service().await;
    let new = reindex(&old).run().await.expect("a reindex").index;
    for (writer, shower, name) in [(&old, &new, "a"), (&new, &old, "b")] {
        let queued = BulkOptions::default().with_durability(Durability::Queued);
        let report = writer.bulk_with(vec![Operation::Upsert(record(name))], queued).await.expect("a bulk");
        report.check().expect("written");
        shower.refresh().await.expect("a refresh");
        assert_eq!(
            (ids(&**writer, Query::ids([name])).await, ids(&**shower, Query::ids([name])).await),
            (vec![name.to_owned()], vec![name.to_owned()])
        );
    }
}

/// Of two that run at once, and of one that comes behind a rollback.
pub(super) async fn a_reindex_that_somebody_else_has_done_is_done(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 70).await;
    for done in [(); 3].map(|()| tokio::spawn(reindex(&old).run())) {
        assert_eq!(done.await.expect("no panic").expect("a reindex").generation.number, 2);
    }
    rollback(&old).await.expect("a rollback");
    put(&*old, [record("since").with("code", "Z1")]).await;
    let forward = reindex(&old).run().await.expect("forward again");
    assert_eq!((forward.generation.number, forward.written), (2, 0));
    assert_eq!(found(&*forward.index, Query::term("icd", "z1")).await, ["since"]);
}

/// What goes on behind its deadline may have been done.
pub(super) async fn a_change_of_generations_that_is_late_is_in_doubt(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 10).await;
    let late = |outcome: statehouse_core::Result<()>| match outcome {
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}"),
    };
    let none = || GenerationOptions::default().with_deadline(Duration::ZERO);
    let renamed = BeginOptions::default().with_renamed("code", "icd");
    late(old.begin_with(next(), renamed.clone().with_deadline(Duration::ZERO)).await.map(drop));
    old.begin_with(next(), renamed).await.expect("begun");
    late(old.copy_with(vec![id("0001")], none()).await.map(drop));
    old.copy_with((0..10).map(|n| id(&format!("{n:04}"))).collect(), GenerationOptions::default())
        .await
        .expect("copied");
    late(old.activate_with(2, ActivateOptions::default().with_deadline(Duration::ZERO)).await);
    old.activate(2).await.expect("activated");
    late(old.drop_generation_with(1, none()).await);
}

pub(super) async fn who_has_no_generations_says_so(backend: &impl SearchBackend) {
    if backend.capabilities().await.has(crate::capability::REINDEX) {
        return;
    }
    let index = backend.service().await;
    assert_eq!(index.generations().await.expect_err("there are none").kind(), ErrorKind::Unsupported);
    let begun = index.begin_with(next(), BeginOptions::default()).await;
    assert_eq!(begun.expect_err("there are none").kind(), ErrorKind::Unsupported);
    let own = BulkOptions::default().with_reach(Reach::Own);
    assert_eq!(
        index.bulk_with(vec![Operation::Upsert(record("a"))], own).await.expect_err("there is one").kind(),
        ErrorKind::Unsupported
    );
    assert_eq!(found(&*index, Query::all()).await, [""; 0]);
}

/// From where it was, also where more was written and deleted meanwhile.
pub(super) async fn a_reindex_that_was_cut_off_is_gone_on_with(backend: &mut impl SearchBackend) {
    {
        let old = backend.service().await;
        load(&*old, 50).await;
        old.begin_with(next(), BeginOptions::default().with_renamed("code", "icd")).await.expect("begun");
        let half = (0..25).map(|n| id(&format!("{n:04}"))).collect();
        old.copy_with(half, GenerationOptions::default()).await.expect("copied");
        old.refresh().await.expect("a refresh");
    }
    backend.reopen().await;
    let old = backend.service().await;
    assert_eq!(old.generations().await.expect("generations")[1].state, GenerationState::Filling);
    write(&*old, vec![delete("0001", None), Operation::Upsert(old_document(30).with_version(99))])
        .await
        .check()
        .expect("written");
    let done = reindex(&old).run().await.expect("it is gone on with");
    assert_eq!((done.written, done.generation.documents), (24, 49));
    drop((old, done));
    backend.reopen().await;
    let old = backend.service().await;
    let states: Vec<_> = old.generations().await.expect("generations").iter().map(|found| found.state).collect();
    assert_eq!(states, [GenerationState::Kept, GenerationState::Live]);
    let new = old.ensure(next()).await.expect("it is there");
    assert_eq!(found(&*new, Query::term("icd", "a30")).await, ["0030"]);
    assert_eq!(found(&*old, Query::term("code", "a30")).await, ["0030"]);
}
