//! Records whose names are many and come only once.

use sha2::{Digest as _, Sha256};
use statehouse_core::{Result, hex};

use crate::api::{CoordStore, CoordStoreExt as _};
use crate::capability::{SERVER_TIME, SWEEPS};
use crate::key::CoordKey;
use crate::lock::durable;

/// What the names of the records of answered requests begin with.
pub(crate) const REQUESTS: &str = "idempotency";

/// And those of tokens that were used.
pub(crate) const USED: &str = "used";

/// All of them.
pub(crate) const OF_STRANGERS: [&str; 2] = [REQUESTS, USED];

/// Whether a record is one of those of which strangers say how many there are.
pub(crate) fn is_of_strangers(key: &CoordKey) -> bool {
    key.as_str().split_once('/').is_some_and(|(kind, _)| kind == REQUESTS || kind == USED)
}

/// Refuses a store where such records would stay for good, and one that may forget them.
pub(crate) async fn can_expire(store: &dyn CoordStore) -> Result<()> {
    let lets_go = || [SERVER_TIME, SWEEPS].into_iter().any(|capability| store.capabilities().has(capability));
    if !lets_go() {
        // What a store can do may be known only once it was asked.
        store.now().await?;
        if !lets_go() {
            store.capabilities().require(SWEEPS)?;
        }
    }
    durable(store)
}

/// The name of a record that stands for all these texts: it tells none of them.
pub(crate) fn hashed_key(kind: &str, name: &str, texts: &[&[u8]]) -> Result<CoordKey> {
    CoordKey::new(format!("{kind}/{name}/{}", hex::encode(&digest(texts))))
}

/// Of texts of which none can be taken for a part of another.
pub(crate) fn digest(texts: &[&[u8]]) -> [u8; 32] {
    begun(texts).finalize().into()
}

/// The same of these texts and a long one, between whose pieces others have their turn.
#[cfg(feature = "tower")]
pub(crate) async fn long_digest(texts: &[&[u8]], long: &[u8]) -> [u8; 32] {
    /// A millisecond of a slow processor.
    const PIECE: usize = 64 << 10;
    let mut hash = begun(texts);
    hash.update((long.len() as u64).to_le_bytes());
    for piece in long.chunks(PIECE) {
        hash.update(piece);
        if piece.len() == PIECE {
            tokio::task::yield_now().await;
        }
    }
    hash.finalize().into()
}

fn begun(texts: &[&[u8]]) -> Sha256 {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_all_its_texts_and_tells_none_of_them() {
        let key = |texts: &[&[u8]]| hashed_key("used", "links", texts).unwrap();
        assert_eq!(key(&[b"ab", b"c"]), key(&[b"ab", b"c"]));
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_ne!(key(&[b"ab"]), key(&[b"ab", b""]));
        assert_eq!(key(&[b""]).as_str().len(), "used/links/".len() + 64);
    }

    #[cfg(feature = "tower")]
    #[tokio::test]
    async fn a_long_text_is_hashed_in_pieces_as_it_is_in_one() {
        for len in [0, 1, 64 << 10, (1 << 20) + 1] {
            let long = vec![7; len];
            assert_eq!(long_digest(&[b"POST", b"/"], &long).await, digest(&[b"POST", b"/", &long]), "{len}");
        }
    }
}
