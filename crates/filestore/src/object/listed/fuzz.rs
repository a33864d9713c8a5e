//! Listings of whatever listens in the place of S3.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_listing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/listing");
    let words =
        ["<Contents>", "</Contents>", "<Key>", "</Key>", "%2F", "%FF", "+", "<EncodingType>url</EncodingType>", "&#0;"];
    // What is cut off or put in ends as a listing does, in most places where that can be.
    let repair = |input: &mut Vec<u8>| {
        input.splice(..0, *b"<ListBucketResult>").for_each(drop);
        input.extend_from_slice(b"</ListBucketResult>");
    };
    Target::new(corpus).with_words(&words).run(repair, |input| match Listed::parse(input) {
        Ok(listed) => {
            let names: Vec<_> = listed.contents.iter().map(|content| listed.decode(&content.key)).collect();
            let files = names.iter().filter(|name| FileKey::new(name.as_str()).is_ok()).count();
            let times = listed.contents.iter().filter_map(|content| parse_time(&content.last_modified)).count();
            format!("{files} {times} {} {}", names.len(), listed.next_continuation_token.is_some())
        }
        Err(error) => error.message().to_owned(),
    });
}
