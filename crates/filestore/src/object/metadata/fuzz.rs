//! Metadata of objects that anybody may have written.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::tests::object;
use super::*;

/// A line for each: the name, a colon and a space, the value.
fn attributes(input: &[u8]) -> Attributes {
    let text = String::from_utf8_lossy(input);
    let pairs = text.lines().filter_map(|line| line.split_once(": ")).map(|(name, value)| {
        let attribute = match name {
            "content-type" => Attribute::ContentType,
            "content-disposition" => Attribute::ContentDisposition,
            "cache-control" => Attribute::CacheControl,
            name => Attribute::Metadata(name.to_owned().into()),
        };
        (attribute, value.to_owned())
    });
    pairs.collect()
}

/// Nothing is read of ours that is written in another way.
fn check_marks(stored: &Attributes, meta: &Meta, marks: &Marks) {
    let stored = |name: &'static str| stored.get(&Attribute::Metadata(name.into())).map(AsRef::as_ref);
    if let Some(stamp) = &marks.fence {
        assert_eq!(stored(FENCE), Some(&*stamp.encode()));
    }
    if let Some(time) = marks.time_to_live {
        assert_eq!(stored(TIME_TO_LIVE), Some(&*time.as_secs().to_string()));
    }
    if let (Some(digest), Some(put), Some(crc)) = (meta.sha256, &marks.put, marks.crc) {
        let written = format!("{put}.{}", sums(Sums { digest, crc: Some(crc) }));
        assert!(stored(PUT).is_some_and(|stored| stored.eq_ignore_ascii_case(&written)), "{written}");
    }
}

#[test]
fn fuzz_object_metadata() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/object_metadata");
    let digest = Digest::of(b"abc").to_string();
    let words = [
        "\n",
        ": ",
        "content-type: ",
        NO_TYPE,
        PUT,
        FENCE,
        TIME_TO_LIVE,
        TYPE,
        GIVEN,
        APART,
        UNKNOWN,
        "%",
        "+",
        "0",
        ".",
        &*digest,
        &digest[..32],
        "\u{202e}",
        "%0d%0a",
    ];
    let key = FileKey::new("k").unwrap();
    Target::new(corpus).with_words(&words).run(
        |_| {},
        |input| {
            let stored = attributes(input);
            let (meta, marks) = read(&key, &object(), &stored);
            check_marks(&stored, &meta, &marks);
            for text in [&meta.content_type, &meta.content_disposition, &meta.cache_control].into_iter().flatten() {
                assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
            }
            let known = meta.sha256.map(|digest| Sums { digest, crc: marks.crc });
            let options = PutOptions {
                content_type: meta.content_type.clone(),
                content_disposition: meta.content_disposition.clone(),
                cache_control: meta.cache_control.clone(),
                user: meta.user.clone(),
                time_to_live: marks.time_to_live,
                ..PutOptions::default()
            };
            // Who copies it writes what was read, and that is read again.
            let (again, marks_again) = read(&key, &object(), &describe_copy(&options, "nonce", known));
            let told = |meta: &Meta| {
                let headers = [&meta.content_type, &meta.content_disposition, &meta.cache_control].map(Clone::clone);
                (headers, meta.user.clone(), meta.sha256, meta.expires)
            };
            assert_eq!(told(&again), told(&meta));
            assert_eq!((marks_again.crc, marks_again.time_to_live), (marks.crc, marks.time_to_live));
            let ours = (marks.put.is_some(), marks.apart, marks.crc.is_some(), marks.fence.is_some());
            format!("{} {:?} {ours:?} {}", meta.user.len(), told(&meta).0.map(|text| text.is_some()), known.is_some())
        },
    );
}
