use super::*;

/// The bytes of a whole record, with the stamp that a script would write.
pub(super) fn encode(record: &Record, writer: [u8; 8]) -> Vec<u8> {
    let count = u8::try_from(record.tags.len()).unwrap();
    let mut sealed = seal(writer, record.schema, record.codec, record.flags, &record.payload).to_vec();
    sealed[13] = count;
    let hashes: Vec<u8> = record.tags.iter().flat_map(|tag| tag.hash).collect();
    let mut crc = crc32fast::Hasher::new();
    for part in [&sealed[..28], &hashes, &record.payload] {
        crc.update(part);
    }
    sealed[28..32].copy_from_slice(&crc.finalize().to_le_bytes());
    sealed.splice(32..32, hashes);
    let Record { version, created, expires, generation, .. } = *record;
    let mut out = MAGIC.to_vec();
    out.extend(u32::try_from(check(version, created, expires, generation)).unwrap().to_le_bytes());
    out.extend([version, created, expires, generation].into_iter().flat_map(u64::to_le_bytes));
    out.extend(sealed);
    out.extend(record.tags.iter().flat_map(|tag| tag.generation.to_le_bytes()));
    if count > 0 {
        let sum = record.tags.iter().fold(0, |sum, tag| (3 * sum + tag.generation) % PRIME);
        out.extend(u32::try_from(sum).unwrap().to_le_bytes());
    }
    out
}

fn sample() -> Record {
    Record {
        version: 1_795_223_382_034_413,
        created: 1_795_223_382_034_400,
        expires: 1_795_223_442_034,
        generation: 1_795_223_000_000_001,
        schema: SchemaId(3),
        codec: CodecId::JSON,
        flags: PLAIN,
        tags: Vec::new(),
        payload: Bytes::from_static(b"hello"),
    }
}

fn tagged() -> Record {
    let tag = |hash, generation| Tag { hash, generation };
    let tags = vec![tag(*b"\x01\x23\x45\x67\x89\xab\xcd\xef", 1_795_223_000_000_002), tag([0xff; 8], 7)];
    Record { tags, ..sample() }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

const GOLDEN: &str = include_str!("../../../golden/record-v1.hex");
const GOLDEN_TAGGED: &str = include_str!("../../../golden/record-v1-tagged.hex");

/// Records of this form are read by replicas of every later version.
#[test]
fn the_golden_bytes_are_what_the_table_says() {
    let golden = bytes(GOLDEN);
    assert_eq!(encode(&sample(), *b"writer-1"), golden);
    assert_eq!(Record::decode(golden.into()), Ok(sample()));
    let golden = bytes(GOLDEN_TAGGED);
    assert_eq!(encode(&tagged(), *b"writer-1"), golden);
    assert_eq!(Record::decode(golden.into()), Ok(tagged()));
}

#[test]
fn every_truncation_and_every_flipped_bit_is_noticed() {
    for good in [encode(&sample(), [7; 8]), encode(&tagged(), [7; 8])] {
        for end in 0..good.len() {
            assert!(Record::decode(good[..end].to_vec().into()).is_err(), "cut at {end}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(bad.into()).is_err(), "bit {bit}");
        }
        assert!(Record::decode([good.as_slice(), b"x"].concat().into()).is_err());
    }
}

#[test]
fn a_later_format_is_unknown_and_not_damaged() {
    let mut later = encode(&sample(), [7; 8]);
    later[3] = 2;
    assert_eq!(Record::decode(later.into()), Err(Unreadable::UnknownFormat));
}
