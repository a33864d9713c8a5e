//! Pointers that anybody may have changed.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_tantivy_pointer() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/tantivy_pointer");
    let words = ["\n", "live ", "kept ", "000001", "1000000", FORMAT];
    let repair = |input: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(input);
        let lines = text.split_once('\n').map_or("", |(_, lines)| lines);
        *input = format!("{FORMAT}\n{lines}").into_bytes();
    };
    Target::new(corpus).with_words(&words).run(repair, |input| match Pointer::parse(input) {
        Ok(pointer) => {
            let again = Pointer::parse(&pointer.to_bytes()).unwrap();
            assert_eq!((again.live, again.kept), (pointer.live, pointer.kept.clone()));
            format!("{}", pointer.kept.len())
        }
        Err(error) => error.kind().to_string(),
    });
}
