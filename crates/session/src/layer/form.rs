//! Forms that are read before their handler does.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a request that [`CsrfLayer`](crate::CsrfLayer) has let through: a form that it has read, or what it has not looked at.
    #[derive(Debug)]
    pub struct CsrfBody<B> {
        read: Option<Bytes>,
        #[pin]
        unread: Option<B>,
    }
}

impl<B> CsrfBody<B> {
    pub(super) const fn unread(body: B) -> Self {
        Self { read: None, unread: Some(body) }
    }

    pub(super) const fn read(form: Bytes) -> Self {
        Self { read: Some(form), unread: None }
    }
}

impl<B: Body<Data = Bytes>> Body for CsrfBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        match this.unread.as_pin_mut() {
            Some(unread) => unread.poll_frame(cx),
            None => Poll::Ready(this.read.take().filter(|form| !form.is_empty()).map(|form| Ok(Frame::data(form)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.unread.as_ref().map_or_else(|| self.read.as_ref().is_none_or(Bytes::is_empty), Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let read = || SizeHint::with_exact(self.read.as_ref().map_or(0, |form| form.len() as u64));
        self.unread.as_ref().map_or_else(read, Body::size_hint)
    }
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// Reads a form of at most so many bytes. Otherwise with what to answer.
pub(super) async fn read<B: Body<Data = Bytes>>(body: B, most: usize) -> Result<Bytes, StatusCode> {
    if body.size_hint().lower() > most as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let (mut body, mut form) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(more) = frame.into_data() else { break };
        if more.len() > most - form.len() {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        form.extend_from_slice(&more);
        // A body that is always ready lets others run.
        tokio::task::coop::consume_budget().await;
    }
    Ok(form.into())
}

/// The first value of a field whose name is written as it is, as long as the value is, too.
pub(super) fn field<'a>(form: &'a [u8], name: &str) -> Option<&'a str> {
    let mut pairs = form.split(|byte| *byte == b'&');
    let value = pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    /// A body that says how long it is, and is not to be read.
    struct Long(u64);

    impl Body for Long {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
            assert!(self.0 <= 100, "it is read");
            Poll::Ready(None)
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0)
        }
    }

    #[tokio::test]
    async fn what_says_that_it_is_too_long_is_not_read() {
        assert_eq!(read(Long(101), 100).await, Err(StatusCode::PAYLOAD_TOO_LARGE));
        assert_eq!(read(Long(100), 100).await, Ok(Bytes::new()));
    }

    #[test]
    fn a_field_is_the_first_of_exactly_that_name() {
        for (form, expected) in [
            ("csrf=t1", Some("t1")),
            ("text=a%20b&csrf=t2&csrf=t3", Some("t2")),
            ("xcsrf=t2&csrfx=t3&csrf", None),
            ("csrf=", Some("")),
            ("", None),
        ] {
            assert_eq!(field(form.as_bytes(), "csrf"), expected, "{form}");
        }
    }
}
