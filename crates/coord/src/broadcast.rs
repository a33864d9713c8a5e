use std::sync::Arc;

use bytes::Bytes;
use statehouse_core::Result;

use crate::key::CoordKey;
use crate::signals::{Signals, SignalsExt as _, Subscriber};

/// Tells all replicas something, such as what they have to drop.
///
/// Nothing is kept: who does not listen hears nothing. Whoever derives something from what it hears reads that again, or drops
/// it, whenever it hears [`Resync`](crate::News::Resync), and is [ready](Subscriber::is_ready) once it has done so.
///
/// ```
/// use statehouse_coord::News;
/// # use statehouse_coord::{Coordination, MemoryCoordStore, MemorySignals};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()))
/// #     .with_signals(std::sync::Arc::new(MemorySignals::new()));
/// let prices = coord.broadcast("prices");
/// let mut subscriber = prices.subscribe()?;
/// prices.send("EUR").await?;
/// for _ in 0..2 {
///     match subscriber.next().await {
///         Some(News::Message { message, .. }) => println!("drop {message:?}"),
///         Some(_) => println!("drop all"),
///         None => break, // the signals are gone
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it tells nothing by itself"]
pub struct Broadcast {
    signals: Arc<dyn Signals>,
    channel: Result<CoordKey>,
}

impl Broadcast {
    /// The channel of this name, as [`CoordKey`] takes it.
    pub fn new(signals: Arc<dyn Signals>, name: &str) -> Self {
        Self { signals, channel: CoordKey::new(name) }
    }

    /// Tells all who listen: up to [`PublishOptions::MAX_MESSAGE`](crate::PublishOptions::MAX_MESSAGE) bytes.
    ///
    /// # Errors
    /// [`ErrorKind::OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown) if the answer was lost, and what else
    /// [`Signals`] may fail with.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<()> {
        self.signals.publish(self.channel()?, message).await
    }

    /// Begins to listen, in a tokio runtime. The connection is made in the background.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](statehouse_core::ErrorKind::Unsupported) if the signals cannot
    /// [subscribe](crate::capability::SUBSCRIBE); [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for
    /// the name.
    pub fn subscribe(&self) -> Result<Subscriber> {
        self.signals.subscribe(std::slice::from_ref(self.channel()?))
    }

    fn channel(&self) -> Result<&CoordKey> {
        self.channel.as_ref().map_err(Clone::clone)
    }
}
