//! A slot of a cluster moves while two schemas are in use.

use super::*;

/// The slot of a key, between its old and its new server.
struct Move<'a> {
    slot: String,
    from: &'a RedisServer,
    to: &'a RedisServer,
}

impl<'a> Move<'a> {
    async fn begin(cluster: &'a RedisCluster, place: &str) -> Self {
        let from = cluster.primary_of(place).await.unwrap().expect("an owner");
        let mut to = None;
        for n in 0..20 {
            let owner = cluster.primary_of(&format!("probe{n}")).await.unwrap().expect("an owner");
            to = Some(owner).filter(|owner| owner.address() != from.address()).or(to);
        }
        let to = to.expect("a second server");
        let Reply::Integer(slot) = raw(from, &[b"CLUSTER", b"KEYSLOT", place.as_bytes()]).await else {
            panic!("no slot")
        };
        let moving = Self { slot: slot.to_string(), from, to };
        moving.set(to, "IMPORTING", from).await;
        moving.set(from, "MIGRATING", to).await;
        moving
    }

    async fn set(&self, on: &RedisServer, what: &str, whose: &RedisServer) {
        let id = raw(whose, &[b"CLUSTER", b"MYID"]).await;
        let args = ["CLUSTER", "SETSLOT", &self.slot, what, id.text().expect("an id")];
        let reply = on.command(&args).await.unwrap();
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    }

    async fn migrate(&self, place: &str) {
        let (host, port) = self.to.address().split_once(':').unwrap();
        let reply = self.from.command(&["MIGRATE", host, port, place, "0", "5000"]).await.unwrap();
        assert_eq!(reply.text(), Some("OK"), "{place}");
    }

    /// Moves all that is still there, but for this one.
    async fn migrate_all_but(&self, stays: &str) {
        let args = ["CLUSTER", "GETKEYSINSLOT", &self.slot, "100"];
        let Reply::Array(found) = self.from.command(&args).await.unwrap() else { panic!("no keys") };
        for place in found.iter().filter_map(|place| place.text()).filter(|place| *place != stays) {
            self.migrate(place).await;
        }
    }

    async fn end(&self) {
        self.migrate_all_but("").await;
        self.set(self.to, "NODE", self.to).await;
        self.set(self.from, "NODE", self.to).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_slot_moves_a_write_ends_the_entries_of_other_schemas_or_is_asked_again() {
    let cluster = RedisCluster::start().await;
    let subject = InRedis::new(cluster.url());
    let client = subject.client().await;
    let of = |schema| RedisCache::new(client.clone(), &subject.namespace, "main", SchemaId(schema)).unwrap();
    let (old, new) = (of(1), of(2));
    let verbs = ["set", "set if", "remove"];
    // Of what was stored under the other schema, the key has moved, or it alone has not.
    let cases = verbs.iter().flat_map(|verb| [(*verb, true), (*verb, false)]).enumerate();
    for (n, (verb, has_moved)) in cases {
        let name = &format!("of{n}");
        stored(&old, name, "old").await;
        let reserved = new.reserve_with(&key(name), ReserveOptions::new(LONG)).await.unwrap();
        let Reservation::Leased(lease) = reserved else { panic!("{reserved:?}") };
        let options = SetOptions::new(LONG).with_lease(lease);
        let loaded = new.set_with(&key(name), Bytes::from_static(b"loaded"), options).await.unwrap().stored().unwrap();
        let moving = Move::begin(&cluster, &place(&subject, name, 1)).await;
        match has_moved {
            true => moving.migrate(&place(&subject, name, 1)).await,
            false => moving.migrate_all_but(&place(&subject, name, 1)).await,
        }
        let write = async |deadline| {
            let options = SetOptions::new(LONG).with_deadline(deadline);
            let value = Bytes::from_static(b"new");
            match verb {
                "set" => new.set_with(&key(name), value, options).await.map(|_| ()),
                "set if" => {
                    let options = options.with_condition(Condition::Match(loaded));
                    new.set_with(&key(name), value, options).await.map(|outcome| assert!(outcome.stored().is_some()))
                }
                _ => {
                    let options = RemoveOptions::default().with_deadline(deadline);
                    new.remove_with(&key(name), options).await.map(|_| ())
                }
            }
        };
        // What the other schema has is out of reach, so nothing is done, and it may be asked again. The deadline may end
        // while a try is under way.
        let error = write(Duration::from_millis(300)).await.unwrap_err();
        assert!(
            [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::OutcomeUnknown].contains(&error.kind()),
            "{verb} {has_moved}: {error:?}"
        );
        let entry = new.get(&key(name)).await.unwrap().expect("nothing was changed");
        assert_eq!((entry.version, &entry.value[..]), (loaded, &b"loaded"[..]), "{verb} {has_moved}");
        let (written, ()) = tokio::join!(write(Duration::from_secs(30)), moving.end());
        written.unwrap();
        assert_eq!(old.get(&key(name)).await.unwrap(), None, "{verb} {has_moved}: under the other schema");
    }
}
