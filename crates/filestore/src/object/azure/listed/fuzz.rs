//! Listings of whatever listens in the place of Azure.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::super::super::time::parse_time;
use super::super::blob_name::decode;
use super::*;
use crate::key::FileKey;

#[test]
fn fuzz_blob_listing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/blob_listing");
    let words = [
        "<Blob>",
        "</Blob>",
        "<Name>",
        "<Name Encoded=\"true\">",
        "</Name>",
        "<BlobPrefix>",
        "</BlobPrefix>",
        "<NextMarker>",
        "%5C",
        "%2E",
        "%FF",
        "&#0;",
    ];
    // What is cut off or put in ends as a listing does, in most places where that can be.
    let repair = |input: &mut Vec<u8>| {
        input.splice(..0, *b"<EnumerationResults><Blobs>").for_each(drop);
        input.extend_from_slice(b"</Blobs></EnumerationResults>");
    };
    Target::new(corpus).with_words(&words).run(repair, |input| match parse(input) {
        Ok(found) => {
            let names = found.blobs.iter().map(|blob| &blob.name).chain(&found.prefixes);
            let files = names.filter(|name| FileKey::new(decode(name)).is_ok()).count();
            let times = found.blobs.iter().filter_map(|blob| parse_time(&blob.last_modified)).count();
            format!("{files} {times} {} {}", found.blobs.len(), found.next.is_some())
        }
        Err(_) => "none".to_owned(),
    });
}
