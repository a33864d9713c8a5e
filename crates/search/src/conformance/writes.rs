//! Cases about writes, versions and visibility.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::ErrorKind;

use super::evolution::changed;
use super::kit::{SearchBackend, delete, found, id, ids, kinds, put, put_titles, record, write};
use crate::{
    BulkOptions, Durability, Field, GetOptions, MAX_TERM_LEN, MergeOptions, Operation, Outcome, Query, Refresh,
    RefreshOptions, SearchIndexExt, SearchOptions, SearchRequest, Value, Write,
};

/// Every type, several values, order within a field.
pub(super) async fn a_written_document_is_returned_as_it_was_given(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let given = record("a")
        .with_version(7)
        .with("title", "Straße  \u{1F469}\u{200D}\u{2695}\u{FE0F} \"quoted\" \\ \n")
        .with("synonym", "second")
        .with("synonym", "first")
        .with("code", "A00.0")
        .with("rank", i64::MIN)
        .with("size", u64::MAX)
        .with("ratio", 0.1)
        .with("leaf", true)
        .with("day", Value::Date(-1))
        .with("note", "kept");
    put(index, [given.clone().with("hidden", "searched only")]).await;
    let stored = index.get(&id("a")).await.expect("get succeeds").expect("the document is there");
    assert_eq!(stored.version(), Some(7));
    for field in ["title", "synonym", "code", "rank", "size", "ratio", "leaf", "day", "note"] {
        assert!(stored.values(field).eq(given.values(field)), "{field}");
    }
    assert_eq!(stored.values("hidden").count(), 0);
    assert_eq!(ids(index, Query::matches("hidden", "searched")).await, ["a"]);
    let response = index.search(&SearchRequest::new(Query::all())).await.expect("the search succeeds");
    assert!(response.hits[0].record.values("synonym").eq(given.values("synonym")));
    assert_eq!(response.hits[0].record.version(), Some(7));
}

/// Neither an error nor an empty document.
pub(super) async fn a_missing_document_is_none(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    assert_eq!(index.get(&id("absent")).await.expect("get succeeds"), None);
}

/// Get is realtime.
pub(super) async fn a_get_sees_a_write_before_searches_do(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let queued = BulkOptions::default().with_durability(Durability::Queued);
    for rank in 0..3_i64 {
        let operation = Operation::Upsert(record("a").with("rank", rank));
        index
            .bulk_with(vec![operation], queued.clone())
            .await
            .expect("the bulk succeeds")
            .check()
            .expect("every write succeeds");
        let stored = index.get(&id("a")).await.expect("get succeeds").expect("the document is there");
        assert_eq!(stored.value("rank"), Some(&Value::I64(rank)));
    }
}

/// Get is realtime for deletes too.
pub(super) async fn a_get_sees_a_delete_before_searches_do(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(index, [record("a")]).await;
    let queued = BulkOptions::default().with_durability(Durability::Queued);
    index
        .bulk_with(vec![delete("a", None)], queued)
        .await
        .expect("the bulk succeeds")
        .check()
        .expect("every write succeeds");
    assert_eq!(index.get(&id("a")).await.expect("get succeeds"), None);
}

/// Both ways of waiting.
pub(super) async fn a_search_sees_a_write_that_waited_for_it(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    for (name, refresh) in [("a", Refresh::Wait), ("b", Refresh::Now)] {
        let operation = Operation::Upsert(record(name).with("tag", name));
        let options = BulkOptions::default().with_refresh(refresh);
        index
            .bulk_with(vec![operation], options)
            .await
            .expect("the bulk succeeds")
            .check()
            .expect("every write succeeds");
        assert_eq!(ids(index, Query::term("tag", name)).await, [name]);
    }
}

/// What came too late shows what was there before: a bulk that is sent twice is as visible as one that is sent once.
pub(super) async fn a_search_sees_what_a_stale_write_that_waited_found(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    for (version, refresh) in [(1, Refresh::Wait), (2, Refresh::Now)] {
        let operations = || vec![Operation::Upsert(record("a").with_version(version).with("tag", "x"))];
        let bulk = |refresh| index.bulk_with(operations(), BulkOptions::default().with_refresh(refresh));
        bulk(Refresh::None).await.expect("the bulk succeeds").check().expect("every write succeeds");
        assert_eq!(kinds(&bulk(refresh).await.expect("the bulk succeeds")), ["stale"]);
        let found = index.search(&Query::term("tag", "x").into()).await.expect("the search succeeds");
        assert_eq!(found.hits[0].record.version(), Some(version));
    }
}

