//! What replicas do together, end to end: real servers, real processes that are killed, stopped and cut off, and figures
//! that decide. `cargo xtask scenarios` runs them with the numbers that they were written with; the clinic's tests run a
//! short form.

mod clocks;
mod cuts;
mod flush;
mod index;
mod leaders;
mod limit;
mod mistakes;
mod once;
mod page;
mod preload;
mod restarts;
mod row;
mod slow;
mod split;
mod stage;
mod tables;
mod ticks;

use std::path::Path;

use futures_util::future::BoxFuture;

pub use page::scenarios_page;
pub use row::{Bound, Figure, Row};
use stage::Stage;

use crate::{Failure, Servers};

type Measured<'a> = BoxFuture<'a, Result<Vec<Figure>, Failure>>;

/// Something that happens to replicas, and what must hold.
#[non_exhaustive]
pub struct Scenario {
    /// Such as `S1`.
    pub id: &'static str,
    /// What happens.
    pub title: &'static str,
    /// What must hold.
    pub criterion: &'static str,
    run: for<'a> fn(&'a Stage<'a>) -> Measured<'a>,
}

macro_rules! scenarios {
    ($($id:literal $title:literal $criterion:literal $run:path;)*) => {
        &[$(Scenario { id: $id, title: $title, criterion: $criterion, run: |stage| Box::pin($run(stage)) }),*]
    };
}

impl Scenario {
    /// All that there are.
    pub const ALL: &[Self] = scenarios! {
        "S1" "five replicas start at once on empty stores"
            "the terminology is loaded once, all become ready and tell how far it is, no warning and no error"
            preload::cold_start;
        "S1F" "two replicas share a folder and nothing else"
            "each loads its own index once, none takes over from the other, each planned time is done once"
            ticks::folder;
        "S2" "the replica that loads the terminology is stopped, and its successor is killed"
            "a successor after a stop within a second, after a kill within the lease and two seconds; it goes on from the \
             checkpoint; it is recorded as done once"
            preload::takeover;
        "S3" "a replica is killed every few seconds while people work"
            "only requests on the sockets of those killed fail; nothing acknowledged is lost, nobody is logged out"
            restarts::killed;
        "S4" "all replicas are restarted one by one while people work"
            "no request fails"
            restarts::rolling;
        "S5" "whoever holds a lock is stopped for twice its lease, while Redis is failed over under it; then Redis is flushed, and \
             the coordination moved to another store"
            "the other one leads, within the lease, the failover and three seconds, whenever it is its turn; what the stopped one \
             still writes is refused in cache, files and state; tokens rise over all of it"
            leaders::stopped;
        "S6" "the Redis of the caches is slow by two seconds, then silent, then back"
            "no request fails; from the fifth second on the 99th percentile is within a second; all are live, and use it again \
             within ten seconds"
            slow::slow;
        "S7" "one replica is cut off from the Redis of the sessions while others write"
            "it gives no stale answer, during it and after, and reads again what it remembered: once, and no other replica does"
            cuts::cut_off;
        "S9" "the OpenSearch dies while the terminology is loaded into it, and comes back"
            "meanwhile searches are answered 503 and all are live; afterwards no concept is missing or there twice, by itself"
            index::dies;
        "S12" "the replica that loads is stopped for twice its lease, and goes on then"
            "another one takes over; the first hears that its lock is lost; what is recorded is the successor's"
            preload::paused;
        "S13" "the clocks of two of three replicas are off, one ahead and one behind, by five minutes, and by fourteen in the written numbers"
            "each planned time is done once, the limit is kept, whoever logs in at one is known at all; each names its clock in \
             /ready within ten seconds"
            clocks::off;
        "S14" "something is due every five seconds, and replicas are killed"
            "each planned time is done, and kept once; none is done more often than somebody was killed over it"
            ticks::claimed;
        "S15" "one member of staff asks three replicas far more often than allowed"
            "in windows of ten seconds, what is allowed is the limit within five percent; every answer tells of it"
            limit::limited;
        "S16" "nine clients extend one table through three replicas, of which one is killed"
            "the union is kept, its revisions have no gaps, and a client can go on from any of them"
            tables::extended;
        "S17" "one request with an Idempotency-Key is sent to all replicas at once, and again after a kill"
            "it is carried out once; all else is told again, or that it is under way"
            once::answered;
        "S18" "the Redis of caches and sessions is flushed, and then set to evict"
            "whoever was logged in is asked to log in again; shared state goes on at its next revision and the terminology is \
             not loaded again, since they are in another store; /ready names the cause"
            flush::flushed;
        "S19" "a replica is started whose settings differ from the others': edition, cache, files, namespace"
            "each is named in its /ready and its log within ten seconds"
            mistakes::named;
        "S20" "one replica is cut off from the Redis of the sessions, then all, then one from everything in Redis"
            "from the fifth second on at most one percent of requests fail; if all are cut off none leaves, all are live, and a \
             request is answered 503; who does not know of the others stays"
            split::cut_off;
        "S21" "of two replicas one is stopped for longer than its lease, in turns"
            "whoever is left does what is due, however often it has lost its turn before"
            ticks::taken_in_turns;
        "S22" "replicas are added and taken away while people work"
            "no request fails"
            restarts::scaled;
    };

    /// The one with this id, in upper or lower case.
    #[must_use]
    pub fn named(id: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|scenario| scenario.id.eq_ignore_ascii_case(id))
    }

    /// Lets it happen to replicas of the program at `clinic`: in its short form, or in full.
    pub async fn run(&self, clinic: &Path, servers: &Servers, full: bool) -> Row {
        let stage = Stage { clinic, servers, full };
        let (figures, failure) = match (self.run)(&stage).await {
            Ok(figures) => (figures, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Row { id: self.id, title: self.title, criterion: self.criterion, figures, failure }
    }
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scenario").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Starts servers, and lets these scenarios happen one after the other.
///
/// # Errors
/// If a server is not installed or does not start. That a scenario fails is told in its row.
pub async fn scenarios(
    clinic: &Path,
    wanted: &[&Scenario],
    full: bool,
    say: impl Fn(&Row),
) -> Result<Vec<Row>, Failure> {
    let (clinic, servers) = (std::path::absolute(clinic)?, Servers::start().await?);
    let mut rows = Vec::new();
    for scenario in wanted {
        let row = scenario.run(&clinic, &servers, full).await;
        say(&row);
        rows.push(row);
    }
    Ok(rows)
}
