//! What replicas tell each other of the moment: `cargo run -p statehouse-coord --example limits`. Two handles stand for two
//! replicas; with `--features redis` and `signals::open` of a `redis:` URL they would be on two machines.

use std::sync::Arc;
use std::time::Duration;

use statehouse_coord::{Coordination, MemoryCoordStore, MemorySignals, News, Rate, WithoutStore};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let signals = Arc::new(MemorySignals::new());
    let store = || Arc::new(MemoryCoordStore::new());
    let replica = || Coordination::new(store()).with_signals(Arc::<MemorySignals>::clone(&signals));
    let (one, other) = (replica(), replica());

    // Five guesses a minute, whichever replica is asked; none while the store is away.
    let rate = Rate::new(5, Duration::from_secs(60))?;
    for (number, replica) in [&one, &other].into_iter().cycle().take(6).enumerate() {
        let decision = replica.limiter("logins", rate, WithoutStore::Closed).check("anna").await?;
        println!("guess {number}: {} {:?}", decision.is_allowed(), decision.headers().collect::<Vec<_>>());
    }

    // Failures of a quarter of an hour.
    let failures = other.counter("failures/anna").time_to_live(Duration::from_secs(900));
    println!("{} failures", failures.add(1).await?);

    // One export at a time; the work is dropped if the permit is lost.
    let permit = one.permits("exports", 1).acquire().await?.ok_or("nobody else is at work")?;
    println!("the other one may export: {}", other.permits("exports", 1).acquire().await?.is_some());
    permit.run(async { Ok::<_, statehouse_core::Error>(()) }).await?;
    permit.release().await?;

    // Whoever keeps something derived from prices drops it all at a resync, and what it is told of after that.
    let mut subscriber = other.broadcast("prices").subscribe()?;
    one.broadcast("prices").send("EUR").await?;
    for _ in 0..2 {
        match subscriber.next().await {
            Some(News::Message { message, .. }) => println!("drop the price of {}", String::from_utf8_lossy(&message)),
            Some(_) => println!("drop all prices"),
            None => break,
        }
    }
    println!("ready: {}", subscriber.is_ready());
    Ok(())
}
