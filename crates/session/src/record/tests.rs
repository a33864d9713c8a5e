use std::time::Duration;

use bytes::Bytes;
use statehouse_core::{Envelope, ErrorKind, Timestamp, Version};

use super::*;
use crate::token::{SessionKey, Token, VerifierHash};

const NOW: Timestamp = Timestamp::from_micros(1_795_223_382_034_413);
const MINUTE: Duration = Duration::from_secs(60);

fn sample_key() -> SessionKey {
    Token::parse(&"5a".repeat(32)).unwrap().key()
}

fn sample() -> Record {
    let name = |text| AttributeName::new(text).unwrap();
    let attributes = Delta::new()
        .with_set(name("theme"), Attribute::encode("dark").unwrap().with_schema(7))
        .with_set(name("later"), Attribute::new(statehouse_core::CodecId(200), Bytes::from_static(b"\0\xff")))
        .set;
    let new = NewSession::new(VerifierHash::from_bytes([1; 32]), 20 * MINUTE, 720 * MINUTE).with_attributes(attributes);
    let created = Record::new(&sample_key(), &new).stamped_new(NOW, new.absolute_timeout);
    let renewal = Rotation::new(VerifierHash::from_bytes([2; 32]), Rotate::Renewal { grace: MINUTE });
    let login = Rotation { login: Some(Principal::new("u42").unwrap()), ..renewal }.with_epoch(5);
    let holder = Authority::Holder(VerifierHash::from_bytes([1; 32]));
    let later = NOW + 3 * MINUTE;
    let mut record = created.with_rotation(holder, &login, &Delta::new(), later).stamped_over(&created, save(9), later);
    record.unknown.push((0x7001, Bytes::from_static(b"of a later version")));
    record
}

fn save(number: u8) -> SaveId {
    SaveId::from_bytes([number; 8])
}

/// Pins the format, which replicas of every later version read: see the tables of the envelope and of the record.
#[test]
fn the_golden_bytes_are_what_the_table_says() {
    let (created, later) = (NOW.as_micros(), NOW.as_micros() + 180_000_000);
    let payload = [
        sample_key().as_bytes().as_slice(),
        &[2; 32],                         // verifier
        &[1; 32],                         // the one before
        &[0xff; 8],                       // accepted until the verifier is used
        &180_000_000_u64.to_le_bytes(),   // rotated
        &180_000_000_u64.to_le_bytes(),   // authenticated
        &1_200_000_000_u64.to_le_bytes(), // idle timeout
        &60_000_000_u64.to_le_bytes(),    // grace
        &5_u64.to_le_bytes(),             // epoch
        &created.to_le_bytes(),           // all saves since this version are known
        b"\x01\0\x03\0\0\0u42",
        b"\x02\0\x0e\0\0\0\x05later\xc8\0\0\0\0\0\0\xff",
        b"\x02\0\x14\0\0\0\x05theme\x04\x07\0\0\0\x03str\xa4dark",
        b"\x03\0\x10\0\0\0",
        &later.to_le_bytes(),
        &[9; 8],
        b"\x01\x70\x12\0\0\0of a later version",
    ]
    .concat();
    let head = [b"SH\x01\0".as_slice(), &1_u32.to_le_bytes(), &[0; 4], &[0xfd, 0, 0, 0]].concat();
    let stamp = [later, created, later + 1_200_000_000, created + 43_200_000_000].map(u64::to_le_bytes).concat();
    let bytes = sample().encode().unwrap();
    assert_eq!(bytes[..16], head);
    assert_eq!(bytes[16..48], stamp);
    assert_eq!(bytes[56..], payload);
    assert_eq!(bytes[48..56], CHECKSUMS);
    assert_eq!(Record::decode(&sample_key(), &bytes).unwrap(), sample());
}

/// Adler-32 of the stamp, CRC-32 of the rest.
const CHECKSUMS: [u8; 8] = [30, 13, 163, 230, 99, 11, 202, 111];

fn remembered() -> Record {
    let login = Rotation::login(VerifierHash::from_bytes([3; 32]), Principal::new("u42").unwrap())
        .with_persistence(Persistence::Remember(30 * 1_440 * MINUTE))
        .with_absolute_timeout(90 * 1_440 * MINUTE);
    let (before, later) = (sample(), NOW + 5 * MINUTE);
    before.with_rotation(Authority::Application, &login, &Delta::new(), later).stamped_over(&before, save(8), later)
}