/// Whatever the write said.
pub(super) async fn refresh_makes_queued_writes_visible(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let queued = BulkOptions::default().with_durability(Durability::Queued);
    index
        .bulk_with(vec![Operation::Upsert(record("a"))], queued)
        .await
        .expect("the bulk succeeds")
        .check()
        .expect("every write succeeds");
    index.refresh().await.expect("refresh succeeds");
    assert_eq!(ids(index, Query::all()).await, ["a"]);
}

/// One after another, behind and before those of another durability, and many at a time.
pub(super) async fn a_logged_write_is_seen_and_answered_as_any_other(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let logged = || BulkOptions::default().with_durability(Durability::Logged);
    let queued = || BulkOptions::default().with_durability(Durability::Queued);
    let version = |name: &str, version| Operation::Upsert(record(name).with_version(version).with("tag", "x"));
    let steps = [
        (logged(), vec![version("a", 5), delete("a", Some(6)), version("b", 1)], ["created", "deleted", "created"]),
        (queued(), vec![version("a", 6), version("b", 2), version("c", 9)], ["stale", "updated", "created"]),
        (logged(), vec![version("b", 2), version("c", 8), delete("d", Some(3))], ["stale", "stale", "not found"]),
        (queued(), vec![version("d", 3), delete("c", Some(10)), version("e", 1)], ["stale", "deleted", "created"]),
        (logged(), vec![version("c", 10), version("a", 7), delete("e", None)], ["stale", "created", "deleted"]),
        (
            logged().with_refresh(Refresh::Wait),
            vec![version("f", 1), version("f", 2), version("e", 1)],
            ["created", "updated", "stale"],
        ),
    ];
    for (options, operations, expected) in steps {
        let report = index.bulk_with(operations, options).await.expect("the bulk succeeds");
        assert_eq!(kinds(&report), expected);
    }
    let there = async |name: &str| index.get(&id(name)).await.expect("get succeeds").and_then(|found| found.version());
    let versions = [there("a").await, there("b").await, there("c").await, there("e").await, there("f").await];
    assert_eq!(versions, [Some(7), Some(2), None, None, Some(2)]);
    assert_eq!(ids(index, Query::term("tag", "x")).await, ["a", "b", "f"]);
    let wrong = Operation::Upsert(record("g").with("rank", "no number"));
    let report = index.bulk_with(vec![version("h", 1), wrong], logged()).await.expect("the bulk succeeds");
    assert_eq!(kinds(&report), ["created", "failed"]);
}

/// Fields are not merged.
pub(super) async fn an_upsert_replaces_the_whole_document(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(index, [record("a").with("title", "cholera").with("rank", 1_i64)]).await;
    put(index, [record("a").with("title", "typhoid")]).await;
    assert_eq!(ids(index, Query::matches("title", "cholera")).await, [""; 0]);
    assert_eq!(ids(index, Query::matches("title", "typhoid")).await, ["a"]);
    let stored = index.get(&id("a")).await.expect("get succeeds").expect("the document is there");
    assert_eq!(stored.value("rank"), None);
}

/// In one bulk and over several.
pub(super) async fn outcomes_say_created_updated_deleted_and_not_found(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let upsert = || Operation::Upsert(record("a"));
    let report = write(index, vec![upsert(), upsert(), delete("a", None), delete("a", None), upsert()]).await;
    assert_eq!(kinds(&report), ["created", "updated", "deleted", "not found", "created"]);
    let report = write(index, vec![upsert(), delete("a", None), delete("b", None)]).await;
    assert_eq!(kinds(&report), ["updated", "deleted", "not found"]);
}

