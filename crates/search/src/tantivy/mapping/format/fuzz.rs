//! Documents that anybody may have changed.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_tantivy_document() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/tantivy_document");
    let repair = |input: &mut Vec<u8>| {
        input.resize(input.len().max(1), 0);
        input[0] = FORMAT;
    };
    Target::new(corpus).run(repair, |input| match decode(input) {
        Ok(source) => {
            // By their bytes: what is no number is not equal to itself.
            let bytes = encode(&source).unwrap();
            assert_eq!(encode(&decode(&bytes).unwrap()).unwrap(), bytes, "what is read is written and read again");
            format!("{} {}", source.values.len(), source.id.is_empty())
        }
        Err(error) => error.to_string(),
    });
}
