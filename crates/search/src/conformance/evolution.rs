//! Cases about schemas that change.

use std::sync::Arc;

use statehouse_core::ErrorKind;

use super::kit::{SearchBackend, id, id_set, kinds, put, record, schema, write};
use crate::analysis::Analyzer;
use crate::{
    Field, Operation, Query, Schema, SchemaBuilder, SchemaDiff, SearchIndex, SearchIndexExt as _, SearchRequest, Sort,
};

/// The suite's schema with other fields in the place of some: none takes one away.
pub(super) fn changed(changes: &[(&str, Option<Field>)], added: impl IntoIterator<Item = Field>) -> Arc<Schema> {
    changed_from(&schema(), changes, added)
}

/// Another one with other fields in the place of some.
pub(super) fn changed_from(
    base: &Schema,
    changes: &[(&str, Option<Field>)],
    added: impl IntoIterator<Item = Field>,
) -> Arc<Schema> {
    let builder =
        base.analyzers().fold(Schema::builder(), |builder, (name, analyzer)| builder.analyzer(name, analyzer.clone()));
    let mut fields = Vec::new();
    for field in base.fields().iter().filter(|field| field.source().is_none()) {
        match changes.iter().find(|(name, _)| *name == field.name()) {
            Some((_, new)) => fields.extend(new.clone()),
            None => {
                let subs = base.fields().iter().filter(|sub| sub.source() == Some(field.name()));
                fields.push(subs.fold(field.clone(), |field, sub| field.with_sub_field(short(sub))));
            }
        }
    }
    let fields = fields.into_iter().chain(added);
    Arc::new(fields.fold(builder, SchemaBuilder::field).build().expect("the schema is valid"))
}

/// A sub-field as it was written down.
fn short(sub: &Field) -> Field {
    match sub.name() {
        "title.typed" => Field::text("typed").analyzed_by("typed").searched_by("standard").without_norms(),
        _ => Field::keyword("exact"),
    }
}

pub(super) async fn found(index: &dyn SearchIndex, query: impl Into<Query>) -> Vec<String> {
    index.refresh().await.expect("a refresh");
    id_set(index, query).await
}

/// Nor is a name of an analyzer, or one that no field uses.
pub(super) async fn the_order_of_fields_is_no_difference(backend: &impl SearchBackend) {
    let index = backend.service().await;
    let reordered = changed(&[("code", None)], schema().field("code").cloned());
    assert_eq!(index.diff(&reordered).await.expect("a diff"), SchemaDiff::Same);
    let unused = reordered.analyzers().fold(Schema::builder(), |builder, (name, analyzer)| {
        if name == "whole" {
            builder.analyzer("entire", analyzer.clone())
        } else {
            builder.analyzer(name, analyzer.clone())
        }
    });
    let unused = unused.analyzer("unused", Analyzer::whole()).field(Field::text("label").analyzed_by("entire")).build();
    let diff = index.diff(&unused.expect("a schema")).await.expect("a diff");
    assert!(matches!(diff, SchemaDiff::Additive { added, .. } if added.is_empty()));
    let same = index.ensure(reordered).await.expect("the same index");
    put(&*same, [record("a").with("code", "A00").with("rank", 1_i64)]).await;
    assert_eq!(found(&*index, Query::term("code", "a00")).await, ["a"]);
}

/// The handle of the schema before goes on, and sees nothing of it.
pub(super) async fn a_new_field_is_added_in_place(backend: &impl SearchBackend) {
    let old = backend.service().await;
    put(&*old, [record("before").with("title", "cholera").with("rank", 1_i64)]).await;
    let notes = || Field::text("notes").analyzed_by("english");
    let wanted = changed(&[], [notes(), Field::i64("beds").sortable(), Field::keyword("ward").sortable()]);
    let added = vec!["notes".to_owned(), "beds".to_owned(), "ward".to_owned()];
    assert_eq!(old.diff(&wanted).await.expect("a diff"), SchemaDiff::Additive { added, unused: vec![] });
    let new = old.ensure(Arc::clone(&wanted)).await.expect("fields are added");
    assert_eq!(new.diff(&wanted).await.expect("a diff"), SchemaDiff::Same);

    let long = "the fever of many wards and many nights of fever";
    let document = record("after").with("notes", long).with("beds", 12_i64).with("ward", "3").with("title", "fever");
    put(&*new, [document.clone(), record("short").with("notes", "fever")]).await;
    put(&*old, [record("old").with("title", "fever")]).await;
    for merged in [false, true] {
        if merged {
            new.merge().await.expect("a merge over what is with and without the fields");
        }
        // Ranked by its length, as any text.
        let fevers = new.search(&SearchRequest::new(Query::matches("notes", "fever"))).await.expect("a search");
        assert_eq!(fevers.ids(), ["short", "after"], "merged: {merged}");
        assert_eq!(found(&*new, Query::exists("notes")).await, ["after", "short"]);
        assert_eq!(found(&*new, Query::term("beds", 12_i64)).await, ["after"]);
        let sorted = new.search(&SearchRequest::new(Query::all()).with_sort(Sort::by("beds"))).await.expect("a search");
        assert_eq!(sorted.ids()[0], "after");
        assert_eq!(found(&*old, Query::all()).await, ["after", "before", "old", "short"]);
        let (by_new, by_old) = (new.get(&id("after")).await, old.get(&id("after")).await);
        assert_eq!(by_new.expect("a get").expect("it is there").value("notes"), Some(&long.into()));
        let by_old = by_old.expect("a get").expect("it is there");
        assert_eq!((by_old.value("title"), by_old.value("notes")), (Some(&"fever".into()), None));
        let hit = old.search(&SearchRequest::new(Query::ids(["after"]))).await.expect("a search").hits.remove(0);
        assert_eq!(hit.record.iter().count(), 1);
    }
    let unknown =
        old.search(&SearchRequest::new(Query::matches("notes", "fever"))).await.expect_err("it has no such field");
    assert_eq!(unknown.kind(), ErrorKind::InvalidInput);
    let refused = old.bulk(vec![Operation::Upsert(record("x").with("ward", "3"))]).await.expect("a bulk");
    assert_eq!(kinds(&refused), ["failed"]);
}