/// Nor the same version.
pub(super) async fn an_older_version_never_replaces_a_newer_one(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let version = |version| vec![Operation::Upsert(record("a").with_version(version).with("rank", version as i64))];
    assert_eq!(kinds(&write(index, version(5)).await), ["created"]);
    assert_eq!(kinds(&write(index, version(4)).await), ["stale"]);
    assert_eq!(kinds(&write(index, version(5)).await), ["stale"]);
    assert_eq!(kinds(&write(index, version(9)).await), ["updated"]);
    let stored = index.get(&id("a")).await.expect("get succeeds").expect("the document is there");
    assert_eq!((stored.version(), stored.value("rank")), (Some(9), Some(&Value::I64(9))));
    assert_eq!(ids(index, Query::term("rank", 9_i64)).await, ["a"]);
}

/// The document stays.
pub(super) async fn an_older_delete_removes_nothing(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(index, [record("a").with_version(5)]).await;
    assert_eq!(kinds(&write(index, vec![delete("a", Some(5))]).await), ["stale"]);
    assert!(index.get(&id("a")).await.expect("get succeeds").is_some());
    assert_eq!(kinds(&write(index, vec![delete("a", Some(6))]).await), ["deleted"]);
    assert_eq!(ids(index, Query::all()).await, [""; 0]);
}

/// Also where there was nothing to delete yet.
pub(super) async fn a_deleted_document_does_not_come_back_by_an_older_write(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let version = |name: &str, version| Operation::Upsert(record(name).with_version(version));
    put(index, [record("a").with_version(1)]).await;
    let report = write(index, vec![delete("a", Some(3)), delete("b", Some(3))]).await;
    assert_eq!(kinds(&report), ["deleted", "not found"]);
    let report = write(index, vec![version("a", 2), version("b", 2)]).await;
    assert_eq!(kinds(&report), ["stale", "stale"]);
    assert_eq!(ids(index, Query::all()).await, [""; 0]);
    let report = write(index, vec![version("a", 4), version("b", 4)]).await;
    assert_eq!(kinds(&report), ["created", "created"]);
}

/// So that it is never stale.
pub(super) async fn a_write_without_a_version_counts_on(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(index, [record("a").with_version(5)]).await;
    let report = write(index, vec![Operation::Upsert(record("a"))]).await;
    assert!(matches!(report.outcomes[..], [Outcome::Updated { version: 6 }]), "{report:?}");
    let report = write(index, vec![Operation::Upsert(record("b"))]).await;
    assert!(matches!(report.outcomes[..], [Outcome::Created { version: 1 }]), "{report:?}");
}

/// So that who mixes both kinds is told.
pub(super) async fn a_delete_without_a_version_counts_on_from_nothing(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let version = |version| vec![Operation::Upsert(record("a").with_version(version))];
    assert_eq!(kinds(&write(index, vec![delete("a", None)]).await), ["not found"]);
    let first = write(index, version(1)).await;
    assert_eq!(kinds(&first), ["stale"]);
    assert_eq!(first.check().expect_err("it is not there").kind(), ErrorKind::Conflict);
    assert_eq!(index.get(&id("a")).await.expect("get succeeds"), None);
    assert_eq!(kinds(&write(index, version(2)).await), ["created"]);
}

/// A deletion that is replayed before the row is written again hides nothing of it.
pub(super) async fn a_delete_with_its_version_lets_the_next_one_in(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let write = |operation| Write::new(index, Ok(vec![operation])).into_future();
    let version = |version| Operation::Upsert(record("a").with_version(version));
    write(delete("a", Some(1))).await.expect("there is nothing to delete, which is no error");
    write(version(2)).await.expect("it is newer than the delete");
    assert_eq!(index.get(&id("a")).await.expect("get succeeds").expect("it is there").version(), Some(2));
    let replayed = write(delete("a", Some(1))).await.expect_err("it is older than the row");
    assert_eq!((replayed.kind(), replayed.key()), (ErrorKind::Conflict, Some("a")));
    assert!(index.get(&id("a")).await.expect("get succeeds").is_some());
    write(delete("a", Some(3))).await.expect("it is newer than the row");
    assert_eq!(index.get(&id("a")).await.expect("get succeeds"), None);
}

