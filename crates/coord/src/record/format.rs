//! What lies in Redis or in a file under the name of a record: an [`Envelope`] of codec [`CodecId::RAW`] and schema 1.
//!
//! Of its stamp, the version is the record's, created is when it was put by the best known clock, and the hard expiry is when
//! it expires by the server's clock, in Redis; in a file there is none. A removed record has the flag [`Flags::TOMBSTONE`] and
//! no value. All numbers are little-endian. The payload is:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 16 | the id of the put |
//! | 16 | 8 | its time to live in microseconds, 0 for none |
//! | 24 | | the value |

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use statehouse_core::time::whole_micros;
use statehouse_core::{
    CodecId, Envelope, EnvelopeError, Error, ErrorKind, Flags, Result, SchemaId, Stamp, Timestamp, Version,
};

use crate::record::{Record, WriteId};

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) stamp: Stamp,
    pub(crate) is_removed: bool,
    pub(crate) id: WriteId,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) value: Bytes,
}

const SCHEMA: SchemaId = SchemaId(1);

impl Stored {
    pub(crate) fn new(id: WriteId, time_to_live: Option<Duration>, value: Bytes) -> Self {
        Self { stamp: Stamp::default(), is_removed: false, id, time_to_live, value }
    }

    /// What is left of a record that is removed: its version.
    pub(crate) fn removed(id: WriteId) -> Self {
        Self { is_removed: true, ..Self::new(id, None, Bytes::new()) }
    }

    pub(crate) fn stamped(self, version: Version, created: Timestamp) -> Self {
        Self { stamp: Stamp { version, created, ..Stamp::default() }, ..self }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(24 + self.value.len());
        payload.put_slice(self.id.as_bytes());
        payload.put_u64_le(self.time_to_live.map_or(0, whole_micros));
        payload.put_slice(&self.value);
        let flags = if self.is_removed { Flags::TOMBSTONE } else { Flags::NONE };
        Envelope { stamp: self.stamp, flags, ..Envelope::new(CodecId::RAW, SCHEMA, payload.freeze()) }.encode()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self> {
        let envelope = Envelope::decode(bytes).map_err(unreadable)?;
        if (envelope.codec, envelope.schema) != (CodecId::RAW, SCHEMA) {
            return Err(unreadable(EnvelopeError::Unknown));
        }
        let Some((head, value)) =
            envelope.payload.split_at_checked(24).map(|(head, _)| (head, envelope.payload.slice(24..)))
        else {
            return Err(unreadable(EnvelopeError::Corrupt));
        };
        let (mut id, mut micros) = ([0; 16], [0; 8]);
        id.copy_from_slice(&head[..16]);
        micros.copy_from_slice(&head[16..]);
        let micros = Some(u64::from_le_bytes(micros)).filter(|micros| *micros > 0);
        Ok(Self {
            stamp: envelope.stamp,
            is_removed: envelope.flags.contains(Flags::TOMBSTONE),
            id: WriteId::from_bytes(id),
            time_to_live: micros.map(Duration::from_micros),
            value,
        })
    }

    pub(crate) fn record(self, expires_in: Option<Duration>) -> Record {
        Record::new(self.stamp.version, self.id, self.value).with_expires_in(expires_in)
    }
}

/// What is stored under the record's name and is none.
pub(crate) fn unreadable(cause: EnvelopeError) -> Error {
    Error::new(ErrorKind::Corrupt, "what is stored here is no record of this version of statehouse").with_source(cause)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use statehouse_core::hex;

    use super::*;

    /// The bytes of every later version, too.
    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let record = Stored::new(WriteId::from_bytes([7; 16]), Some(Duration::from_micros(0x0102)), "hello".into())
            .stamped(Version::new(0x0a0b), Timestamp::from_micros(0x0c0d));
        let golden = [
            "5348010001000000", // magic, format, codec raw, schema 1
            "000000001d000000", // no flags, no generations, 29 bytes
            "0b0a000000000000", // version
            "0d0c000000000000", // created
            "0000000000000000", // no soft expiry
            "0000000000000000", // no hard expiry
        ];
        let encoded = hex::encode(&record.encode());
        assert_eq!(encoded[..96], golden.concat());
        let payload = format!("{}{}{}", "07".repeat(16), "0201000000000000", hex::encode(b"hello"));
        assert_eq!(encoded[112..], payload);
        assert_eq!(Stored::decode(record.encode()).unwrap(), record);
        let removed = Stored::removed(WriteId::from_bytes([7; 16]));
        assert_eq!(hex::encode(&removed.encode())[16..20], *"0400");
        assert_eq!(Stored::decode(removed.encode()).unwrap(), removed);
    }

    #[test]
    fn what_is_no_record_is_corrupt() {
        let record = Stored::new(WriteId::from_bytes([7; 16]), None, "hello".into()).encode();
        let short = Envelope::new(CodecId::RAW, SCHEMA, Bytes::from_static(&[0; 23])).encode();
        let other = Envelope::new(CodecId::RAW, SchemaId(2), Bytes::from_static(&[0; 30])).encode();
        for bytes in [Bytes::new(), record.slice(1..), record.slice(..60), short, other] {
            assert_eq!(Stored::decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
