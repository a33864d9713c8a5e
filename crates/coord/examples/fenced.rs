//! A holder that is stopped for longer than its lease, and does no harm when it goes on:
//! `cargo run -p statehouse-coord --example fenced`. All of it runs in this process, in memory.

use std::sync::Arc;
use std::time::Duration;

use statehouse_coord::{Coordination, MemoryCoordStore};
use statehouse_core::{ErrorKind, Namespace};
use statehouse_filestore::{Files, MemoryFileStore};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    let exports = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("exports")?);
    let runs = coord.state::<u64>("runs");

    // Before the guard is handed out, the files and the state know its token.
    let stopped = {
        let (coord, exports, runs) = (coord.clone(), exports.clone(), runs.clone());
        std::thread::spawn(move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            let lock = coord.lock("export").guards(&exports).guards(&runs).lease(Duration::from_millis(300));
            let guard = runtime.block_on(lock.into_future())?;
            runtime.block_on(exports.put("today", "of the first").fenced(&guard).into_future())?;
            // Nothing of this process runs from here on, as if it were stopped: its lease is not renewed.
            let fence = guard.fence().clone();
            std::mem::forget(guard);
            runtime.shutdown_background();
            Ok(fence)
        })
    };
    let fence = stopped.join().map_err(|_| "it panicked")?.map_err(|error| error.to_string())?;

    let lock = coord.lock("export").guards(&exports).guards(&runs).wait(Duration::from_secs(10));
    let guard = lock.await?;
    println!("token {} follows {}", guard.token(), fence.token());

    // It goes on, and does not know. The second has written nothing yet.
    let late = exports.put("today", "of the first, late").fenced(&fence).await.unwrap_err();
    println!("files: {late}");
    assert_eq!(late.kind(), ErrorKind::Fenced);
    let late = runs.fenced(&fence).update("export", |_| 0).await.unwrap_err();
    println!("state: {late}");

    exports.put("today", "of the second").fenced(&guard).await?;
    runs.fenced(&guard).update("export", |before| before.unwrap_or(0) + 1).await?;
    println!("today is {:?}", exports.get("today").bytes().await?);
    guard.release().await?;
    Ok(())
}
