use bytes::Bytes;
use statehouse_core::{CodecId, Envelope, EnvelopeError, Flags, Generation, SchemaId, Timestamp};

use crate::Entry;

/// The envelope of a value, for a script to stamp.
pub(super) fn value(codec: CodecId, schema: SchemaId, generation: u64, value: Bytes) -> Bytes {
    let mut envelope = Envelope::new(codec, schema, value);
    envelope.generations.push(of_cache(generation));
    envelope.encode()
}

/// The envelope of a lease, for a script to stamp.
pub(super) fn lease(schema: SchemaId, generation: u64) -> Bytes {
    let mut envelope = Envelope::new(CodecId::RAW, schema, Bytes::new());
    envelope.flags = Flags::LEASE;
    envelope.generations.push(of_cache(generation));
    envelope.encode()
}

/// What stored bytes are under a generation of the cache.
pub(super) enum Stored {
    Entry(Entry),
    /// A lease, an entry that was cleared, or what cannot be read.
    Nothing,
    /// Written under a generation that begins later: the cache was cleared, and the reader has not seen it yet.
    Later(Envelope),
}

/// Reads stored bytes. What cannot be read is a miss, and is reported as an event.
pub(super) fn open(stored: Vec<u8>, schema: SchemaId, generation: u64) -> Stored {
    match Envelope::decode(stored.into()) {
        Ok(envelope) => judge(envelope, schema, generation),
        Err(EnvelopeError::Corrupt) => unreadable("damaged"),
        Err(_) => unreadable("unknown format"),
    }
}

pub(super) fn judge(envelope: Envelope, schema: SchemaId, generation: u64) -> Stored {
    match envelope.generations[..] {
        [of] if of == of_cache(generation) => {}
        [of] if of.tag == 0 && of.generation > generation => return Stored::Later(envelope),
        _ => return Stored::Nothing,
    }
    if envelope.flags == Flags::LEASE {
        return Stored::Nothing;
    }
    if envelope.flags != Flags::NONE {
        return unreadable("unknown flags");
    }
    if envelope.schema != schema {
        return unreadable("another schema");
    }
    let stamp = envelope.stamp;
    let expires = stamp.hard_expiry.unwrap_or(Timestamp::from_micros(0));
    let entry = Entry::new(envelope.payload, stamp.version).with_codec(envelope.codec);
    Stored::Entry(entry.with_times(stamp.created, expires))
}

/// The cache as a whole is the tag 0; further tags are hashes of their names.
const fn of_cache(generation: u64) -> Generation {
    Generation { tag: 0, generation }
}

fn unreadable(reason: &'static str) -> Stored {
    tracing::warn!(name: "cache.undecodable", part = "envelope", reason, "a cached entry counts as a miss");
    Stored::Nothing
}
