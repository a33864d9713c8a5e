//! The short way of scripts, which is for a generation that the caller knows, and the long one.

use super::*;

const STATES: [&str; 6] = ["nothing", "a value", "a lease", "a removal", "text", "a list"];

const VERBS: [&str; 7] = ["set", "store", "store late", "set if absent", "remove", "reserve", "share"];

#[tokio::test]
async fn scripts_answer_alike_whether_or_not_the_generation_is_known() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let knows = subject.cache("main").await;
    for state in STATES {
        for verb in VERBS {
            let mut told = Vec::new();
            for way in ["short", "long"] {
                let name = format!("{state}, {verb}, {way}");
                let lease = bring_about(server, &subject, &knows, &name, state).await;
                let cache = if way == "short" { knows.clone() } else { subject.cache("main").await };
                let outcome = call(&cache, &key(&name), verb, lease).await;
                told.push((outcome, left(&subject, &name).await));
            }
            assert_eq!(told[0], told[1], "{state}, {verb}");
        }
    }
}

/// Makes it so that this is at the key, and that `knows` knows the generation.
async fn bring_about(
    server: &RedisServer,
    subject: &InRedis,
    knows: &RedisCache,
    name: &str,
    state: &str,
) -> Option<Lease> {
    stored(knows, name, "before").await;
    let place = place(subject, name, 1);
    if state == "a removal" {
        assert_eq!(knows.remove(&key(name)).await.unwrap(), RemoveOutcome::Removed);
    } else if state != "a value" {
        raw(server, &[b"DEL", place.as_bytes()]).await;
    }
    match state {
        "text" => drop(raw(server, &[b"SET", place.as_bytes(), b"text"]).await),
        "a list" => drop(raw(server, &[b"RPUSH", place.as_bytes(), b"text"]).await),
        "a lease" => match knows.reserve_with(&key(name), ReserveOptions::new(LONG)).await.unwrap() {
            Reservation::Leased(lease) => return Some(lease),
            other => panic!("{other:?}"),
        },
        _ => {}
    }
    None
}

/// What became of the call, but for versions.
async fn call(cache: &RedisCache, key: &CacheKey, verb: &str, lease: Option<Lease>) -> String {
    let value = Bytes::from_static(b"after");
    let other = Lease::new(Version::new(7));
    let options = match verb {
        "store" => SetOptions::new(LONG).with_lease(lease.unwrap_or(other)),
        "store late" => SetOptions::new(LONG).with_lease(other),
        "set if absent" => SetOptions::new(LONG).with_condition(Condition::Absent),
        _ => SetOptions::new(LONG),
    };
    let reserve = ReserveOptions::new(LONG);
    match verb {
        "remove" => format!("{:?}", cache.remove(key).await.unwrap()),
        "reserve" => reserved(cache.reserve_with(key, reserve.with_holding(Holding::Alone)).await.unwrap()),
        "share" => reserved(cache.reserve_with(key, reserve).await.unwrap()),
        _ => match cache.set_with(key, value, options).await.unwrap() {
            SetOutcome::Stored(version) => format!("stored {}", version.get() > 0),
            SetOutcome::Conflict(version) => format!("conflict {}", version.is_some()),
        },
    }
}

fn reserved(reservation: Reservation) -> String {
    match reservation {
        Reservation::Hit(entry) => format!("hit {:?}", entry.value),
        Reservation::Leased(lease) => format!("leased {}", lease.token().get() > 0),
        Reservation::Held(_) => "held".to_owned(),
        Reservation::Ended => "ended".to_owned(),
    }
}

/// The flags and the payload of what is at the key then, if that is a record whose age is not more than its version.
async fn left(subject: &InRedis, name: &str) -> Option<(u16, Bytes)> {
    let bytes = subject.client().await.get(place(subject, name, 1).as_bytes()).await.unwrap()?;
    let record = Record::decode(&bytes)?;
    assert!(record.created <= record.version && record.expires > record.created / 1000, "{record:?}");
    Some((record.flags, record.payload))
}
