//! Records of stages that anybody may have changed.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

/// The first line, and the checksum in the last.
fn seal(input: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(input);
    let lines: Vec<_> = text.lines().skip(1).collect();
    let lines = lines.split_last().map_or(&[][..], |(_checksum, lines)| lines);
    let text = format!("{FORMAT}\n{}\n", lines.join("\n"));
    let crc = crc32fast::hash(text.as_bytes());
    *input = format!("{text}{crc:08x}\n").into_bytes();
}

#[test]
fn fuzz_stage_record() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/stage_record");
    let words = ["\n", "apart", "with", "always", "absent", "match ", "-", "0", " "];
    Target::new(corpus).with_words(&words).run(seal, |input| match Record::decode(input) {
        Ok(record) => {
            // What no server calls an upload is read, and not written again.
            if let Ok(text) = record.encode() {
                assert_eq!(Record::decode(text.as_bytes()).unwrap().encode().unwrap(), text);
            }
            format!("{} {:?} {}", record.apart, record.condition == Condition::Always, record.time_to_live.is_some())
        }
        Err(error) => error.to_string(),
    });
}
