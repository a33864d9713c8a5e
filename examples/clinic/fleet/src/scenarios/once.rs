//! A request that is sent to all replicas is carried out once.

use bytes::Bytes;
use futures_util::future::try_join_all;
use hyper::StatusCode;

use super::row::Figure;
use super::stage::Stage;
use crate::Failure;
use crate::visitor::{Answer, Visitor};

const SCAN: &[u8] = &[7; 20_000];

/// How the answers to one key went.
#[derive(Default)]
struct Count {
    carried_out: usize,
    told_again: usize,
    under_way: usize,
    other: usize,
}

impl Count {
    fn add(&mut self, answer: &Answer) {
        let replayed = answer.headers.contains_key("idempotency-replayed");
        match answer.status {
            StatusCode::CREATED if replayed => self.told_again += 1,
            StatusCode::CREATED => self.carried_out += 1,
            StatusCode::CONFLICT => self.under_way += 1,
            _ => self.other += 1,
        }
    }
}

pub(super) async fn answered(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let keys = if stage.full { 200 } else { 20 };
    let fleet = stage.fleet(3, &[]).await?;
    let (addresses, mine) = (fleet.addresses(), format!("once-{}", std::process::id()));
    let mut senders = Vec::new();
    for sender in 0..9 {
        // All are the same member of staff.
        senders.push(Visitor::log_in(&addresses[sender % 3..=sender % 3], 0).await?);
    }
    let (mut all, mut once, mut ids) = (Count::default(), 0, Vec::new());
    for key in 0..keys {
        let mut of_key = Count::default();
        for answer in try_join_all(senders.iter_mut().map(|sender| send(sender, &mine, key))).await? {
            of_key.add(&answer);
            all.add(&answer);
        }
        once += usize::from(of_key.carried_out == 1);
        ids.push(send(&mut senders[key % 9], &mine, key).await?.body);
    }

    let replica = &fleet.replicas()[0];
    replica.kill();
    replica.restart().await;
    let (mut after, mut same) = (Count::default(), 0);
    for (key, id) in ids.iter().enumerate() {
        let again = send(&mut senders[0], &mine, key).await?;
        after.add(&again);
        same += usize::from(again.body == *id);
    }
    let chart = senders[1].json(&format!("/api/patients/{PATIENT}")).await?;
    let named = |row: &&serde_json::Value| row["name"].as_str().is_some_and(|name| name.starts_with(&mine));
    let documents = chart["documents"].as_array().into_iter().flatten().filter(named).count();
    Ok(vec![
        Figure::is("keys of which one request was carried out", once, keys),
        Figure::is("documents attached", documents, keys),
        Figure::told("answers told again", all.told_again),
        Figure::told("answers that it is under way", all.under_way),
        Figure::is("other answers", all.other + after.other, 0),
        Figure::is("requests after a kill that were carried out", after.carried_out, 0),
        Figure::is("requests after a kill with the first one's answer", same, keys),
    ])
}

const PATIENT: usize = 77;

async fn send(sender: &mut Visitor, mine: &str, key: usize) -> Result<Answer, Failure> {
    let path = format!("/patients/{PATIENT}/documents?name={mine}-{key}.bin");
    let headers = [("content-type", "application/octet-stream"), ("idempotency-key", &*format!("{mine}-{key}"))];
    sender.request(hyper::Method::POST, &path, &headers, Bytes::from_static(SCAN)).await
}
