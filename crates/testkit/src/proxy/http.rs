//! What clients send: Redis commands are counted, HTTP/1.1 requests counted and relieved of headers, all else passes.

use super::count::{Commands, Counts};
use super::settings::Strip;
use crate::sigv4::Signable;

/// Follows what a client sends on one connection.
#[derive(Debug, Default)]
pub(super) enum RequestFilter {
    /// Nothing has come yet.
    #[default]
    Unknown,
    Redis(Commands),
    Http(Requests),
    /// TLS, PostgreSQL and so on.
    Opaque,
}

impl RequestFilter {
    /// Counts the requests in `bytes` and removes the headers that `strip` names from them.
    pub(super) fn pass(&mut self, bytes: &mut Vec<u8>, strip: &Strip, counts: &mut Counts) {
        if matches!(self, Self::Unknown) {
            *self = match bytes.first() {
                Some(b'*') => Self::Redis(Commands::default()),
                Some(b'A'..=b'Z') => Self::Http(Requests::default()),
                _ => Self::Opaque,
            };
        }
        match self {
            Self::Redis(commands) => commands.feed(bytes, counts),
            Self::Http(requests) => *bytes = requests.feed(bytes, strip, counts),
            Self::Unknown | Self::Opaque => {}
        }
    }
}

/// A stream of HTTP/1.1 requests.
#[derive(Debug, Default)]
pub(super) struct Requests {
    part: Part,
    /// A head, or a line of a chunked body, as far as it has come.
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    /// So many bytes of a body.
    Body(u64),
    /// The line with the length of a chunk.
    ChunkLength,
    /// So many bytes of a chunk, with its line end.
    Chunk(u64),
    /// The lines after the last chunk, up to an empty one.
    Trailer,
}

impl Requests {
    fn feed(&mut self, mut bytes: &[u8], strip: &Strip, counts: &mut Counts) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            if let Part::Body(left) | Part::Chunk(left) = &mut self.part {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                out.extend_from_slice(&bytes[..length]);
                bytes = &bytes[length..];
                *left -= length as u64;
                if *left == 0 {
                    self.part = if matches!(self.part, Part::Body(_)) { Part::Head } else { Part::ChunkLength };
                }
                continue;
            }
            let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
            self.text.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            if self.text.ends_with(b"\n") && (self.part != Part::Head || self.text.ends_with(b"\r\n\r\n")) {
                let text = std::mem::take(&mut self.text);
                self.take(&text, strip, counts, &mut out);
            }
        }
        out
    }

    /// A whole head, or a whole line of a chunked body.
    fn take(&mut self, text: &[u8], strip: &Strip, counts: &mut Counts, out: &mut Vec<u8>) {
        let line = String::from_utf8_lossy(text);
        if self.part == Part::Head {
            counts.add(line.split(' ').next().unwrap_or_default().as_bytes());
            out.extend_from_slice(without(&line, strip).as_bytes());
            self.part = body_of(&line);
            return;
        }
        out.extend_from_slice(text);
        self.part = match chunk_length(&line) {
            _ if self.part == Part::Trailer && line.trim().is_empty() => Part::Head,
            _ if self.part == Part::Trailer => Part::Trailer,
            0 => Part::Trailer,
            length => Part::Chunk(length + 2),
        };
    }
}

fn chunk_length(line: &str) -> u64 {
    let digits = line.split(';').next().unwrap_or_default();
    u64::from_str_radix(digits.trim(), 16).unwrap_or_default()
}

/// `head` without the headers that `strip` names, signed again if it was signed and there is a key.
fn without(head: &str, strip: &Strip) -> String {
    let named = |line: &str| header(line).is_some_and(|(name, _)| strip.names.contains(&name));
    if !head.split('\n').any(named) {
        return head.to_owned();
    }
    let rest: String = head.split_inclusive('\n').filter(|line| !named(line)).collect();
    strip.secret_key.as_ref().and_then(|key| signed_again(&rest, key)).unwrap_or(rest)
}

/// `head` with a new S3 signature over those of its signed headers that it still has; none if it is not signed.
fn signed_again(head: &str, secret_key: &str) -> Option<String> {
    let (request, rest) = head.split_once("\r\n")?;
    let (method, target) = request.strip_suffix(" HTTP/1.1")?.split_once(' ')?;
    let headers: Vec<_> = rest.lines().filter_map(header).collect();
    let value = |name: &str| headers.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
    let old = value("authorization")?;
    let (_, old_fields) = old.split_once("AWS4-HMAC-SHA256 ")?;
    let field = |name: &str| old_fields.split(',').find_map(|field| field.trim().strip_prefix(name));
    let (access_key, scope) = field("Credential=")?.split_once('/')?;
    let signed =
        field("SignedHeaders=")?.split(';').filter_map(|name| Some((name.to_owned(), value(name)?.to_owned())));
    let signed: Vec<_> = signed.collect();
    let request = Signable { method, target, headers: &signed, payload: value("x-amz-content-sha256")? };
    Some(head.replacen(old, &request.authorization(access_key, secret_key, value("x-amz-date")?, scope), 1))
}

/// What follows `head`.
fn body_of(head: &str) -> Part {
    for (name, value) in head.lines().filter_map(header) {
        match (name.as_str(), value) {
            ("transfer-encoding", value) if value.eq_ignore_ascii_case("chunked") => return Part::ChunkLength,
            ("content-length", value) => match value.parse().unwrap_or_default() {
                0 => {}
                length => return Part::Body(length),
            },
            _ => {}
        }
    }
    Part::Head
}

/// The lowercase name and the value of a header line.
fn header(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_ascii_lowercase(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip() -> Strip {
        Strip { names: vec!["if-none-match".to_owned()], secret_key: None }
    }

    #[test]
    fn named_headers_go_and_bodies_stay_however_requests_are_cut() {
        let put =
            "PUT /k HTTP/1.1\r\nHost: h\r\nif-None-Match: *\r\nContent-Length: 25\r\n\r\nIf-None-Match: body\r\n\r\nab";
        let post = "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nab\r\nc\r\n0\r\nT: 1\r\n\r\n";
        let get = "GET / HTTP/1.1\r\nIF-NONE-MATCH: \"e\"\r\n\r\n";
        let sent = format!("{put}{post}{get}");
        let expected = sent.replacen("if-None-Match: *\r\n", "", 1).replacen("IF-NONE-MATCH: \"e\"\r\n", "", 1);
        for cut in 1..sent.len() {
            let (mut filter, mut counts) = (RequestFilter::default(), Counts::default());
            let mut passed = Vec::new();
            for piece in sent.as_bytes().chunks(cut) {
                let mut piece = piece.to_vec();
                filter.pass(&mut piece, &strip(), &mut counts);
                passed.extend(piece);
            }
            assert_eq!(String::from_utf8_lossy(&passed), expected, "cut {cut}");
            assert_eq!((counts.command("PUT"), counts.command("POST"), counts.command("GET")), (1, 1, 1));
        }
    }

    #[test]
    fn other_protocols_pass_untouched() {
        let mut bytes = b"\x16\x03If-None-Match: x\r\n".to_vec();
        let before = bytes.clone();
        let mut counts = Counts::default();
        RequestFilter::default().pass(&mut bytes, &strip(), &mut counts);
        assert_eq!((bytes, counts.commands()), (before, 0));
    }
}
