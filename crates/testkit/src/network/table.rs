use std::sync::Arc;

use tokio::sync::Semaphore;

use super::cell::run;
use super::fault::NetworkFault;
use super::subject::{NetworkSubject, RedisTopology};

/// How many cells run at a time. What they do is wait.
const AT_A_TIME: usize = 24;

/// How often a cell is tried again in which the verb is to succeed.
const AGAIN: u32 = 2;

/// What a topology adds is finding the server again, so that a short run has only those faults that part from it or silence it.
fn faults_of(topology: RedisTopology) -> &'static [NetworkFault] {
    use NetworkFault::{AnswersLost, BlackHole, Cut, ServerPaused};
    let soak = std::env::var_os("STATEHOUSE_SOAK").is_some_and(|value| !value.is_empty());
    if soak || topology == RedisTopology::Single {
        &NetworkFault::ALL
    } else {
        &[Cut, BlackHole, AnswersLost, ServerPaused]
    }
}

/// Runs every verb of a service in Redis of one `topology` under every [fault](NetworkFault), side by side, and prints what became of each.
///
/// In each cell the verb ends as the fault and its [effect](super::Effect) allow, within its deadline and slack for a busy
/// machine, while [`is_up`](NetworkSubject::is_up) answers within a second and slack, and says no where nothing answers. Then
/// the fault ends; the verb works again; and what it was called on is as its outcome says: what was told as done is, and what
/// was told as not done is not.
///
/// # Panics
/// Naming the cells that are otherwise.
#[expect(clippy::print_stdout, reason = "the table says how long each took")]
pub async fn network_table<S: NetworkSubject>(topology: RedisTopology) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let verbs = || S::VERBS.iter().copied().filter(|verb| S::has(*verb, topology));
    let cells = faults_of(topology).iter().flat_map(|fault| verbs().map(|verb| (*fault, verb)));
    let running: Vec<_> = cells
        .map(|(fault, verb)| {
            let places = Arc::clone(&places);
            let cell = tokio::spawn(async move {
                let _place = places.acquire().await;
                let mut cell = run::<S>(topology, fault, verb).await;
                // A server or a machine that stands still for a second leaves a call in doubt that would have passed.
                for _ in 0..AGAIN {
                    if cell.is_ok() || !fault.is_passable(S::is_large(verb)) {
                        break;
                    }
                    cell = run::<S>(topology, fault, verb).await;
                }
                cell
            });
            (fault, verb, cell)
        })
        .collect();
    let mut wrong = Vec::new();
    println!("fault, verb, outcome, took, limit, health: up and took");
    for (fault, verb, cell) in running {
        match cell.await {
            Ok(Ok(line)) => println!("{line}"),
            Ok(Err(line)) => wrong.push(line),
            Err(panicked) => wrong.push(format!("{fault:?} {verb:?}: {panicked}")),
        }
    }
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
