//! Several ranges of a file in one answer: `multipart/byteranges`
//! ([RFC 9110, 14.6](https://www.rfc-editor.org/rfc/rfc9110#section-14.6)).

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::HeaderValue;
use statehouse_core::Result;

use super::body::FileBody;
use super::headers::content_range;
use super::reader::Reader;
use crate::content::Object;
use crate::digest::{hex, nonce};
use crate::meta::Meta;

/// The parts of an answer, which are read one after the other.
struct Parts {
    reader: Reader,
    meta: Meta,
    /// The head of each part, and which bytes follow.
    left: VecDeque<(String, Range<u64>)>,
    /// The first part's content, which is there already.
    first: Option<Object>,
    end: Option<String>,
    current: Option<BoxStream<'static, Result<Bytes>>>,
}

/// The header `Content-Type`, the length and the body of an answer with these ranges of this state of the file.
///
/// # Errors
/// Those of the first range's get: whatever fails later breaks the answer off.
pub(super) async fn several(
    reader: Reader,
    meta: Meta,
    content_type: &HeaderValue,
    ranges: Vec<Range<u64>>,
) -> Result<(String, u64, FileBody)> {
    let boundary = hex(&nonce()?);
    let content_type = content_type.to_str().unwrap_or("application/octet-stream");
    let mut left = VecDeque::new();
    for (at, range) in ranges.into_iter().enumerate() {
        let begin = if at == 0 { "" } else { "\r\n" };
        let range_line = content_range(&range, meta.len);
        let head =
            format!("{begin}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {range_line}\r\n\r\n");
        left.push_back((head, range));
    }
    let end = format!("\r\n--{boundary}--\r\n");
    let len =
        left.iter().map(|(head, range)| head.len() as u64 + range.end - range.start).sum::<u64>() + end.len() as u64;
    let first = match left.front() {
        Some((_, range)) => Some(reader.pinned(&meta, Some(range.clone().into())).await?),
        None => None,
    };
    let parts = Parts { reader: reader.begun(), meta, left, first, end: Some(end), current: None };
    let content = futures_util::stream::try_unfold(parts, |mut parts| async move {
        Ok(parts.next().await?.map(|piece| (piece, parts)))
    });
    Ok((format!("multipart/byteranges; boundary={boundary}"), len, FileBody::new(content.boxed(), len)))
}

impl Parts {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(content) = &mut self.current {
            if let Some(piece) = content.try_next().await? {
                return Ok(Some(piece));
            }
            self.current = None;
        }
        let Some((head, range)) = self.left.pop_front() else { return Ok(self.end.take().map(Bytes::from)) };
        let object = match self.first.take() {
            Some(object) => object,
            None => self.reader.pinned(&self.meta, Some(range.into())).await?,
        };
        self.current = Some(object.into_stream());
        Ok(Some(Bytes::from(head)))
    }
}
