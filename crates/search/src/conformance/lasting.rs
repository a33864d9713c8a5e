//! Cases about what stays: through replacing, deleting, merging and opening again.

use std::collections::BTreeMap;

use super::kit::{SearchBackend, delete, found, id, ids, kinds, put, record, write};
use crate::parity::{self, Kind, Numbers};
use crate::{BulkOptions, Durability, Operation, Query, Record, SearchIndex, SearchIndexExt, SearchRequest};

/// What an index went through, and what it should hold in the end.
#[derive(Debug)]
pub struct Worn {
    living: BTreeMap<String, Record>,
    numbers: Numbers,
    next: usize,
}

impl Worn {
    /// Nothing yet; the same in every run for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { living: BTreeMap::new(), numbers: Numbers::new(seed), next: 0 }
    }

    /// What the index holds.
    #[must_use]
    pub fn living(&self) -> Vec<Record> {
        self.living.values().cloned().collect()
    }

    /// Of a hundred words, of which the first are the most frequent; also longer than what one byte can tell exactly.
    fn text(&mut self, most: usize) -> String {
        let length = 1 + self.numbers.below(most);
        let word = |_| {
            let limit = 1 + self.numbers.below(100);
            format!("word{:02}", self.numbers.below(limit))
        };
        (0..length).map(word).collect::<Vec<_>>().join(" ")
    }

    fn document(&mut self, name: &str) -> Record {
        let most = if self.numbers.below(4) == 0 { 120 } else { 12 };
        let document = record(name).with("title", self.text(most));
        if self.numbers.below(2) == 0 { document.with("synonym", self.text(60)) } else { document }
    }

    fn upsert(&mut self, name: String) -> Operation {
        let document = self.document(&name);
        self.living.insert(name, document.clone());
        Operation::Upsert(document)
    }

    fn pick(&mut self) -> Option<String> {
        let at = self.numbers.below(self.living.len());
        self.living.keys().nth(at).cloned()
    }

    /// The operations of one commit: new documents, and a tenth each of what is there replaced and deleted.
    pub fn commit(&mut self, new: usize) -> Vec<Operation> {
        let part = self.living.len() / 10;
        let mut operations = Vec::new();
        for _ in 0..part {
            if let Some(name) = self.pick() {
                operations.push(self.upsert(name));
            }
            if let Some(name) = self.pick() {
                self.living.remove(&name);
                operations.push(delete(&name, None));
            }
        }
        for _ in 0..new {
            self.next += 1;
            operations.push(self.upsert(format!("{:05}", self.next)));
        }
        operations
    }
}

/// Requests of every kind for what such an index holds.
///
/// # Panics
/// If it holds nothing.
#[must_use]
pub fn requests(living: &[Record], each: usize, seed: u64) -> Vec<SearchRequest> {
    let draw = |kind: &Kind| parity::draw(*kind, &["title", "synonym"], living, each, seed).expect("there are texts");
    Kind::ALL.iter().flat_map(draw).collect()
}

/// Replaces and deletes over twenty commits, and compares with an index of what is left.
async fn compare(backend: &impl SearchBackend, merge: bool) {
    let (index, mut worn) = (backend.service().await, Worn::new(3));
    for _ in 0..20 {
        write(&*index, worn.commit(30)).await.check().expect("every write succeeds");
    }
    if merge {
        index.merge().await.expect("merge succeeds");
    }
    assert_as_fresh(&*index, backend, &worn.living()).await;
}

async fn assert_as_fresh(index: &dyn SearchIndex, backend: &impl SearchBackend, living: &[Record]) {
    let fresh = backend.another().await;
    let fresh = fresh.service().await;
    parity::load(&*fresh, living.to_vec()).await.expect("the fresh index is written");
    let report = parity::compare(index, &*fresh, &requests(living, 20, 5)).await.expect("every search succeeds");
    assert_eq!((report.equal, &report.differences[..]), (report.runs, &[][..]), "{report:?}");
}

/// For good: a merge keeps no trace of them either.
pub(super) async fn scores_do_not_depend_on_what_was_replaced_and_deleted(backend: &impl SearchBackend) {
    compare(backend, false).await;
}

/// On every backend: in the same order, with the same scores.
pub(super) async fn scores_behind_a_merge_are_those_of_a_fresh_index(backend: &impl SearchBackend) {
    compare(backend, true).await;
}

