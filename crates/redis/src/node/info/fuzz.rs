//! What whatever listens at a server's address may tell of itself.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_info() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/info");
    let words = ["maxmemory:", "used_memory:", "\r\n", ":", "18446744073709551615", "allkeys-lru", "-1"];
    Target::new(corpus).with_words(&words).run(
        |_| {},
        |input| {
            let text = String::from_utf8_lossy(input);
            let Some(memory) = Memory::of(&text) else { return "tells nothing".to_owned() };
            assert!(memory.limit > 0 || !memory.is_full(), "without a limit nothing is full");
            format!("{:?} {}", memory.policy, memory.is_full())
        },
    );
}
