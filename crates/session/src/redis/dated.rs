//! A rotation is dated by the server when it makes it: a request that came before that was under way, however long the rotation took to
//! get there. The script puts the time into the record, how long after its creation, and sets the record's checksum right. That is a
//! CRC-32 over all of it, and linear: each bit of the time changes it in one way, wherever else the record differs.

use crc32fast::Hasher;

/// Where the time of the rotation ends in an encoded record: 56 bytes of the envelope, 104 before it, and its 8.
const END: usize = 168;

/// The polynomial of CRC-32, lowest power first.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// By what the last of the 64 bits of that time changes the checksum of a record of so many bytes. The bit before it changes it by one step
/// more of the checksum, and so on: the script need not look at the rest.
pub(super) fn weight(length: usize) -> u32 {
    let behind = u64::try_from(length.saturating_sub(END)).unwrap_or(u64::MAX);
    let mut weight = Hasher::new_with_initial(POLYNOMIAL);
    weight.combine(&Hasher::new_with_initial_len(0, behind));
    weight.finalize()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use statehouse_core::Timestamp;

    use super::*;
    use crate::record::{Attribute, AttributeName, Delta, NewSession, Record};
    use crate::token::Token;

    /// What the script does, with its own checksums to compare with: those of a record that was encoded with another time.
    #[test]
    fn the_weight_of_a_time_makes_its_checksum() {
        let token = Token::generate().unwrap();
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let minute = Duration::from_secs(60);
        let new = NewSession::new(token.verifier_hash(), minute, minute);
        let created = Record::new(&token.key(), &new).stamped_new(now, minute);
        for length in [0, 1, 700, 70_000] {
            let value = Attribute::encode(&"x".repeat(length)).unwrap();
            let delta = Delta::new().with_set(AttributeName::new("a").unwrap(), value);
            let record = created.with_delta(&delta, now).unwrap();
            let [one, other] = [3, 0x1234_5678_9abc]
                .map(|micros| record.clone().rotated_after(Duration::from_micros(micros)).encode().unwrap());
            let check = |bytes: &[u8]| u32::from_le_bytes(bytes[52..56].try_into().unwrap());
            let (mut weight, mut expected) = (weight(one.len()), check(&one));
            for at in (0..64).rev() {
                let byte = END - 8 + at / 8;
                if ((one[byte] ^ other[byte]) >> (at % 8)) & 1 == 1 {
                    expected ^= weight;
                }
                weight = (weight >> 1) ^ ((weight & 1) * POLYNOMIAL);
            }
            assert_eq!(check(&other), expected, "{length}");
            assert_eq!((&one[56..END - 8], &one[END..]), (&other[56..END - 8], &other[END..]));
        }
    }
}
