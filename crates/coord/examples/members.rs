//! Replicas that know of each other: `cargo run -p statehouse-coord --example members`. Threads stand for processes, and the store
//! is in memory; with `--features redis` and `open` of a `redis:` URL they would be on several machines.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use statehouse_coord::{Coordination, Joined, Member, MemberInfo, MemberState, MemoryCoordStore, Raised};

/// Unless it is said, a store in memory and Redis have two seconds.
const HEARTBEAT: Duration = Duration::from_millis(200);

fn info(build: &str, feed: &str, newest_format: u32) -> MemberInfo {
    MemberInfo::new(build).with_fingerprint("feed", feed).with_formats("notes", 1..=newest_format)
}

/// A replica of the old build, whose process ends without a word.
fn killed(coord: Coordination) -> Result<(), Box<dyn std::error::Error>> {
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let joining = coord.with_label("old").membership().heartbeat(HEARTBEAT);
        let joined: Joined =
            runtime.block_on(joining.join(info("clinic 1", "2025-04", 1))).map_err(|e| e.to_string())?;
        std::mem::forget(joined);
        runtime.shutdown_background();
        Ok::<_, String>(())
    });
    Ok(process.join().map_err(|_| "it panicked")??)
}

fn line(members: &[Member]) -> String {
    let one = |member: &Member| format!("{} ({}, {})", member.label, member.info.build, member.info.state);
    members.iter().map(one).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    killed(coord.clone())?;

    let membership = coord.clone().with_label("new").membership().heartbeat(HEARTBEAT);
    let new = membership.join(info("clinic 2", "2026-04", 2)).await?;
    new.update(|info| info.state = MemberState::Ready)?;

    // Who is there is a hint. In what they differ is worth a line in a log.
    let mut watch = membership.watch();
    let members = watch.next().await?;
    println!("there are {}", line(&members));
    let feeds: BTreeSet<_> = members.iter().filter_map(|member| member.info.fingerprints.get("feed")).collect();
    println!("they were told to load {feeds:?}");
    assert_eq!(feeds.len(), 2);

    // As long as somebody is there who cannot read it, the new format is not written.
    let epoch = membership.epoch("notes", 1..=2);
    let Raised::Waiting(old) = epoch.raise().await? else { return Err("the old one is there".into()) };
    println!("format 2 waits for {}", line(&old));

    // It says nothing any more, and is forgotten after three heartbeats.
    while watch.next().await?.len() > 1 {}
    assert_eq!(epoch.raise().await?, Raised::Now);
    println!("format {} is written from now on", epoch.current().await?);
    let late = membership.join(info("clinic 1", "2025-04", 1)).await.unwrap_err();
    println!("who comes late with the old build hears: {late}");

    new.leave().await;
    assert!(membership.members().await?.is_empty(), "gone at once");
    Ok(())
}
