//! Answers that whatever listens at a server's address may give.

use std::path::{Path, PathBuf};

use statehouse_core::conformance::fuzz::Target;

use super::slot_map::View;
use crate::config::Address;
use crate::node::info::Memory;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

#[test]
fn fuzz_cluster_slots() {
    let asked = Address::new("asked.example", 6_379);
    let words = ["*2\r\n", "$-1\r\n", ":16384\r\n", ":-1\r\n", "*0\r\n", "$0\r\n\r\n", "%1\r\n", "_\r\n", "#t\r\n"];
    Target::new(corpus("cluster_slots")).with_words(&words).run(
        |_| {},
        |input| {
            let Ok(slots) = redis::parse_redis_value(input) else { return "no value".to_owned() };
            match View::parse("cluster_state:ok\r\ncluster_current_epoch:3\r\n", slots, Some(&asked)) {
                Ok(view) => {
                    assert_eq!(view.rank(), (true, 3));
                    format!("{}", view.has(&asked))
                }
                Err(error) => error.to_string(),
            }
        },
    );
}

#[test]
fn fuzz_info() {
    let words = ["maxmemory:", "used_memory:", "\r\n", ":", "18446744073709551615", "allkeys-lru", "-1"];
    Target::new(corpus("info")).with_words(&words).run(
        |_| {},
        |input| {
            let text = String::from_utf8_lossy(input);
            let Some(memory) = Memory::of(&text) else { return "tells nothing".to_owned() };
            assert!(memory.limit > 0 || !memory.is_full(), "without a limit nothing is full");
            format!("{:?} {}", memory.policy, memory.is_full())
        },
    );
}
