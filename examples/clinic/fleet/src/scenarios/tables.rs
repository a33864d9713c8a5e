//! Tables that every replica extends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::row::Figure;
use super::stage::{Stage, balanced};
use crate::Failure;
use crate::visitor::Visitor;

const CLIENTS: usize = 9;
const WORDS: [&str; 12] = [
    "diabetes",
    "fracture",
    "asthma",
    "hypertension",
    "infection",
    "arthritis",
    "pneumonia",
    "migraine",
    "burn",
    "anemia",
    "ulcer",
    "hernia",
];

pub(super) async fn extended(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let fleet = stage.fleet(3, &[]).await?;
    let balancer = balanced(&fleet).await?;
    let codes = codes(&fleet.addresses(), if stage.full { 180 } else { 90 }).await?;
    let name = format!("union-{}", std::process::id());
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let own: Vec<_> = codes.iter().skip(client).step_by(CLIENTS).cloned().collect();
        let person = Visitor::log_in(&[balancer.address()], client).await?;
        clients.push(tokio::spawn(extend_all(person, name.clone(), own)));
    }
    sleep(Duration::from_millis(700)).await;
    fleet.replicas()[1].kill();
    sleep(Duration::from_secs(1)).await;
    fleet.replicas()[1].restart().await;
    let mut acknowledged = 0;
    for client in clients {
        acknowledged += client.await??;
    }
    let mut reader = Visitor::log_in(&fleet.addresses(), 0).await?;
    let (revision, whole) = since(&mut reader, &name, 0).await?;
    let revisions: BTreeSet<_> = whole.values().copied().collect();
    let mut wrong = 0;
    for known in 0..=revision {
        let (now, came) = since(&mut reader, &name, known).await?;
        let expected: BTreeMap<_, _> = whole.iter().filter(|(_, came)| **came > known).collect();
        wrong += usize::from(now != revision || !came.iter().eq(expected));
    }
    let lost = codes.iter().filter(|code| !whole.contains_key(*code)).count();
    let gaps = (1..=revision).filter(|number| !revisions.contains(number)).count();
    Ok(vec![
        Figure::is("codes acknowledged", acknowledged, codes.len()),
        Figure::is("codes lost", lost, 0),
        Figure::at_least("revisions", usize::try_from(revision)?, CLIENTS),
        Figure::is("revisions missing", gaps, 0),
        Figure::is("revisions from which a client cannot go on", wrong, 0),
    ])
}

/// Sends each code until it is acknowledged.
async fn extend_all(mut person: Visitor, name: String, codes: Vec<String>) -> Result<usize, Failure> {
    let deadline = Instant::now() + Duration::from_secs(120);
    for code in &codes {
        while let Err(error) = person.extend(&name, code).await {
            if Instant::now() > deadline {
                return Err(error);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(codes.len())
}

pub(super) async fn codes(replicas: &[SocketAddr], count: usize) -> Result<Vec<String>, Failure> {
    let (mut person, mut codes) = (Visitor::log_in(replicas, 0).await?, BTreeSet::new());
    for word in WORDS {
        let found = person.json(&format!("/api/concepts?q={word}")).await?;
        let hits = found["hits"].as_array().into_iter().flatten();
        codes.extend(hits.filter_map(|hit| hit["code"].as_str().map(str::to_owned)));
    }
    if codes.len() < count {
        return Err(format!("only {} codes were found", codes.len()).into());
    }
    Ok(codes.into_iter().take(count).collect())
}

/// The set's revision, and the codes that came after a revision.
pub(super) async fn since(
    reader: &mut Visitor,
    name: &str,
    known: u64,
) -> Result<(u64, BTreeMap<String, u64>), Failure> {
    let set = reader.json(&format!("/api/problem-sets/{name}?since={known}")).await?;
    let codes = set["codes"].as_array().into_iter().flatten();
    let codes = codes.filter_map(|code| Some((code["code"].as_str()?.to_owned(), code["revision"].as_u64()?)));
    Ok((set["revision"].as_u64().ok_or("a set has no revision")?, codes.collect()))
}
