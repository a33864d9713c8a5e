//! The cache on Redis beside fred's client.

use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::Builder;
use fred::types::config::Config;

use crate::cache::Outcome;
use crate::cache_redis::{OPS, Sides, our_get, spread};
use crate::harness::{Bar, Case, Harness};

pub(crate) async fn run(harness: &mut Harness, sides: &Sides, url: &str) -> Outcome {
    let fred = Builder::from_config(Config::from_url(url)?).build()?;
    let driver = fred.init().await?;
    let rows = [
        (1, "redis get, typed, 64 B, 1 task"),
        (8, "redis get, typed, 64 B, 8 tasks"),
        (16, "redis get, typed, 64 B, 16 tasks"),
        (64, "redis get, typed, 64 B, 64 tasks"),
        (256, "redis get, typed, 64 B, 256 tasks"),
    ];
    for (tasks, name) in rows {
        let case = Case { service: "cache", name, peer: "fred", bar: Bar::Ratio(1.0), ops: OPS };
        let theirs = async || {
            let fred = fred.clone();
            let get = move |_: Sides, key: String| {
                let fred = fred.clone();
                async move {
                    let value: Vec<u8> = fred.get(key).await.expect("a value");
                    assert_eq!(value.len(), 64);
                }
            };
            spread(sides, tasks, get).await;
        };
        harness.compare(case, async || spread(sides, tasks, our_get).await, theirs).await;
    }
    fred.quit().await?;
    driver.await??;
    Ok(())
}