/// What is older than a delete stays away.
pub(super) async fn an_added_field_forgets_no_delete(backend: &impl SearchBackend) {
    let old = backend.service().await;
    put(&*old, [record("a").with("code", "A1").with_version(3)]).await;
    let gone = Operation::Delete { id: id("a"), version: Some(9) };
    assert_eq!(kinds(&write(&*old, vec![gone]).await), ["deleted"]);
    let new = old.ensure(changed(&[], [Field::keyword("ward")])).await.expect("a field is added");
    for index in [&old, &new] {
        let late = Operation::Upsert(record("a").with("code", "A2").with_version(5));
        assert_eq!(kinds(&write(&**index, vec![late]).await), ["stale"]);
    }
}

/// It stays for the builds that have it.
pub(super) async fn a_removed_field_is_unused_and_stays(backend: &impl SearchBackend) {
    let old = backend.service().await;
    put(&*old, [record("a").with("title", "cholera").with("rank", 1_i64)]).await;
    let wanted = changed(&[("rank", None)], []);
    let unused = vec!["rank".to_owned()];
    assert_eq!(old.diff(&wanted).await.expect("a diff"), SchemaDiff::Additive { added: vec![], unused });
    let new = old.ensure(wanted).await.expect("nothing is to be done");
    put(&*new, [record("b").with("title", "cholera")]).await;
    assert_eq!(found(&*new, Query::matches("title", "cholera")).await, ["a", "b"]);
    let by_new = new.get(&id("a")).await.expect("a get").expect("it is there");
    assert_eq!(by_new.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["title"]);
    assert_eq!(
        new.count(&Query::term("rank", 1_i64).into()).await.expect_err("no such field").kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(found(&*old, Query::term("rank", 1_i64)).await, ["a"]);
    assert_eq!(old.get(&id("a")).await.expect("a get").expect("it is there").value("rank"), Some(&1_i64.into()));
}

/// With what is different about each; and nothing is touched.
pub(super) async fn what_needs_a_reindex_is_refused_and_names_its_fields(backend: &impl SearchBackend) {
    let index = backend.service().await;
    put(&*index, [record("a").with("label", "x").with("size", 3_u64)]).await;
    for (change, reason) in [
        (("label", Some(Field::text("label"))), "\"label\" is analyzed otherwise"),
        (("size", Some(Field::keyword("size"))), "\"size\" is a keyword, and was a u64"),
        (("tag", Some(Field::keyword("tag").sortable())), "\"tag\" is now sortable"),
        (("code", Some(Field::keyword("code").sortable())), "\"code\" is normalized otherwise"),
        (
            ("label", Some(Field::text("label").analyzed_by("whole").with_sub_field(Field::keyword("exact")))),
            "\"label.exact\" is a new way",
        ),
    ] {
        let wanted = changed(&[change], []);
        let SchemaDiff::NeedsReindex { reasons } = index.diff(&wanted).await.expect("a diff") else {
            panic!("{reason}")
        };
        assert!(reasons.iter().any(|told| told.to_string().contains(reason)), "{reason}: {reasons:?}");
        let error = index.ensure(wanted).await.expect_err("it cannot be done in place");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(found(&*index, Query::term("size", 3_u64)).await, ["a"]);
}

/// Fields that were added in place are there after the index was opened again.
pub(super) async fn added_fields_survive_a_restart(backend: &mut impl SearchBackend) {
    let more = |names: &[&str]| changed(&[], names.iter().map(|name| Field::text(name).analyzed_by("english")));
    {
        let old = backend.service().await;
        put(&*old, [record("a").with("title", "cholera")]).await;
        let new = old.ensure(more(&["notes"])).await.expect("added");
        put(&*new, [record("b").with("notes", "fever")]).await;
    }
    for names in [&["notes"][..], &["notes", "remarks"], &["notes"], &["remarks"]] {
        backend.reopen().await;
        let old = backend.service().await;
        let new = old.ensure(more(names)).await.expect("they are there, or added");
        put(&*new, [record(&format!("c{}", names.len())).with(names[0].to_owned(), "fever")]).await;
        assert_eq!(found(&*old, Query::matches("title", "cholera")).await, ["a"]);
    }
    let old = backend.service().await;
    let all = old.ensure(more(&["remarks", "notes"])).await.expect("in another order");
    all.merge().await.expect("a merge");
    assert_eq!(found(&*all, Query::matches("notes", "fever")).await, ["b", "c2"]);
    assert_eq!(found(&*all, Query::matches("remarks", "fever")).await, ["c1"]);
}
