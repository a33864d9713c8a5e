//! Messages that anybody may publish.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_message() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/message");
    let repair = |input: &mut Vec<u8>| {
        input.resize(input.len().max(13), b'a');
        input[..2].copy_from_slice(b"N\x01");
        let name = u16::from_le_bytes([input[10], input[11]]);
        let most = u16::try_from(input.len() - 12).unwrap_or(u16::MAX);
        input[10..12].copy_from_slice(&name.min(most).to_le_bytes());
    };
    Target::new(corpus).run(repair, |input| match decode(Bytes::copy_from_slice(input)) {
        Some((number, channel, message)) => {
            let name = u16::try_from(channel.len()).unwrap().to_le_bytes();
            let parts = [b"N\x01", &number.to_le_bytes()[..], &name, channel.as_bytes(), &message];
            assert_eq!(parts.concat(), input, "all of it is the message");
            format!("{}", channel.len() / 16)
        }
        None => "no message".to_owned(),
    });
}
