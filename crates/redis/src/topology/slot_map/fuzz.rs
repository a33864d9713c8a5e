//! Answers that whatever listens at a server's address may give.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::View;
use crate::config::Address;

#[test]
fn fuzz_cluster_slots() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/cluster_slots");
    let asked = Address::new("asked.example", 6_379);
    let words = ["*2\r\n", "$-1\r\n", ":16384\r\n", ":-1\r\n", "*0\r\n", "$0\r\n\r\n", "%1\r\n", "_\r\n", "#t\r\n"];
    Target::new(corpus).with_words(&words).run(
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
