//! What a server, or whatever listens in its place, replies about sessions.

use std::path::Path;
use std::time::Duration;

use statehouse_core::conformance::fuzz::{Target, seal_envelope};
use statehouse_core::{Result, Timestamp};
use statehouse_redis::redis::{FromRedisValue, Value, from_redis_value};

use super::principals::{Epochs, Owner, read_keys};
use super::replies::{SwapReply, found, stamped};
use crate::outcome::Loaded;
use crate::record::{NewSession, Principal, Record, TOMBSTONE};
use crate::token::{SessionKey, VerifierHash};

const NOW: Timestamp = Timestamp::from_micros(1_795_223_600_000_000);

/// How deep arrays are read: the driver has a bound of its own.
const DEPTH: usize = 8;

/// A reply as it goes over the wire, of which the driver makes a value.
fn value(input: &mut &[u8], depth: usize) -> Option<Value> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = input.split_at(end);
    *input = &rest[1..];
    let (kind, number) = line.strip_suffix(b"\r").unwrap_or(line).split_first()?;
    let number: i64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    match (kind, usize::try_from(number)) {
        (b':', _) => Some(Value::Int(number)),
        (b'$' | b'*', Err(_)) => Some(Value::Nil),
        (b'$', Ok(length)) => {
            let bytes = input.get(..length)?.to_vec();
            let rest = &input[length..];
            *input = rest.strip_prefix(b"\r\n").unwrap_or(rest);
            Some(Value::BulkString(bytes))
        }
        (b'*', Ok(length)) if depth > 0 && length < 64 => {
            (0..length).map(|_| value(input, depth - 1)).collect::<Option<_>>().map(Value::Array)
        }
        _ => None,
    }
}

/// The length of the last bytes, and of a record its lengths and checksums.
fn fit(input: &mut Vec<u8>) {
    let Some(start) = input.iter().rposition(|byte| *byte == b'$') else { return };
    let Some(line) = input[start..].iter().position(|byte| *byte == b'\n') else { return };
    let mut bytes = input.split_off(start + line + 1);
    if bytes.starts_with(b"SH") {
        seal_envelope(&mut bytes);
    }
    input.truncate(start);
    input.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    input.append(&mut bytes);
}

fn word<T>(result: Result<T>, good: impl Fn(T) -> String) -> String {
    result.map_or_else(|error| format!("{} {}", error.kind(), error.message()), good)
}

fn of<T: FromRedisValue>(value: &Value, good: impl Fn(T) -> String) -> String {
    from_redis_value(value.clone()).map_or_else(|_| String::new(), good)
}

fn saved(value: &Value) -> String {
    word(SwapReply::read(value.clone()), |reply| match reply {
        SwapReply::Made(after) => format!("made {}", after.is_some()),
        SwapReply::NotAtOnce => "not at once".to_owned(),
        SwapReply::Gone => "gone".to_owned(),
        SwapReply::Other(found, last) => {
            assert!(!found.starts_with(TOMBSTONE), "what was deleted is gone");
            format!("other {}", last > 0)
        }
    })
}

/// Under the key that a record says it has.
fn loaded(value: &Value) -> String {
    of::<Option<Vec<u8>>>(value, |bytes| {
        let key = bytes.as_ref().and_then(|bytes| bytes.get(56..88)?.try_into().ok());
        let key = SessionKey::from_bytes(key.unwrap_or([7; 32]));
        word(found(&key, bytes, NOW), |loaded| match loaded {
            Loaded::Found(session) => {
                assert!(*session.record().key() == key && session.expires() > NOW, "of this key, and not over");
                "found".to_owned()
            }
            Loaded::Deleted { ago } => format!("deleted {}", ago.is_zero()),
            Loaded::Absent => "absent".to_owned(),
        })
    })
}

fn created(key: &SessionKey, sent: &[u8], value: &Value) -> String {
    of::<Option<(Vec<u8>, u64)>>(value, |answer| {
        let Some((stamp, time)) = answer else { return "taken".to_owned() };
        word(stamped(key, sent, &stamp, Timestamp::from_micros(time)), |session| {
            assert!(session.record().principal().is_some(), "only the stamp is the server's");
            "created".to_owned()
        })
    })
}

fn of_principals(value: &Value) -> String {
    let epochs = of::<[Option<Vec<u8>>; 2]>(value, |found| format!("{}", Epochs::read(&found).last().leading_zeros()));
    let owner = of::<(u8, Vec<u8>, u64)>(value, |(_, principal, epoch)| {
        let owner = Owner::read(&principal, epoch);
        assert!(owner.as_ref().is_none_or(|owner| owner.principal.as_str().as_bytes() == principal));
        format!("{}", owner.is_some())
    });
    let keys = of::<(u8, Vec<Vec<u8>>, u64)>(value, |(_, keys, _)| format!("{} keys", read_keys(&keys).len()));
    format!("{epochs} {owner} {keys}")
}

#[test]
fn fuzz_session_replies() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/session_replies");
    let words = ["$-1\r\n", ":1\r\n", ":2\r\n", "*2\r\n", "$7\r\ndeleted", "1800000000000000", "u42", "SH\u{1}"];
    let (key, minute) = (SessionKey::from_bytes([7; 32]), Duration::from_secs(60));
    let new = NewSession::new(VerifierHash::from_bytes([3; 32]), minute, minute);
    let new = new.with_principal(Principal::new("u42").unwrap());
    let sent = Record::new(&key, &new).encode().unwrap();
    Target::new(corpus).with_words(&words).run(fit, |input| {
        let Some(value) = value(&mut &input[..], DEPTH) else { return "no reply".to_owned() };
        let all = [saved(&value), loaded(&value), created(&key, &sent, &value), of_principals(&value)];
        all.join("|")
    });
}