/// Pins the format of what only some records have.
#[test]
fn the_golden_bytes_of_whoever_is_remembered_are_what_the_table_says() {
    let record = remembered();
    let bytes = record.encode().unwrap();
    assert_eq!(bytes[40..48], (NOW + 5 * MINUTE + 90 * 1_440 * MINUTE).as_micros().to_le_bytes(), "when it ends");
    assert_eq!(bytes[176..184], 2_592_000_000_000_u64.to_le_bytes(), "idle timeout");
    let field = [
        &b"\x04\0\x10\0\0\0"[..],
        &300_000_000_u64.to_le_bytes(),       // after creation
        &2_592_000_000_000_u64.to_le_bytes(), // a month
        b"\x01\x70\x12\0\0\0of a later version",
    ];
    assert!(bytes.ends_with(&field.concat()));
    assert_eq!(Record::decode(&sample_key(), &bytes).unwrap(), record);
    assert_eq!(record.persistence(), Persistence::Remember(30 * 1_440 * MINUTE));
    assert_eq!(sample().persistence(), Persistence::Browser, "of which earlier builds have written nothing");
}

fn timed() -> Record {
    let delta = Delta::new()
        .with_set(AttributeName::new("code").unwrap(), Attribute::encode(&7).unwrap().with_time_to_live(5 * MINUTE));
    sample().with_delta(&delta, NOW + 4 * MINUTE).unwrap()
}

#[test]
fn the_golden_bytes_of_an_attribute_that_ends_are_what_the_table_says() {
    let bytes = timed().encode().unwrap();
    let fields = [
        &b"\x02\0\x0f\0\0\0\x04code\x04\0\0\0\0\x03i32\x07"[..],
        b"\x05\0\x14\0\0\0",
        &540_000_000_u64.to_le_bytes(), // after creation
        &DIGEST_OF_7,
        b"code\x02\0\x0e\0\0\0\x05later",
    ];
    let fields = fields.concat();
    assert!(bytes.windows(fields.len()).any(|found| found == fields), "{bytes:?}");
    let read = Record::decode(&sample_key(), &bytes).unwrap();
    assert_eq!(read, timed());
    assert_eq!(read.end_of(&AttributeName::new("code").unwrap()), Some(NOW + 9 * MINUTE));
    assert_eq!(read.end_of(&AttributeName::new("theme").unwrap()), None);
}

/// The first bytes of the SHA-256 of `04 00 00 00 00 07`.
const DIGEST_OF_7: [u8; 8] = [90, 132, 82, 102, 207, 18, 63, 170];

/// It writes back what it does not know, behind all that it does.
#[test]
fn what_an_earlier_build_sets_does_not_end_as_the_value_before() {
    let envelope = Envelope::decode(timed().encode().unwrap()).unwrap();
    let end = [&b"\x05\0\x14\0\0\0"[..], &540_000_000_u64.to_le_bytes(), &DIGEST_OF_7, b"code"].concat();
    let at = envelope.payload.windows(end.len()).position(|found| found == end).unwrap();
    let (before, after) = (&envelope.payload[..at], &envelope.payload[at + end.len()..]);
    let name = AttributeName::new("code").unwrap();
    let read = |payload: Vec<u8>| {
        Record::decode(&sample_key(), &Envelope { payload: payload.into(), ..envelope.clone() }.encode())
    };
    let kept = [before, after, &end].concat();
    assert_eq!(read(kept.clone()).unwrap(), timed());
    let mut set = kept.clone();
    set[at - 1] = 8;
    let set = read(set).unwrap();
    assert_eq!((set.attributes()[&name].decode::<i32>().unwrap(), set.end_of(&name)), (8, None));
    assert_eq!(set.encode().unwrap().windows(end.len()).filter(|found| *found == end).count(), 0);
    assert!(read([&kept[..], &end].concat()).is_err(), "twice");
    assert!(read([&kept[..], b"\x05\0\x0f\0\0\0", &[0; 15]].concat()).is_err(), "too short");
}

#[test]
fn what_has_ended_is_in_no_snapshot_and_in_no_save() {
    let (record, name) = (timed(), AttributeName::new("code").unwrap());
    let snapshot = |now| Snapshot::new(record.clone(), now, now + MINUTE);
    assert!(snapshot(NOW + 8 * MINUTE).record().attributes().contains_key(&name));
    assert!(!snapshot(NOW + 9 * MINUTE).record().attributes().contains_key(&name));
    assert!(!snapshot(NOW + 9 * MINUTE).has_ended(&record.attributes()[&AttributeName::new("theme").unwrap()]));
    assert!(snapshot(NOW + 9 * MINUTE).has_ended(&record.attributes()[&name]), "for who has kept it");
    let set = Delta::new().with_set(AttributeName::new("a").unwrap(), Attribute::encode(&1).unwrap());
    assert!(!record.with_delta(&set, NOW + 9 * MINUTE).unwrap().attributes().contains_key(&name));
    assert_eq!(record.with_delta(&Delta::new(), NOW + 9 * MINUTE), None, "no change is made for it alone");
    let none = Attribute::encode(&1).unwrap().with_time_to_live(Duration::ZERO);
    let ended = record.with_delta(&Delta::new().with_set(name.clone(), none), NOW + 5 * MINUTE).unwrap();
    assert!(!ended.attributes().contains_key(&name));
}

