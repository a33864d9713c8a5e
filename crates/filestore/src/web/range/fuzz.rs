//! Ranges that anybody may ask for.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_byte_ranges() {
    const LENGTH: u64 = 1_000;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/byte_ranges");
    Target::new(corpus).with_words(&["bytes=", "-", ",", "0-", " "]).run(
        |input| input.splice(..0, *b"bytes=").for_each(drop),
        |input| {
            let Ok(line) = http::HeaderValue::from_bytes(input) else { return "no header".to_owned() };
            let Some(ranges) = asked(&HeaderMap::from_iter([(RANGE, line)]), 3) else {
                return "the whole".to_owned();
            };
            assert!((1..=3).contains(&ranges.len()));
            let found = match select(&ranges, LENGTH) {
                Selected::One(range) => vec![range],
                Selected::Several(ranges) => ranges,
                Selected::Whole | Selected::Nothing => Vec::new(),
            };
            assert!(found.iter().all(|range| range.start < range.end && range.end <= LENGTH), "{found:?}");
            format!("{} of {}", found.len(), ranges.len())
        },
    );
}
