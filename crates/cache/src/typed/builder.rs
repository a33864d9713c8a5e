use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Codec, Error, Namespace, Result, SchemaId};

use super::cache::{Outage, Settings, TypedCache};
use super::core::Core;
use super::tier::{BytesTier, CacheValue, Format, Measure, MemoryTier, Tier, VerifyCodec, Weigher};
use crate::caches::Place;
use crate::memory::{Bound, Store};
use crate::{Caches, time_to_live_millis};

/// How long a loader may take unless told otherwise.
const DEFAULT_LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// From when on an answer of the store is slow, unless the cache says otherwise.
const SLOW: Duration = Duration::from_millis(500);

/// The settings of a [`TypedCache`]; made by [`Caches::cache`], ended by [`open`](Self::open).
///
/// ```
/// use std::time::Duration;
/// use statehouse_cache::{Caches, MemoryConfig, Outage};
/// use statehouse_core::Codec;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Thumbnail {
///     pixels: Vec<u8>,
/// }
///
/// let caches = Caches::memory(MemoryConfig::default());
/// let thumbnails = caches
///     .cache::<Thumbnail>("thumbnails")
///     .time_to_live(Duration::from_secs(3600))
///     .load_timeout(Duration::from_secs(5))
///     .codec(Codec::MessagePack)
///     .schema(2) // pixels were RGB in 1
///     .on_outage(Outage::Fail) // better none than a thousand at once
///     .capacity(16 << 20)
///     .weigher(|_, thumbnail| thumbnail.pixels.len() as u64)
///     .open()?;
/// # let _ = thumbnails;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[must_use = "nothing is opened until `open` is called"]
pub struct CacheBuilder<V> {
    caches: Caches,
    name: String,
    time_to_live: Option<Duration>,
    load_timeout: Duration,
    schema: Option<SchemaId>,
    format: Format,
    outage: Outage,
    slow_after: Option<Duration>,
    capacity: Option<u64>,
    max_entries: Option<u64>,
    weigher: Option<Weigher<V>>,
}

impl Caches {
    /// The cache of this name, to be configured and opened.
    pub fn cache<V>(&self, name: &str) -> CacheBuilder<V> {
        CacheBuilder::new(self.clone(), name)
    }
}

impl<V> CacheBuilder<V> {
    fn new(caches: Caches, name: &str) -> Self {
        Self {
            caches,
            name: name.to_owned(),
            time_to_live: None,
            load_timeout: DEFAULT_LOAD_TIMEOUT,
            schema: None,
            format: Format { codec: Codec::default(), verify: VerifyCodec::default() },
            outage: Outage::default(),
            slow_after: None,
            capacity: None,
            max_entries: None,
            weigher: None,
        }
    }

    /// How long a value lives unless the call says otherwise. Required: every value ends.
    pub const fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// How long a loader may take before it is dropped, 30 s unless told.
    pub const fn load_timeout(mut self, limit: Duration) -> Self {
        self.load_timeout = limit;
        self
    }

    /// The version of `V`'s layout, 0 unless told; a compact [codec](Self::codec) demands that it is told. Give it another
    /// number with every change of `V` that the codec cannot read across: replicas of the old and of the new layout then keep
    /// entries of their own, and a write or an invalidation under one number ends the entry under every other. In memory, which
    /// only this process sees, each number is a cache of its own, with its own capacity.
    pub const fn schema(mut self, number: u32) -> Self {
        self.schema = Some(SchemaId(number));
        self
    }

    /// How values become bytes, MessagePack unless told. In memory values stay as they are, and it only measures them.
    ///
    /// MessagePack and JSON write the names of fields and variants, so that what another version of `V` wrote is read where
    /// it can be and is a miss where it cannot ([`Codec`]). The compact codecs write none: an old entry would be misread
    /// after each change of `V`, even if fields only changed places. So they need a [`schema`](Self::schema).
    pub const fn codec(mut self, codec: Codec) -> Self {
        self.format.codec = codec;
        self
    }

    /// Whether every stored value goes through the codec and back, and what comes back is kept; in debug builds unless told.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// use statehouse_cache::{Caches, MemoryConfig, VerifyCodec};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Rate {
    ///     value: u32,
    ///     #[serde(skip)]
    ///     asked: u32, // would be lost in Redis
    /// }
    ///
    /// let caches = Caches::memory(MemoryConfig::default());
    /// let rates = caches.cache("rates").time_to_live(Duration::from_secs(60));
    /// let rates = rates.verify_codec(VerifyCodec::Always).open()?;
    /// rates.set("EUR/USD", Rate { value: 108, asked: 7 }).await?;
    /// assert_eq!(rates.get("EUR/USD").await?.map(|rate| (rate.value, rate.asked)), Some((108, 0)));
    /// # Ok(()) }
    /// ```
    pub const fn verify_codec(mut self, verify: VerifyCodec) -> Self {
        self.format.verify = verify;
        self
    }

    /// What [`get_or_load`](TypedCache::get_or_load) does while the store is away: [`Outage::Load`] unless told.
    pub const fn on_outage(mut self, outage: Outage) -> Self {
        self.outage = outage;
        self
    }

