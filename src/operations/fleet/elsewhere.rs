//! Replicas of the same program that have another namespace.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use statehouse_coord::Joined;
use statehouse_core::Result;
use tokio::sync::watch;
use tokio::time::sleep;

use super::differences::Differences;
use crate::fleet_report::{Elsewhere, program};
use crate::neighbours::Neighbours;

/// When it looks, after it has come, for those who have said since that they are there: each says so every two seconds.
/// Whoever comes with another namespace names it; those who were there before need not look often.
const LOOKS: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(4)];

const SELDOM: Duration = Duration::from_secs(600);

/// What was heard longer ago counts no more.
const RECENT: Duration = Duration::from_secs(6);

/// Says which namespace it has, and looks for others, for as long as somebody wants to know.
pub(super) async fn look(neighbours: Neighbours, own: String, build: String, found: watch::Sender<Differences>) {
    let name = match program(&build) {
        // Who names no build is told by the name of its program.
        "" => std::env::current_exe().ok().and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned())),
        program => Some(program.to_owned()),
    };
    let Some(name) = name else { return };
    let programs = BTreeSet::from([name.clone()]);
    let (mut since, mut told) = (Instant::now(), BTreeSet::new());
    let mut announced = announce(&neighbours, &name).await;
    for pause in LOOKS.into_iter().chain(std::iter::repeat(SELDOM)) {
        tokio::select! {
            () = sleep(pause) => {}
            () = found.closed() => break,
        }
        if announced.is_err() {
            announced = announce(&neighbours, &name).await;
        }
        let elsewhere = neighbours.elsewhere(&programs, Some(since)).await;
        for (other, why) in &elsewhere.unknown {
            // This user of the server may see its own namespace alone; that is said once.
            if told.insert(other.clone()) {
                tracing::info!(name: "fleet.unknown_elsewhere", namespace = other, why, "who has another namespace is not known");
            }
        }
        let line = |(other, count): (String, usize)| {
            let line =
                format!("namespace: this replica has {own:?}, and {count} of {name} on the same server have {other:?}");
            (what(&other), line)
        };
        found.send_modify(|lines| {
            // Of whom nothing is known now, what was found before stands.
            let Elsewhere { found, unknown } = elsewhere;
            let is_unknown = |known: &String| unknown.keys().any(|other| other.is_empty() || *known == what(other));
            lines.retain(|known, _| is_unknown(known));
            lines.extend(found.into_iter().map(line));
        });
        if let Some(recent) = Instant::now().checked_sub(RECENT) {
            since = since.max(recent);
        }
    }
    if let Ok(joined) = announced {
        joined.leave().await;
    }
}

/// By what a line of this namespace is known.
fn what(other: &str) -> String {
    format!("namespace: others have {other:?}")
}

async fn announce(neighbours: &Neighbours, name: &str) -> Result<Joined> {
    neighbours.directory().await?.join(neighbours.entry(name)).await
}
