use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::{Codec, Error, Namespace, Result, SchemaId};

use super::flights::Flights;
use super::tier::{Format, MemoryTier, Tier, Verify, Weigher};
use super::{Core, Settings, TypedCache};
use crate::caches::Place;
use crate::memory::{MemoryConfig, Store};
use crate::{Caches, time_to_live_millis};

/// How long a loader may take unless told otherwise.
const DEFAULT_LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The settings of a [`TypedCache`]; made by [`Caches::cache`], ended by [`open`](Self::open).
#[must_use = "nothing is opened until `open` is called"]
pub struct CacheBuilder<V> {
    caches: Caches,
    name: String,
    time_to_live: Option<Duration>,
    load_timeout: Duration,
    schema: SchemaId,
    format: Format,
    capacity: Option<u64>,
    weigher: Option<Weigher<V>>,
}

impl<V> CacheBuilder<V> {
    pub(crate) fn new(caches: Caches, name: &str) -> Self {
        Self {
            caches,
            name: name.to_owned(),
            time_to_live: None,
            load_timeout: DEFAULT_LOAD_TIMEOUT,
            schema: SchemaId::default(),
            format: Format { codec: Codec::default(), verify: Verify::Off },
            capacity: None,
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

    /// The version of `V`'s layout, 0 unless told. Raise it by one with every change of `V` that the codec cannot
    /// read across: replicas of the old and of the new layout then keep entries of their own.
    pub const fn schema(mut self, number: u32) -> Self {
        self.schema = SchemaId(number);
        self
    }

    /// How values become bytes, postcard unless told. In memory values stay as they are, and it only measures them.
    pub const fn codec(mut self, codec: Codec) -> Self {
        self.format.codec = codec;
        self
    }

    /// Sends every stored value through the codec and back, also in memory, and keeps what comes back. For tests: a
    /// type that does not survive its codec is then found before the cache moves to a server.
    pub const fn verify_codec(mut self) -> Self {
        self.format.verify = Verify::EveryValue;
        self
    }

    /// The bound for the weight of what this process holds in memory; the backend's setting unless told.
    pub const fn capacity(mut self, capacity: u64) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Weighs what is held in memory, instead of its encoded length, its key's length and about 128 bytes for the
    /// entry. The capacity is in the same unit.
    pub fn weigher(mut self, weigher: impl Fn(&str, &V) -> u64 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Arc::new(weigher));
        self
    }
}

impl<V: Serialize + DeserializeOwned + Send + Sync + 'static> CacheBuilder<V> {
    /// Opens the cache. Nothing is sent yet.
    ///
    /// A cache that is open in this process under the same name and schema is shared, with its capacity and weigher.
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) if the time to live is missing or out of range,
    /// if the name is not one or more dotted lowercase words as [`Namespace`] describes, or if the same name is open
    /// with another type or capacity.
    pub fn open(self) -> Result<TypedCache<V>> {
        let refuse = |setting: &str, reason: &str| {
            Err(Error::invalid_config(setting, format!("cache {:?}: {reason}", self.name)))
        };
        if let Err(error) = Namespace::new(&self.name) {
            return refuse("name", error.message());
        }
        let Some(time_to_live) = self.time_to_live else {
            return refuse("time_to_live", "a time to live is required");
        };
        if let Err(error) = time_to_live_millis(time_to_live).and(time_to_live_millis(self.load_timeout)) {
            return refuse("time_to_live", error.message());
        }
        let settings = Settings { time_to_live, load_timeout: self.load_timeout, format: self.format };
        let identity = (self.name.clone(), self.schema);
        let core = self.caches.clone().shared(identity, self.capacity, || self.core())?;
        Ok(TypedCache { core, settings })
    }

    fn core(self) -> Result<Core<V>> {
        let tier = match self.caches.place() {
            Place::Memory(config) => {
                let MemoryConfig { capacity, clock } = config.clone();
                let store = Store::new(self.capacity.unwrap_or(capacity), clock);
                Tier::Memory(MemoryTier { store, weigher: self.weigher })
            }
            Place::Backend(open) => Tier::Bytes(open(&self.name, self.schema)?),
        };
        Ok(Core { name: self.name.into(), tier, flights: Flights::default() })
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
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
