//! What the replicas say of themselves.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use statehouse_testkit::Program;
use tokio::time::timeout;

/// How long a replica may take to say it. One that is stopped says nothing.
const WITHIN: Duration = Duration::from_millis(800);

/// What one says at `/ready`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Why it is not ready, what it does without, and in what it differs from the others.
    pub(super) reasons: Vec<String>,
    /// How many replicas it sees.
    pub(super) members: Option<u64>,
}

impl Told {
    fn read(answer: &str) -> Self {
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let lists = [&answer["reasons"], &answer["degraded"], &answer["fleet"]["differences"]];
        let words = lists.into_iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
        // Each has ways of its own to the same servers.
        let words = words.filter(|word| !word.contains(".place: this replica has"));
        Self { reasons: words.map(str::to_owned).collect(), members: answer["fleet"]["members"].as_u64() }
    }
}

/// Asks all of them, those that run.
pub(super) async fn ask(replicas: &[(&Program, bool)]) -> Vec<Told> {
    join_all(replicas.iter().map(|(replica, runs)| async move {
        let asked = async { if *runs { replica.request("GET", "/ready", &[], b"").await.ok() } else { None } };
        let answer = timeout(WITHIN, asked).await.ok().flatten();
        answer.map_or_else(Told::default, |answer| Told::read(&answer.text()))
    }))
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_replica_is_not_ready_is_read_from_its_answer() {
        let answer = r#"{"status":"unready","reasons":["sessions: down"],"degraded":["cache: down"],
            "fleet":{"members":3,"differences":["edition: differs","cache.place: this replica has 1"]},"dependencies":{}}"#;
        let reasons = ["sessions: down", "cache: down", "edition: differs"].map(str::to_owned).to_vec();
        assert_eq!(Told::read(answer), Told { reasons, members: Some(3) });
        for nothing in ["", "<html>", "{}"] {
            assert_eq!(Told::read(nothing), Told::default());
        }
    }
}
