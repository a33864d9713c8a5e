//! What a mark is on the disk: two slots, of which the one with the greater token counts.
//!
//! A greater token takes the place of the lower one, so that whatever a crash leaves of it, the other is still there. A slot
//! that was never written, or not to its end, holds none. All numbers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | the token of the first slot |
//! | 8 | 4 | CRC-32 (IEEE 802.3) of these bytes |
//! | 12 | 8 | the token of the second slot |
//! | 20 | 4 | CRC-32 of these bytes |

use statehouse_core::Version;

/// How long a slot is.
pub(super) const SLOT: usize = 12;

/// What a slot holds.
pub(super) fn encode(token: Version) -> [u8; SLOT] {
    let (mut slot, number) = ([0; SLOT], token.get().to_le_bytes());
    slot[..8].copy_from_slice(&number);
    slot[8..].copy_from_slice(&crc32fast::hash(&number).to_le_bytes());
    slot
}

/// What both slots hold.
pub(super) fn decode(bytes: &[u8]) -> [Option<Version>; 2] {
    let slot = |at: usize| {
        let (number, check) = bytes.get(at * SLOT..(at + 1) * SLOT)?.split_first_chunk::<8>()?;
        let token = Version::new(u64::from_le_bytes(*number));
        (crc32fast::hash(number).to_le_bytes() == check).then_some(token).filter(|token| token.get() > 0)
    };
    [slot(0), slot(1)]
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use statehouse_core::hex;

    use super::*;

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let (first, second) = (Version::new(0x104), Version::new(0x103));
        let bytes = [encode(first), encode(second)].concat();
        assert_eq!(hex::encode(&bytes), "040100000000000027da1f47".to_owned() + "03010000000000003ed3da4d");
        assert_eq!(decode(&bytes), [Some(first), Some(second)]);
        for len in 0..bytes.len() {
            let cut = decode(&bytes[..len]);
            assert_eq!(cut, [Some(first).filter(|_| len >= SLOT), None], "{len}");
        }
        let mut damaged = bytes;
        damaged[3] ^= 1;
        assert_eq!(decode(&damaged), [None, Some(second)]);
        assert_eq!(decode(&[0; 2 * SLOT]), [None, None]);
    }
}
