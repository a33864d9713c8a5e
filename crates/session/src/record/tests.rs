use statehouse_core::{Envelope, ErrorKind};

use super::*;
use crate::token::Token;

const NOW: Timestamp = Timestamp::from_micros(1_795_223_382_034_413);
const MINUTE: Duration = Duration::from_secs(60);

fn sample_key() -> SessionKey {
    Token::parse(&"5a".repeat(32)).unwrap().key()
}

fn sample() -> Record {
    let name = |text| AttributeName::new(text).unwrap();
    let attributes = Delta::new()
        .with_set(name("theme"), Attribute::encode("dark").unwrap())
        .with_set(name("later"), Attribute::new(statehouse_core::CodecId(200), Bytes::from_static(b"\0\xff")))
        .set;
    let new = NewSession::new(VerifierHash::from_bytes([1; 32]), 20 * MINUTE, 720 * MINUTE).with_attributes(attributes);
    let record = Record::new(&sample_key(), &new).stamped_new(NOW, new.absolute_timeout);
    let renewal = Rotation::new(VerifierHash::from_bytes([2; 32]), Rotate::Renewal { grace: MINUTE });
    let login = Rotation { login: Some(Principal::new("u42").unwrap()), ..renewal };
    let mut record = record.with_rotation(&login, &Delta::new(), NOW + 3 * MINUTE);
    record.unknown.push((0x7001, Bytes::from_static(b"of a later version")));
    record
}

/// The golden file pins the format: it is read by replicas of every later version.
#[test]
fn the_golden_file_is_what_the_table_says() {
    let golden = Bytes::from_static(include_bytes!("../../golden/record-v1.bin"));
    assert_eq!(sample().encode().unwrap(), golden);
    assert_eq!(Record::decode(&sample_key(), &golden).unwrap(), sample());
}

#[test]
fn scripts_find_the_fixed_parts_where_the_offsets_say() {
    let bytes = sample().encode().unwrap();
    let at = |from: usize, len: usize| &bytes[from..from + len];
    assert_eq!(at(Envelope::STAMP_OFFSET, 8), NOW.as_micros().to_le_bytes());
    assert_eq!(at(56, 32), sample_key().as_bytes());
    assert_eq!(at(88, 32), [2; 32], "verifier");
    assert_eq!(at(120, 32), [1; 32], "previous verifier");
    assert_eq!(at(152, 8), 240_000_000_u64.to_le_bytes(), "until when it is accepted");
    assert_eq!(at(176, 8), 1_200_000_000_u64.to_le_bytes(), "idle timeout");
}

#[test]
fn what_a_later_version_wrote_is_kept_byte_for_byte() {
    let read = Record::decode(&sample_key(), &sample().encode().unwrap()).unwrap();
    let changed = read.with_delta(&Delta::new().with_removed(AttributeName::new("theme").unwrap())).unwrap();
    let again = Record::decode(&sample_key(), &changed.encode().unwrap()).unwrap();
    assert_eq!(again.unknown, sample().unknown);
    let later = AttributeName::new("later").unwrap();
    assert_eq!(again.attributes[&later], sample().attributes[&later]);
}

#[test]
fn every_truncation_and_every_flipped_bit_is_noticed() {
    let good = sample().encode().unwrap();
    for end in 0..good.len() {
        let error = Record::decode(&sample_key(), &good.slice(..end)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "cut at {end}");
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = Record::decode(&sample_key(), &bad.into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}");
    }
}

/// Damage that the checksum cannot see: payloads that were sealed so.
#[test]
fn sealed_nonsense_is_refused_and_never_panics() {
    let good = Envelope::decode(sample().encode().unwrap()).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut readable = 0;
    for _ in 0..50_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut payload = good.payload.to_vec();
        let at = usize::try_from(state % payload.len() as u64).unwrap();
        payload[at] = state.to_le_bytes()[7];
        payload.truncate(payload.len() - usize::from(state.to_le_bytes()[6] % 4));
        let sealed = Envelope { payload: payload.into(), ..good.clone() }.encode();
        readable += usize::from(Record::decode(&sample_key(), &sealed).is_ok());
    }
    assert!((1..50_000).contains(&readable), "{readable} of 50000 were readable: the damage tests nothing");
}

#[test]
fn a_record_under_another_key_is_refused() {
    let other = Token::generate().unwrap().key();
    let error = Record::decode(&other, &sample().encode().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the stored session belongs under another key");
}

#[test]
fn a_duplicate_attribute_or_principal_is_refused() {
    let principal = format::FIXED..format::FIXED + 6 + "u42".len();
    let attribute = principal.end..principal.end + 6 + "\x05later_\0\x7f".len();
    for range in [principal, attribute] {
        let mut envelope = Envelope::decode(sample().encode().unwrap()).unwrap();
        let field = envelope.payload.slice(range);
        envelope.payload = [&envelope.payload[..], &field].concat().into();
        assert_eq!(Record::decode(&sample_key(), &envelope.encode()).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_privilege_change_refuses_the_old_verifier_and_a_renewal_keeps_it_for_the_grace() {
    let (old, new) = (VerifierHash::from_bytes([2; 32]), VerifierHash::from_bytes([3; 32]));
    let at = NOW + 10 * MINUTE;
    let strict = sample().with_rotation(&Rotation::new(new, Rotate::PrivilegeChange), &Delta::new(), at);
    assert!(strict.accepts(Authority::Holder(new), at));
    assert!(!strict.accepts(Authority::Holder(old), at));
    assert!(strict.accepts(Authority::Application, at));
    let lenient = sample().with_rotation(&Rotation::new(new, Rotate::Renewal { grace: MINUTE }), &Delta::new(), at);
    assert!(lenient.accepts(Authority::Holder(old), at + (MINUTE - Duration::from_micros(1))));
    assert!(!lenient.accepts(Authority::Holder(old), at + MINUTE));
    assert_eq!(lenient.created(), NOW);
    assert_eq!(lenient.authenticated(), sample().authenticated());
    assert_eq!(lenient.rotated(), at);
}

#[test]
fn saving_moves_the_version_and_the_idle_expiry_and_nothing_else() {
    let record = sample();
    let late = NOW + 715 * MINUTE;
    let saved = record.clone().stamped_over(&record, late);
    assert_eq!(saved.version().get(), late.as_micros());
    assert_eq!(saved.created(), NOW);
    assert_eq!(saved.absolute_expiry(), NOW + 720 * MINUTE);
    assert_eq!(saved.stamp.soft_expiry, Some(NOW + 720 * MINUTE), "the idle expiry is capped by the absolute one");
    let back = record.clone().stamped_over(&record, Timestamp::from_micros(1));
    assert_eq!(back.version().get(), record.version().get() + 1);
}

#[test]
fn debug_prints_no_value() {
    let printed = format!("{:?}", sample());
    assert!(!printed.contains("dark") && !printed.contains("u42"), "{printed}");
}
