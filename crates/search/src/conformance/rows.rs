//! Cases about generations that are filled from rows.

use std::sync::Arc;

use statehouse_core::ErrorKind;

use super::evolution::{changed, found};
use super::generations::{load, next, old_document, reindex, with_checksums};
use super::kit::{SearchBackend, delete, id, kinds, put, record, write};
use crate::{
    ActivateOptions, BeginOptions, BulkOptions, Field, GenerationOptions, GenerationState, Operation, Query, Reach,
    Record, Reindex, SearchIndexExt as _, SearchRequest, Verify, rollback,
};

fn code(found: Option<Record>) -> Option<String> {
    found.and_then(|found| found.value("icd").and_then(|value| value.as_text()).map(str::to_owned))
}

/// Neither an update nor a delete, and not what has no version either.
pub(super) async fn rows_never_take_the_place_of_what_was_written_since(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 10).await;
    let begin = BeginOptions::default().with_renamed("code", "icd").with_rows();
    let filling = old.begin_with(next(), begin).await.expect("begun");
    // Behind the reading of the rows, and before they come.
    let late = vec![Operation::Upsert(old_document(1).with_version(50)), delete("0002", Some(50))];
    write(&*old, late).await.check().expect("written");
    put(&*filling, [record("0003").with("icd", "new")]).await;
    // It counts on from what the live one has, whatever the other one knows of it yet.
    assert_eq!(old.get(&id("0003")).await.expect("a get").and_then(|found| found.version()), Some(14));
    let late = write(&*filling, vec![Operation::Upsert(record("0005").with("icd", "late").with_version(3))]).await;
    assert_eq!(kinds(&late), ["stale"]);
    write(&*old, vec![delete("0004", None)]).await.check().expect("deleted");
    let rows = (0..12).map(|n| record(&format!("{n:04}")).with("icd", format!("row{n}")));
    let rows = rows.enumerate().map(|(n, row)| if n < 3 { row.with_version(n as u64 + 20) } else { row });
    let done = reindex(&old).run_from(rows).await.expect("a reindex");
    let icd = async |name: &str| {
        let found = done.index.get(&id(name)).await.expect("a get");
        found.and_then(|found| found.value("icd").and_then(|value| value.as_text()).map(str::to_owned))
    };
    let found = [
        icd("0000").await,
        icd("0001").await,
        icd("0002").await,
        icd("0003").await,
        icd("0004").await,
        icd("0011").await,
    ];
    assert_eq!(
        found.each_ref().map(Option::as_deref),
        [Some("row0"), Some("A1"), None, Some("new"), None, Some("row11")]
    );
    assert_eq!(done.index.get(&id("0001")).await.expect("a get").and_then(|found| found.version()), Some(50));
    // What rows brought is not in the other one; going back makes it so.
    assert_eq!(rollback(&done.index).await.expect("a rollback").number, 1);
    let generations = with_checksums(&*old).await;
    assert_eq!(generations[0].checksum, generations[1].checksum);
}

/// An index may be written with versions of a source and without, and the source may count far ahead.
pub(super) async fn what_was_written_without_a_version_stays_whatever_version_a_row_has(backend: &impl SearchBackend) {
    let old = backend.service().await;
    let names = ["written", "deleted", "versioned", "both", "row"];
    put(&*old, names.map(|name| record(name).with("code", "before"))).await;
    let begin = BeginOptions::default().with_renamed("code", "icd").with_rows();
    let filling = old.begin_with(next(), begin).await.expect("begun");
    put(&*old, ["written", "both"].map(|name| record(name).with("code", "since"))).await;
    put(&*filling, [record("by-its-handle").with("icd", "since")]).await;
    let versioned = ["versioned", "both"].map(|name| record(name).with("code", "since").with_version(30));
    write(&*old, vec![delete("deleted", None)]).await.check().expect("deleted");
    put(&*old, versioned).await;
    let rows = names.into_iter().chain(["by-its-handle"]).map(|name| record(name).with("icd", "row").with_version(40));
    let new = reindex(&old).run_from(rows).await.expect("a reindex").index;
    let mut held = Vec::new();
    for name in ["written", "deleted", "by-its-handle", "versioned", "both", "row"] {
        held.push(code(new.get(&id(name)).await.expect("a get")));
    }
    let held: Vec<_> = held.iter().map(Option::as_deref).collect();
    // Versions that both have are compared.
    assert_eq!(held, [Some("since"), None, Some("since"), Some("row"), Some("row"), Some("row")]);
}

/// What was copied before is none of them, and may be no more there.
pub(super) async fn rows_are_all_that_a_generation_is_filled_from(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 4).await;
    old.begin_with(next(), BeginOptions::default().with_renamed("code", "icd")).await.expect("begun");
    let all = (0..4).map(|n| id(&format!("{n:04}"))).collect();
    assert_eq!(old.copy_with(all, GenerationOptions::default()).await.expect("copied"), 4);
    let rows = ["0001", "0002"].map(|name| record(name).with("icd", "row"));
    let new = reindex(&old).run_from(rows.into_iter()).await.expect("a reindex").index;
    assert_eq!(found(&*new, Query::all()).await, ["0001", "0002"]);
    assert_eq!(code(new.get(&id("0001")).await.expect("a get")).as_deref(), Some("row"));
}

