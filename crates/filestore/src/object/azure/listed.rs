//! A part of a listing as Azure writes it: <https://learn.microsoft.com/en-us/rest/api/storageservices/list-blobs>.

use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// What an answer holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Found {
    pub(in super::super) prefix: Option<String>,
    pub(in super::super) blobs: Vec<Blob>,
    pub(in super::super) prefixes: Vec<String>,
    /// Where the listing goes on, if it does.
    pub(in super::super) next: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Blob {
    pub(in super::super) name: String,
    pub(in super::super) size: u64,
    pub(in super::super) last_modified: String,
    /// As it is in headers.
    pub(in super::super) e_tag: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    prefix: Option<String>,
    #[serde(default)]
    blobs: Blobs,
    next_marker: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Blobs {
    #[serde(default, rename = "$value")]
    all: Vec<Item>,
}

#[derive(Debug, Deserialize)]
enum Item {
    Blob {
        #[serde(rename = "Name")]
        name: Name,
        #[serde(rename = "Properties")]
        properties: Properties,
    },
    BlobPrefix {
        #[serde(rename = "Name")]
        name: Name,
    },
}

/// A name; one that is no text of XML is percent-encoded.
#[derive(Debug, Deserialize)]
struct Name {
    #[serde(default, rename = "@Encoded")]
    encoded: bool,
    #[serde(default, rename = "$text")]
    text: String,
}

#[derive(Debug, Deserialize)]
struct Properties {
    #[serde(default, rename = "Last-Modified")]
    last_modified: String,
    #[serde(default, rename = "Etag")]
    e_tag: String,
    #[serde(default, rename = "Content-Length")]
    size: u64,
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        match name.encoded {
            true => percent_decode_str(&name.text).decode_utf8_lossy().into_owned(),
            false => name.text,
        }
    }
}

pub(in super::super) fn parse(text: &[u8]) -> Result<Found, quick_xml::DeError> {
    // The mark before the text that Azure writes is none of XML's.
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let answer: Answer = quick_xml::de::from_reader(text)?;
    let mut found = Found { prefix: answer.prefix, ..Found::default() };
    found.next = answer.next_marker.filter(|marker| !marker.is_empty());
    for item in answer.blobs.all {
        match item {
            Item::BlobPrefix { name } => found.prefixes.push(name.into()),
            Item::Blob { name, properties: Properties { last_modified, e_tag, size } } => {
                // Headers have quotes around it.
                let e_tag = if e_tag.starts_with('"') { e_tag } else { format!("\"{e_tag}\"") };
                found.blobs.push(Blob { name: name.into(), size, last_modified, e_tag });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_as_azure_writes_it() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults \
                    ServiceEndpoint=\"https://a.blob.core.windows.net/\" ContainerName=\"c\"><Prefix>p/</Prefix>\
                    <MaxResults>3</MaxResults><Delimiter>/</Delimiter><Blobs>\
                    <Blob><Name>p/ a &amp;b </Name><Properties><Last-Modified>Sun, 01 Mar 2026 00:00:00 \
                    GMT</Last-Modified><Etag>0x8D1</Etag><Content-Length>3</Content-Length><Content-Type>a/b</Content-Type>\
                    <BlobType>BlockBlob</BlobType></Properties><OrMetadata /></Blob>\
                    <BlobPrefix><Name>p/b/</Name></BlobPrefix>\
                    <Blob><Name Encoded=\"true\">p/%EF%BF%BE</Name><Properties><Etag>\"0x8D2\"</Etag></Properties></Blob>\
                    </Blobs><NextMarker>2!m</NextMarker></EnumerationResults>";
        let found = parse(text.as_bytes()).unwrap();
        let blob = |name: &str, size, last_modified: &str, e_tag: &str| Blob {
            name: name.to_owned(),
            size,
            last_modified: last_modified.to_owned(),
            e_tag: e_tag.to_owned(),
        };
        let expected = Found {
            prefix: Some("p/".to_owned()),
            blobs: vec![
                blob("p/ a &b ", 3, "Sun, 01 Mar 2026 00:00:00 GMT", "\"0x8D1\""),
                blob("p/\u{fffe}", 0, "", "\"0x8D2\""),
            ],
            prefixes: vec!["p/b/".to_owned()],
            next: Some("2!m".to_owned()),
        };
        assert_eq!(found, expected);
        let empty = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
        assert_eq!(parse(empty.as_bytes()).unwrap(), Found::default());
    }
}