/// It writes back what it does not know, whoever logs in.
#[test]
fn whoever_logs_in_by_an_earlier_build_is_not_remembered_for_the_one_before() {
    let envelope = Envelope::decode(remembered().encode().unwrap()).unwrap();
    for (authenticated, persistence) in [
        (300_000_000, remembered().persistence()),
        (300_000_001, Persistence::Browser),
        (u64::MAX, Persistence::Browser),
    ] {
        let mut payload = envelope.payload.to_vec();
        payload[112..120].copy_from_slice(&u64::to_le_bytes(authenticated));
        let stored = Envelope { payload: payload.into(), ..envelope.clone() }.encode();
        assert_eq!(Record::decode(&sample_key(), &stored).unwrap().persistence(), persistence);
    }
}

#[test]
fn a_tombstone_has_the_time_of_the_deletion() {
    let bytes = tombstone(NOW);
    assert_eq!(bytes, *b"deleted\xed\x87\xfa\x03\xbf\x60\x06\0");
    assert_eq!(deleted_at(&bytes), Some(NOW));
    assert_eq!(
        deleted_at(b"deleted\xed\x87\xfa\x03\xbf\x60\x06\0\x01\x02\x03\x04\x05\x06\x07\x08"),
        Some(NOW),
        "in Redis"
    );
    let long = [&bytes[..], &[0; 9]].concat();
    for other in [&b"deleted"[..], b"deleted\0\0\0\0\0\0\0", &long, &long[..16], &long[..22], b"SH", b""] {
        assert_eq!(deleted_at(other), None);
    }
}

#[test]
fn the_last_saves_of_a_minute_are_known_and_it_is_known_what_is_forgotten() {
    let mut record = Record::new(&sample_key(), &NewSession::new(VerifierHash::from_bytes([1; 32]), MINUTE, MINUTE));
    record.stamp.version = Version::new(NOW.as_micros());
    let (created, mut now) = (record.clone(), NOW);
    for number in 1..=20 {
        now = now + Duration::from_secs(1);
        record = record.clone().stamped_over(&record, save(number), now);
        let known: Vec<_> = (1..=20).filter(|number| record.knows(save(*number))).collect();
        assert_eq!(known, (number.saturating_sub(15).max(1)..=number).collect::<Vec<_>>());
        assert_eq!(record.knows_all_since(&created), number <= 16);
    }
    let read = Record::decode(&sample_key(), &record.clone().stamped_new(NOW, MINUTE).encode().unwrap()).unwrap();
    assert_eq!(read.saves, record.saves);
    let next = record.clone().stamped_over(&record, save(21), now + 2 * MINUTE);
    assert!(next.knows(save(21)) && !next.knows(save(20)) && !next.knows_all_since(&created));
    assert!(next.knows_all_since(&record));
}

#[test]
fn scripts_find_the_fixed_parts_where_the_offsets_say() {
    let bytes = sample().encode().unwrap();
    let at = |from: usize, len: usize| &bytes[from..from + len];
    assert_eq!(at(Envelope::STAMP_OFFSET, 8), (NOW + 3 * MINUTE).as_micros().to_le_bytes());
    assert_eq!(at(56, 32), sample_key().as_bytes());
    assert_eq!(at(88, 32), [2; 32], "verifier");
    assert_eq!(at(120, 32), [1; 32], "previous verifier");
    assert_eq!(at(152, 8), [0xff; 8], "until when it is accepted");
    assert_eq!(at(176, 8), 1_200_000_000_u64.to_le_bytes(), "idle timeout");
}

