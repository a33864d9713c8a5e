//! Cursors that anybody may send.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::tests::{request, schema};
use super::*;
use crate::print::print;

#[test]
fn fuzz_search_cursors() {
    let (schema, request) = (schema(), request());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/search_cursors");
    let repair = |input: &mut Vec<u8>| {
        input.truncate(input.len().saturating_sub(4));
        // Of this request, so that the values are looked at.
        if let Some(of) = input.get_mut(1..9) {
            of.copy_from_slice(&print(&schema, &request).to_le_bytes());
        }
        let check = format::check(input);
        input.extend(check);
    };
    Target::new(corpus).run(repair, |input| match hex::encode(input).parse::<Cursor>() {
        Err(error) => format!("refused: {}", error.message()),
        Ok(cursor) => {
            assert_eq!(cursor.to_string(), hex::encode(input), "it has one spelling");
            let checked = schema.check_request(&request.clone().with_after(cursor.clone()));
            format!("{} keys, {:?}", cursor.sort.len(), checked.map_err(|error| error.message().to_owned()))
        }
    });
}
