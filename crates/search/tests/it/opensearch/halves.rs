//! A bulk for two generations of which one takes what the other one does not: what was taken is never told as not done.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use statehouse_core::ErrorKind;
use statehouse_search::{
    BeginOptions, DocumentId, GenerationOptions, OpenSearchIndex, Operation, Outcome, SearchIndex, SearchIndexExt as _,
};

use super::stub::{Received, Stub};
use super::stubbed::text;
use super::{Scratch, config};
use crate::changed::{document, new_schema, old_schema};

/// What a real server answers.
fn relay(address: &str, request: &Received) -> (u16, String) {
    let Received { target, body, .. } = request;
    let method = if body.is_empty() { "GET" } else { "POST" };
    let kind = if target.contains("_bulk") { "application/x-ndjson" } else { "application/json" };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Two generations, and a way to them on which requests to these endpoints are refused.
struct Scene {
    scratch: Scratch,
    direct: OpenSearchIndex,
    /// Keeps the elder one where it is not live.
    _begun: Arc<dyn SearchIndex>,
    behind: OpenSearchIndex,
    refused: Arc<Mutex<Vec<&'static str>>>,
    _stub: Stub,
}

impl Scene {
    async fn new(is_active: bool) -> Self {
        let scratch = Scratch::new().await;
        let direct = scratch.open(old_schema()).await.unwrap();
        direct.bulk(vec![of(&direct, "old", 7)]).await.unwrap().check().unwrap();
        let begin = BeginOptions::default().with_renamed("title", "name");
        let begun = direct.begin_with(Arc::new(new_schema()), begin).await.unwrap();
        begun.copy_with(vec![id("old")], GenerationOptions::default()).await.unwrap();
        if is_active {
            let generations = direct.generations().await.unwrap();
            direct.activate(generations.iter().map(|found| found.number).max().unwrap()).await.unwrap();
        }
        let refused = Arc::new(Mutex::new(Vec::<&str>::new()));
        let (address, refuse) = (scratch.node.address().to_owned(), Arc::clone(&refused));
        let stub = Stub::start(move |request, _| {
            let is_refused = refuse.lock().unwrap().iter().any(|part| request.target.contains(part));
            if is_refused { (429, text("{}")) } else { relay(&address, request) }
        })
        .await;
        let parameters = "&connect_timeout=2s&timeout=2s&deadline=2s";
        let behind = OpenSearchIndex::open_live(config(&stub.address, parameters), &scratch.name).await.unwrap();
        behind.get(&id("old")).await.unwrap().unwrap();
        Self { scratch, direct, _begun: begun, behind, refused, _stub: stub }
    }

    async fn write(&self, refused: &[&'static str], operations: Vec<Operation>) -> Vec<Outcome> {
        *self.refused.lock().unwrap() = refused.to_vec();
        let outcomes = self.behind.bulk(operations).await.map(|report| report.outcomes);
        self.refused.lock().unwrap().clear();
        outcomes.unwrap()
    }

    /// The version of a document in each of the two.
    async fn versions(&self, id: &str) -> [Option<u64>; 2] {
        let mut found = [None, None];
        for (number, found) in (1..).zip(&mut found) {
            let target = format!("/{}-{number:06}/_doc/{id}", self.scratch.name);
            let (_, answer) = self.scratch.request("GET", &target, "").await;
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            *found = answer["_version"].as_u64();
        }
        found
    }

    async fn end(self) {
        drop(self._begun);
        for number in 1..=2 {
            self.scratch.request("DELETE", &format!("/{}-{number:06}", self.scratch.name), "").await;
        }
        drop(self.direct);
    }
}

fn id(text: &str) -> DocumentId {
    DocumentId::new(text).unwrap()
}

fn of(index: &OpenSearchIndex, id: &str, version: u64) -> Operation {
    Operation::Upsert(document(index.schema(), id, 1).with_version(version))
}

fn kinds(outcomes: &[Outcome]) -> Vec<Result<&'static str, ErrorKind>> {
    let kind = |outcome: &Outcome| match outcome {
        Outcome::Created { .. } => Ok("created"),
        Outcome::Updated { .. } => Ok("updated"),
        Outcome::Stale => Ok("stale"),
        Outcome::Failed(error) => Err(error.kind()),
        _ => Ok("other"),
    };
    outcomes.iter().map(kind).collect()
}

#[tokio::test]
async fn what_the_elder_generation_took_and_the_live_one_did_not_is_in_doubt() {
    let scene = Scene::new(true).await;
    let outcomes = scene.write(&["@Write"], vec![of(&scene.behind, "new", 3)]).await;
    assert_eq!(scene.versions("new").await, [Some(3), None]);
    assert_eq!(kinds(&outcomes), [Err(ErrorKind::OutcomeUnknown)]);
    // It is so whenever the live one refuses it, though the elder one takes it for late by now.
    let outcomes = scene.write(&["@Write"], vec![of(&scene.behind, "new", 3)]).await;
    assert_eq!(scene.versions("new").await, [Some(3), None]);
    assert_eq!(kinds(&outcomes), [Err(ErrorKind::OutcomeUnknown)]);
    // Sent again it is in both.
    let outcomes = scene.write(&[], vec![of(&scene.behind, "new", 3)]).await;
    assert!(outcomes.iter().all(|outcome| !matches!(outcome, Outcome::Failed(_))), "{outcomes:?}");
    assert_eq!(scene.versions("new").await, [Some(3), Some(3)]);
    scene.end().await;
}

#[tokio::test]
async fn what_nobody_can_say_of_one_operation_is_not_said_of_another() {
    let scene = Scene::new(true).await;
    let outcomes = scene.write(&["_mget"], vec![of(&scene.behind, "old", 7), of(&scene.behind, "new", 3)]).await;
    assert_eq!(kinds(&outcomes), [Err(ErrorKind::RateLimited), Ok("created")]);
    assert_eq!(scene.versions("new").await, [Some(3), Some(3)]);
    scene.end().await;
    // The same where the elder one is live.
    let scene = Scene::new(false).await;
    let outcomes = scene.write(&["_mget"], vec![of(&scene.behind, "old", 7), of(&scene.behind, "new", 3)]).await;
    assert_eq!(kinds(&outcomes), [Err(ErrorKind::RateLimited), Ok("created")]);
    assert_eq!(scene.versions("new").await, [Some(3), Some(3)]);
    scene.end().await;
}

#[tokio::test]
async fn of_two_steps_of_a_bulk_the_second_one_is_in_doubt_by_itself() {
    let scene = Scene::new(true).await;
    // Without a version, which goes to the live one; then the same document with one, which goes to the elder one first.
    let bare = Operation::Upsert(document(scene.behind.schema(), "new", 1));
    let steps = vec![bare, of(&scene.behind, "new", 9), of(&scene.behind, "more", 9)];
    let outcomes = scene.write(&["@Told.000001/_bulk"], steps).await;
    assert_eq!(scene.versions("new").await, [None, Some(1)], "{outcomes:?}");
    let kinds = kinds(&outcomes);
    assert_eq!(kinds[0], Err(ErrorKind::OutcomeUnknown), "the elder one was not told");
    assert!(kinds[1..].iter().all(|kind| *kind == Err(ErrorKind::RateLimited)), "{kinds:?}");
    scene.end().await;
}
