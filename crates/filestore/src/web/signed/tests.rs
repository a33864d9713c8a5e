use http::Method;
use statehouse_core::{KeyRing, ManualClock, Namespace, Secret, Timestamp};

use super::*;
use crate::MemoryFileStore;

/// URLs that another program has signed, after the tables alone: a reader's, and one of an upload with all that it can say.
const GOLDEN: &str = include_str!("../../../golden/signed-url-v1.txt");

fn urls() -> SignedUrls {
    let files = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans").unwrap());
    let keys = KeyRing::new("2026-11", Secret::new("s".repeat(32))).unwrap();
    let clock = ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000));
    SignedUrls::new(files, keys, "/scans").with_purpose("letters").with_clock(clock)
}

fn signed(urls: &SignedUrls) -> [(Method, &str, String); 2] {
    let read = urls.get("p42/Röntgen 1.png").file_name("Röntgen.png").disposition(Disposition::Inline);
    let note = urls.put("p42/note.txt").valid_for(Duration::from_secs(60)).content_type("text/plain; charset=utf-8");
    let stored = note.len(5).max_len(9).sha256(Digest::of(b"12345")).create();
    [(Method::GET, "p42/Röntgen 1.png", read.url().unwrap()), (Method::PUT, "p42/note.txt", stored.url().unwrap())]
}

/// Pins what is signed: a URL of one version opens on the replicas of every later one.
#[test]
fn the_golden_bytes_are_what_the_table_says() {
    let urls = urls();
    let signed = signed(&urls);
    assert_eq!(signed.clone().map(|(.., url)| url), GOLDEN.lines().collect::<Vec<_>>()[..]);
    for ((method, name, _), golden) in signed.iter().zip(GOLDEN.lines()) {
        let query = golden.split_once('?').unwrap().1;
        let grant = urls.check(method, name, query).unwrap();
        assert_eq!(grant.create, *method == Method::PUT);
        for other in [query.replace("signature=", "signature=0"), query.replace("key=2026-11", "key=2026-10")] {
            assert_eq!(urls.check(method, name, &other), Err(Denied::Forged));
        }
        let other = if *method == Method::GET { Method::PUT } else { Method::GET };
        assert_eq!(urls.check(&other, name, query), Err(Denied::Forged));
    }
}