/// Also what was written again since, and what was deleted by mistake.
pub(super) async fn rows_bring_what_was_deleted_before_they_were_read(backend: &impl SearchBackend) {
    let old = backend.service().await;
    put(&*old, ["again", "gone", "late"].map(|name| record(name).with("code", "A1"))).await;
    write(&*old, vec![delete("again", None), delete("gone", None)]).await.check().expect("deleted");
    put(&*old, [record("again").with("code", "A2")]).await;
    let begin = BeginOptions::default().with_renamed("code", "icd").with_rows();
    old.begin_with(next(), begin).await.expect("begun");
    // Behind the reading of the rows, and before they come.
    write(&*old, vec![delete("late", None)]).await.check().expect("deleted");
    let rows = ["again", "gone", "late"].map(|name| record(name).with("icd", "row"));
    let new = reindex(&old).run_from(rows.into_iter()).await.expect("a reindex").index;
    for (name, wanted) in [("again", Some("row")), ("gone", Some("row")), ("late", None)] {
        assert_eq!(code(new.get(&id(name)).await.expect("a get")).as_deref(), wanted, "{name}");
    }
}

/// They may be older than those that come, and nothing says so.
pub(super) async fn rows_of_an_earlier_time_are_in_no_generation(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 3).await;
    let filling = old.begin_with(next(), BeginOptions::default().with_renamed("code", "icd").with_rows()).await;
    let own = BulkOptions::default().with_reach(Reach::Own);
    let rows = ["0001", "sold"].map(|name| Operation::Upsert(record(name).with("icd", "then")));
    filling.expect("begun").bulk_with(rows.to_vec(), own).await.expect("a bulk").check().expect("written");
    let rows = ["0001", "0002"].map(|name| record(name).with("icd", "now"));
    let new = reindex(&old).run_from(rows.into_iter()).await.expect("a reindex").index;
    assert_eq!(found(&*new, Query::all()).await, ["0001", "0002"]);
    assert_eq!(code(new.get(&id("0001")).await.expect("a get")).as_deref(), Some("now"));
}

/// A text that is only searched is no longer there to be copied.
pub(super) async fn what_is_not_stored_is_not_copied_but_comes_from_rows(backend: &impl SearchBackend) {
    let old = backend.service().await;
    put(&*old, [record("a").with("hidden", "cholera").with("size", 1_u64)]).await;
    let wanted = changed(&[("size", Some(Field::keyword("size")))], []);
    let refused = Reindex::new(Arc::clone(&old), Arc::clone(&wanted)).run().await.expect_err("it is not stored");
    assert_eq!((refused.kind(), refused.key()), (ErrorKind::Unsupported, Some("hidden")));
    let rows = ["a", "b"].map(|name| record(name).with("hidden", "cholera").with("size", "1"));
    let done = Reindex::new(Arc::clone(&old), wanted).run_from(rows.into_iter()).await.expect("a reindex");
    assert_eq!(found(&*done.index, Query::matches("hidden", "cholera")).await, ["a", "b"]);
    // The one before does not have all that the rows had, and nothing can be copied to it.
    let states: Vec<_> = old.generations().await.expect("generations").iter().map(|found| found.state).collect();
    assert_eq!(states, [GenerationState::Behind, GenerationState::Live]);
    assert_eq!(old.search(&SearchRequest::new(Query::all())).await.expect_err("behind").kind(), ErrorKind::Conflict);
    let refused = rollback(&done.index).await.expect_err("it is not stored");
    assert_eq!((refused.kind(), refused.key()), (ErrorKind::Unsupported, Some("hidden")));
    // As it is, it has what it had, and all that was written since.
    put(&*done.index, [record("c").with("hidden", "cholera").with("size", "3")]).await;
    let as_it_is = ActivateOptions::default().with_verify(Verify::Nothing);
    done.index.activate_with(1, as_it_is).await.expect("it is live");
    assert_eq!(found(&*old, Query::matches("hidden", "cholera")).await, ["a", "c"]);
    assert_eq!(found(&*old, Query::term("size", 3_u64)).await, ["c"]);
}

/// Nobody compares it with the live one before it becomes live.
pub(super) async fn what_a_generation_that_is_filled_from_rows_cannot_hold_is_in_neither(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 3).await;
    let wanted = changed(&[("title", Some(Field::keyword("title"))), ("hidden", None)], []);
    let filling = old.begin_with(wanted, BeginOptions::default().with_rows()).await.expect("begun");
    let long = record("0001").with("title", "cholera ".repeat(10_000)).with_version(99);
    assert_eq!(kinds(&write(&*old, vec![Operation::Upsert(long)]).await), ["failed"]);
    assert_eq!(old.get(&id("0001")).await.expect("a get").and_then(|found| found.version()), Some(11));
    assert!(filling.get(&id("0001")).await.expect("a get").is_none());
}