#[test]
fn what_a_later_version_wrote_is_kept_byte_for_byte() {
    let read = Record::decode(&sample_key(), &sample().encode().unwrap()).unwrap();
    let changed = read.with_delta(&Delta::new().with_removed(AttributeName::new("theme").unwrap()), NOW).unwrap();
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
    let attribute = principal.end..principal.end + 6 + 14;
    let saves = attribute.end + 6 + 20..attribute.end + 6 + 20 + 6 + 16;
    for range in [principal, attribute, saves] {
        let mut envelope = Envelope::decode(sample().encode().unwrap()).unwrap();
        let field = envelope.payload.slice(range);
        envelope.payload = [&envelope.payload[..], &field].concat().into();
        assert_eq!(Record::decode(&sample_key(), &envelope.encode()).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_privilege_change_refuses_the_old_verifier_and_a_renewal_keeps_it_for_the_grace() {
    let (old, new) = (VerifierHash::from_bytes([2; 32]), VerifierHash::from_bytes([3; 32]));
    let (at, holder) = (NOW + 10 * MINUTE, Authority::Holder(old));
    let strict = sample().with_rotation(holder, &Rotation::new(new, Rotate::PrivilegeChange), &Delta::new(), at);
    assert!(strict.accepts(Authority::Holder(new), at));
    assert!(!strict.accepts(Authority::Holder(old), at));
    assert!(strict.accepts(Authority::Application, at));
    let renewal = Rotation::new(new, Rotate::Renewal { grace: MINUTE });
    let lenient = sample().with_rotation(holder, &renewal, &Delta::new(), at);
    assert!(lenient.accepts(Authority::Holder(old), at + 700 * MINUTE), "nobody has used the new one");
    assert!(lenient.with_save(holder, &Delta::new(), at).is_none());
    let used = lenient.with_save(Authority::Holder(new), &Delta::new(), at).unwrap();
    assert!(used.accepts(Authority::Holder(old), at + (MINUTE - Duration::from_micros(1))));
    assert!(!used.accepts(Authority::Holder(old), at + MINUTE));
    assert!(used.with_save(Authority::Holder(new), &Delta::new(), at).is_none(), "once");
    assert_eq!(lenient.created(), NOW);
    assert_eq!(lenient.authenticated(), sample().authenticated());
    assert_eq!(lenient.rotated(), at);
}

#[test]
fn saving_moves_the_version_and_the_idle_expiry_and_nothing_else() {
    let record = sample();
    let late = NOW + 715 * MINUTE;
    let saved = record.clone().stamped_over(&record, save(1), late);
    assert_eq!(saved.version().get(), late.as_micros());
    assert_eq!(saved.created(), NOW);
    assert_eq!(saved.absolute_expiry(), NOW + 720 * MINUTE);
    assert_eq!(saved.idle_expiry(), late + record.idle_timeout());
    assert_eq!(saved.expiry_if_unused(), saved.absolute_expiry(), "the idle expiry is capped by the absolute one");
    let back = record.clone().stamped_over(&record, save(1), Timestamp::from_micros(1));
    assert_eq!(back.version().get(), record.version().get() + 1);
}

#[test]
fn debug_prints_no_value() {
    let printed = format!("{:?}", sample());
    assert!(!printed.contains("dark") && !printed.contains("u42"), "{printed}");
}

/// What was loaded is copied as it stands in the store, where nothing has changed.
#[test]
fn what_is_changed_is_written_as_if_nothing_had_been_copied() {
    let name = |text: &str| AttributeName::new(text).unwrap();
    let set =
        |delta: Delta, text: &str| delta.with_set(name(text), Attribute::encode(&format!("value of {text}")).unwrap());
    let five = ["b", "d", "f", "h", "j"].into_iter().fold(Delta::new(), set).set;
    let timed = Attribute::encode(&7).unwrap().with_time_to_live(10 * MINUTE);
    let new = NewSession::new(VerifierHash::from_bytes([1; 32]), MINUTE, 60 * MINUTE).with_attributes(five);
    let created = Record::new(&sample_key(), &new).stamped_new(NOW, 60 * MINUTE);
    let created = created.with_delta(&Delta::new().with_set(name("g"), timed), NOW).unwrap();
    let read = Record::decode(&sample_key(), &created.encode().unwrap()).unwrap();
    assert_eq!(read, created);
    assert_eq!(read.encode().unwrap(), created.encode().unwrap());
    let changes = ["a", "e", "f", "g", "z"]
        .map(|text| set(Delta::new(), text).with_set(name("d"), Attribute::encode(&1).unwrap()));
    let removals = [&["b"][..], &["f"], &["g"], &["j"], &["b", "g", "h"]]
        .map(|names| names.iter().fold(Delta::new(), |delta, text| delta.with_removed(name(text))));
    for delta in changes.iter().chain(&removals) {
        let changed = read.with_delta(delta, NOW + MINUTE).unwrap();
        let attributes = changed.attributes().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let anew = Record { attributes, ..changed.clone() };
        assert_eq!(changed.encode().unwrap(), anew.encode().unwrap(), "{delta:?}");
        let again = Record::decode(&sample_key(), &changed.encode().unwrap()).unwrap();
        assert_eq!(again, changed, "{delta:?}");
        let size: usize =
            changed.attributes().iter().map(|(name, value)| name.as_str().len() + value.bytes().len()).sum();
        assert_eq!((changed.attributes().size(), again.attributes().size()), (size as u64, size as u64), "{delta:?}");
    }
}
