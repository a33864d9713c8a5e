//! Exchange rates, cached for ten minutes and loaded once however many ask: `cargo run --example rates`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statehouse_cache::{Caches, MemoryConfig};

#[derive(Debug, Serialize, Deserialize)]
struct Rate {
    pair: String,
    value: f64,
}

/// Stands for a slow remote service.
#[derive(Default)]
struct Bank {
    requests: AtomicU32,
}

impl Bank {
    async fn fetch(&self, pair: &str) -> Result<Rate, std::io::Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
        match pair {
            "EUR/USD" => Ok(Rate { pair: pair.to_owned(), value: 1.0842 }),
            _ => Err(std::io::Error::other("no such pair")),
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bank = Bank::default();
    let caches = Caches::memory(MemoryConfig::default());
    let rates = caches.cache::<Rate>("rates").time_to_live(Duration::from_secs(600)).open()?;

    // Three callers at once, one request.
    let (a, b, c) = tokio::try_join!(
        rates.get_or_load("EUR/USD", || bank.fetch("EUR/USD")),
        rates.get_or_load("EUR/USD", || bank.fetch("EUR/USD")),
        rates.get_or_load("EUR/USD", || bank.fetch("EUR/USD")),
    )?;
    println!("{} {} {} after {} request", a.value, b.value, c.value, bank.requests.load(Ordering::Relaxed));

    // The rate has changed: nobody sees the old one from here on.
    rates.invalidate("EUR/USD").await?;
    let rate = rates.get_or_load("EUR/USD", || bank.fetch("EUR/USD")).await?;
    println!("{} {} after {} requests", rate.pair, rate.value, bank.requests.load(Ordering::Relaxed));

    // A failed load is an error with the loader's own error as its source, and is not cached.
    let error = rates.get_or_load("EUR/ATL", || bank.fetch("EUR/ATL")).await.unwrap_err();
    println!("{error}: {}", std::error::Error::source(&error).expect("the loader's error"));
    Ok(())
}