/// Also those that were queued before, and merging twice is no error.
pub(super) async fn a_merge_leaves_every_document_as_it_was(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    index.merge().await.expect("there is nothing to merge, which is no error");
    let version =
        |name: &str, version| Operation::Upsert(record(name).with_version(version).with("rank", version as i64));
    for n in 1..5 {
        write(index, vec![version("a", n), version("b", n), version(&n.to_string(), n)])
            .await
            .check()
            .expect("written");
    }
    write(index, vec![delete("b", Some(9))]).await.check().expect("deleted");
    index.merge().await.expect("merge succeeds");
    index.merge().await.expect("merging twice succeeds");
    assert_eq!(ids(index, Query::all()).await, ["1", "2", "3", "4", "a"]);
    assert_eq!(ids(index, Query::term("rank", 4_i64)).await, ["4", "a"]);
    let stored = index.get(&id("a")).await.expect("get succeeds").expect("the document is there");
    assert_eq!(stored.version(), Some(4));
    let late = write(index, vec![version("a", 4), version("b", 8), version("1", 1)]).await;
    assert_eq!(kinds(&late), ["stale", "stale", "stale"]);
}

/// Documents, their versions, and what is found.
pub(super) async fn what_was_acknowledged_survives_a_restart(backend: &mut impl SearchBackend) {
    let document = || record("a").with_version(7).with("title", "cholera").with("code", "A00");
    put(&*backend.service().await, [document(), record("b")]).await;
    write(&*backend.service().await, vec![delete("b", None)]).await.check().expect("deleted");
    backend.reopen().await;
    let index = &*backend.service().await;
    let stored = index.get(&id("a")).await.expect("get succeeds").expect("the document is there");
    assert_eq!((stored.version(), stored.value("code")), (Some(7), document().value("code")));
    assert_eq!(found(index, &SearchRequest::new(Query::matches("title", "cholera"))).await, ["a"]);
    assert_eq!(ids(index, Query::all()).await, ["a"]);
    assert_eq!(kinds(&write(index, vec![Operation::Upsert(record("a").with_version(7))]).await), ["stale"]);
}

/// Also where there was nothing to delete.
pub(super) async fn versions_of_deletes_survive_a_restart(backend: &mut impl SearchBackend) {
    let version = |name: &str, version| Operation::Upsert(record(name).with_version(version));
    put(&*backend.service().await, [record("a").with_version(1)]).await;
    let deletes = vec![delete("a", Some(5)), delete("b", Some(5)), delete("c", None)];
    assert_eq!(kinds(&write(&*backend.service().await, deletes).await), ["deleted", "not found", "not found"]);
    for _ in 0..2 {
        backend.reopen().await;
        let late = write(&*backend.service().await, vec![version("a", 3), version("b", 5), version("c", 1)]).await;
        assert_eq!(kinds(&late), ["stale", "stale", "stale"]);
        assert_eq!(ids(&*backend.service().await, Query::all()).await, [""; 0]);
    }
    let newer = write(&*backend.service().await, vec![version("a", 6), version("b", 6), version("c", 2)]).await;
    assert_eq!(kinds(&newer), ["created", "created", "created"]);
}

/// Whether it was committed since, and with what else was done to it.
pub(super) async fn what_was_logged_survives_a_restart(backend: &mut impl SearchBackend) {
    let logged = || BulkOptions::default().with_durability(Durability::Logged);
    let version = |name: &str, version| {
        Operation::Upsert(record(name).with_version(version).with("code", "A00").with("hidden", "searched only"))
    };
    let first = vec![version("a", 3), version("b", 3), version("c", 3)];
    let index = backend.service().await;
    index.bulk_with(first, logged()).await.expect("the bulk succeeds").check().expect("written");
    index.refresh().await.expect("refresh succeeds");
    let later = vec![version("a", 4), delete("b", Some(5)), delete("never", Some(5)), version("d", 1)];
    index.bulk_with(later, logged()).await.expect("the bulk succeeds").check().expect("written");
    drop(index);
    for _ in 0..2 {
        backend.reopen().await;
        let index = &*backend.service().await;
        let late = vec![version("a", 4), version("b", 4), version("never", 5), version("c", 2)];
        assert_eq!(kinds(&write(index, late).await), ["stale", "stale", "stale", "stale"]);
        assert_eq!(ids(index, Query::all()).await, ["a", "c", "d"]);
        assert_eq!(ids(index, Query::matches("hidden", "searched")).await.len(), 3);
        let stored = index.get(&id("a")).await.expect("get succeeds").expect("the document is there");
        assert_eq!((stored.version(), stored.value("code")), (Some(4), record("a").with("code", "A00").value("code")));
    }
}