    /// From when on an answer of the store is slow, 500 ms unless told. After three slow ones in a row (a second or two, at
    /// 900 ms each) [`get_or_load`](TypedCache::get_or_load) takes the store for away, until a read is answered in time. One
    /// caller at a time tries that, every half second at most, and waits for no longer than this limit.
    ///
    /// Raise it where a load costs more than a slow answer, as for large values over a slow link. In a cluster
    /// each server counts for itself. With [`Outage::Fail`] nothing is left out.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use statehouse_cache::{Caches, MemoryConfig};
    /// # let caches = Caches::memory(MemoryConfig::default());
    /// let rates = caches.cache::<f64>("rates").time_to_live(Duration::from_secs(60));
    /// let rates = rates.slow_after(Duration::from_millis(100)).open()?; // the bank answers in 50
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    pub const fn slow_after(mut self, limit: Duration) -> Self {
        self.slow_after = Some(limit);
        self
    }

    /// The bound for the weight of what this process holds in memory; the backend's setting unless told. A value above a
    /// shard's share of it is [`TooLarge`](statehouse_core::ErrorKind::TooLarge).
    pub const fn capacity(mut self, capacity: u64) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Bounds what this process holds in memory by the number of values, whatever they weigh, in place of
    /// [`capacity`](Self::capacity).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use statehouse_cache::{Caches, MemoryConfig};
    /// # let caches = Caches::memory(MemoryConfig::default());
    /// let rates = caches.cache::<f64>("rates").time_to_live(Duration::from_secs(60)).max_entries(1_000).open()?;
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    pub const fn max_entries(mut self, entries: u64) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// Weighs what is held in memory, instead of its encoded length, its key's length and about 128 bytes for the
    /// entry. The capacity is in the same unit.
    pub fn weigher(mut self, weigher: impl Fn(&str, &V) -> u64 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Arc::new(weigher));
        self
    }
}

impl<V: CacheValue> CacheBuilder<V> {
    /// Opens the cache. Nothing is sent yet.
    ///
    /// A cache that is open in this process under the same name and schema is shared, with its capacity, weigher and limit of
    /// what is [slow](Self::slow_after).
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) if the time to live is missing or out of range, if a
    /// compact codec is chosen without a schema,
    /// if the name is not one or more dotted lowercase words as [`Namespace`] describes, or if the same name is open
    /// with another type or capacity.
    pub fn open(self) -> Result<TypedCache<V>> {
        let refuse = |setting: &str, reason: &str| {
            Err(Error::invalid_config(setting, format!("cache {:?}: {reason}", self.name)))
        };
        if let Err(error) = Namespace::new(&self.name) {
            return refuse("name", error.message());
        }
        if self.slow_after.is_some_and(|limit| limit.is_zero()) {
            return refuse("slow_after", "no store answers in no time");
        }
        let Some(time_to_live) = self.time_to_live else {
            return refuse("time_to_live", "a time to live is required");
        };
        for (setting, time) in [("time_to_live", time_to_live), ("load_timeout", self.load_timeout)] {
            if let Err(error) = time_to_live_millis(time) {
                return refuse(setting, error.message());
            }
        }
        if self.max_entries.is_some() && (self.capacity.is_some() || self.weigher.is_some()) {
            return refuse("max_entries", "it is bounded by max_entries or by capacity and weigher, not by both");
        }
        if self.schema.is_none() && !self.format.codec.is_self_describing() {
            let reason = format!("{:?} writes no names, so say which version of the type it is", self.format.codec);
            return refuse("schema", &reason);
        }
        let Self { load_timeout, outage, format, .. } = self;
        let settings = Settings { time_to_live, load_timeout, outage, format, deadline: None };
        let identity = (self.name.clone(), self.schema.unwrap_or_default());
        let core = self.caches.clone().shared(identity, self.bound(), || self.core())?;
        Ok(TypedCache { core, settings })
    }

    /// The bound, if this builder says one.
    fn bound(&self) -> Option<Bound> {
        let capacity = self.capacity.map(|capacity| self.in_own_units(Bound::Bytes(capacity)));
        self.max_entries.map(Bound::Entries).or(capacity)
    }

    fn in_own_units(&self, bound: Bound) -> Bound {
        match bound {
            Bound::Bytes(units) if self.weigher.is_some() => Bound::Units(units),
            bound => bound,
        }
    }

    fn core(self) -> Result<Core<V>> {
        let tier: Box<dyn Tier<V>> = match self.caches.place() {
            Place::Memory(config) => {
                let bound = self.bound().unwrap_or_else(|| self.in_own_units(config.bound));
                let measure = match (self.weigher, bound) {
                    (Some(weigher), _) => Measure::Own(weigher),
                    (None, Bound::Entries(_)) => Measure::Entries,
                    (None, _) => Measure::Encoded,
                };
                Box::new(MemoryTier {
                    name: (*self.name).into(),
                    store: Store::new(bound, Arc::clone(&config.clock)),
                    measure,
                })
            }
            Place::Backend(open) => {
                Box::new(BytesTier::new(open(&self.name, self.schema.unwrap_or_default())?, &self.name))
            }
        };
        Ok(Core::new(&self.name, tier, self.slow_after.unwrap_or(SLOW)))
    }
}

impl<V> fmt::Debug for CacheBuilder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("name", &self.name)
            .field("time_to_live", &self.time_to_live)
            .field("load_timeout", &self.load_timeout)
            .field("schema", &self.schema)
            .field("format", &self.format)
            .field("outage", &self.outage)
            .field("slow_after", &self.slow_after)
            .field("capacity", &self.capacity)
            .field("max_entries", &self.max_entries)
            .finish_non_exhaustive()
    }
}