/// Whether it failed or came too late.
pub(super) async fn a_bulk_with_an_operation_that_was_not_applied_does_not_pass_its_check(
    backend: &impl SearchBackend,
) {
    let index = &*backend.service().await;
    put(index, [record("a").with_version(5)]).await;
    let good = || Operation::Upsert(record("b"));
    let late = write(index, vec![good(), Operation::Upsert(record("a").with_version(5))]).await;
    assert_eq!((kinds(&late), late.stale().collect::<Vec<_>>()), (vec!["created", "stale"], vec![1]));
    assert_eq!(late.check().expect_err("one came too late").kind(), ErrorKind::Conflict);
    let failed = write(index, vec![good(), Operation::Upsert(record("c").with("unknown", "x")), good()]).await;
    assert_eq!(failed.check().expect_err("one failed").kind(), ErrorKind::InvalidInput);
    let both =
        vec![Operation::Upsert(record("a").with_version(1)), Operation::Upsert(record("c").with("unknown", "x"))];
    let error = write(index, both).await.check().expect_err("none was applied");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("of 2 operations 1 failed and 1 came too late"), "{error}");
    assert!(write(index, vec![good(), delete("absent", None)]).await.check().is_ok());
}

/// The document that is missing is named, and a replay may say that it expects this.
pub(super) async fn a_typed_write_that_came_too_late_is_an_error_unless_allowed(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let write = |version| Write::new(index, Ok(vec![Operation::Upsert(record("a").with_version(version))]));
    write(2).await.expect("it is the first");
    for version in [1, 2] {
        let error = write(version).wait_until_visible().await.expect_err("a newer one is there");
        assert_eq!((error.kind(), error.key(), error.is_retryable()), (ErrorKind::Conflict, Some("a"), false));
        write(version).allow_stale().await.expect("it is allowed");
        let report = write(version).report().await.expect("the bulk succeeds");
        assert_eq!(kinds(&report), ["stale"]);
    }
    write(3).await.expect("it is newer");
    let failed = Write::new(index, Ok(vec![Operation::Upsert(record("a").with("unknown", "x"))])).allow_stale();
    assert_eq!(failed.await.expect_err("only what came too late is allowed").kind(), ErrorKind::InvalidInput);
}

/// Per id.
pub(super) async fn operations_of_one_bulk_take_effect_in_order(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let mut operations = Vec::new();
    for rank in 0..20_i64 {
        operations.push(Operation::Upsert(record("a").with("rank", rank)));
        operations.push(Operation::Upsert(record("b").with("rank", rank)));
        operations.push(delete("b", None));
    }
    write(index, operations).await.check().expect("every write succeeds");
    let stored = index.get(&id("a")).await.expect("get succeeds").expect("the document is there");
    assert_eq!(stored.value("rank"), Some(&Value::I64(19)));
    assert_eq!(ids(index, Query::all()).await, ["a"]);
}

/// The others are written.
pub(super) async fn one_bad_document_fails_alone(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let operations = vec![
        Operation::Upsert(record("a")),
        Operation::Upsert(record("b").with("unknown", "x")),
        Operation::Upsert(record("c").with("rank", "not a number")),
        Operation::Upsert(record("d").with("ratio", f64::NAN)),
        Operation::Upsert(record("e").with("code", "x".repeat(40_000))),
        Operation::Upsert(record("f")),
    ];
    let report = write(index, operations).await;
    assert_eq!(kinds(&report), ["created", "failed", "failed", "failed", "failed", "created"]);
    let failed: Vec<_> = report.failures().map(|(place, error)| (place, error.kind())).collect();
    let bad = ErrorKind::InvalidInput;
    assert_eq!(failed, [(1, bad), (2, bad), (3, bad), (4, ErrorKind::TooLarge)]);
    assert_eq!(ids(index, Query::all()).await, ["a", "f"]);
}

/// Whatever makes it: a keyword, a sub-field, a text that is one term. What counts are the bytes of the term, not of the
/// text.
pub(super) async fn a_term_over_the_limit_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let longest = "É".repeat(MAX_TERM_LEN / 2);
    let operations = vec![
        Operation::Upsert(record("a").with("label", &*longest)),
        Operation::Upsert(record("b").with("label", format!("{longest}x"))),
        Operation::Upsert(record("c").with("tag", &*longest)),
        Operation::Upsert(record("d").with("tag", format!("{longest}x"))),
        Operation::Upsert(record("e").with("code", format!("{longest}x"))),
        Operation::Upsert(record("f").with("synonym", "two words".repeat(MAX_TERM_LEN))),
    ];
    let report = write(index, operations).await;
    assert_eq!(kinds(&report), ["created", "failed", "created", "failed", "created", "failed"]);
    let failed: Vec<_> = report.failures().map(|(place, error)| (place, error.kind())).collect();
    assert_eq!(failed, [1, 3, 5].map(|place| (place, ErrorKind::TooLarge)));
    assert_eq!(ids(index, Query::term("label", &*longest)).await, ["a"]);
    assert_eq!(ids(index, Query::term("tag", &*longest)).await, ["c"]);
    assert_eq!(ids(index, Query::term("code", format!("{}X", "e".repeat(MAX_TERM_LEN / 2)))).await, ["e"]);
}

/// Nothing to do is no error.
pub(super) async fn an_empty_bulk_is_ok(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    assert!(index.bulk(Vec::new()).await.expect("the bulk succeeds").outcomes.is_empty());
}

pub(super) async fn a_store_that_works_is_up(backend: &impl SearchBackend) {
    let health = backend.service().await.health().await;
    assert!(health.is_up() && !health.backend.is_empty(), "{health:?}");
}

/// Never an empty answer.
pub(super) async fn a_closed_index_says_so(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["cholera"]).await;
    assert_eq!(found(index, &SearchRequest::new(Query::all())).await, ["0"]);
    let other = index.ensure(Arc::clone(index.schema())).await.expect("another handle");
    index.close().await.expect("close succeeds");
    index.close().await.expect("closing twice succeeds");
    let kind = ErrorKind::Unavailable;
    assert_eq!(other.search(&SearchRequest::new(Query::all())).await.unwrap_err().kind(), kind);
    assert_eq!(index.search(&SearchRequest::new(Query::all())).await.unwrap_err().kind(), kind);
    assert_eq!(index.count(&Query::all().into()).await.unwrap_err().kind(), kind);
    assert_eq!(index.get(&id("0")).await.unwrap_err().kind(), kind);
    assert_eq!(index.bulk(vec![Operation::Upsert(record("a"))]).await.unwrap_err().kind(), kind);
    assert_eq!(index.refresh().await.unwrap_err().kind(), kind);
    assert_eq!(index.merge().await.unwrap_err().kind(), kind);
    assert_eq!(index.diff(index.schema()).await.unwrap_err().kind(), kind);
    for wanted in [Arc::clone(index.schema()), changed(&[], [Field::keyword("ward")])] {
        assert_eq!(index.ensure(wanted).await.unwrap_err().kind(), kind);
    }
    assert!(!index.health().await.is_up());
}

/// Every method that does work takes one, and never hangs or panics for it.
pub(super) async fn a_call_with_a_deadline_in_the_past_ends_or_says_so(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["cholera"]).await;
    let (none, id, all) = (Duration::ZERO, id("0"), SearchRequest::new(Query::all()));
    let searched = SearchOptions::default().with_deadline(none);
    let ends = [
        index.get_with(&id, GetOptions::default().with_deadline(none)).await.map(drop),
        index.search_with(&all, searched.clone()).await.map(drop),
        index.count_with(&all.query, searched).await.map(drop),
        index.refresh_with(RefreshOptions::default().with_deadline(none)).await,
        index.merge_with(MergeOptions::default().with_deadline(none)).await,
        index
            .bulk_with(vec![Operation::Upsert(record("a"))], BulkOptions::default().with_deadline(none))
            .await
            .map(drop),
    ];
    for (at, end) in ends.into_iter().enumerate() {
        let late = [ErrorKind::Timeout, ErrorKind::OutcomeUnknown];
        assert!(
            end.as_ref().is_ok_and(|()| at < 5) || end.as_ref().is_err_and(|e| late.contains(&e.kind())),
            "{at}: {end:?}"
        );
    }
    index.refresh().await.expect("it goes on");
}
