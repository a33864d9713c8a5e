//! One request, sent to one replica after another until one answers.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Body;

/// Bodies up to this many bytes are kept at hand, to be sent or received again.
const AT_HAND: u64 = 1 << 20;
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// A request that can be repeated waits no longer for one replica: a little longer than the clinic lets anybody wait (its
/// search 4 s), because who repeats what is slow makes it slower.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What cannot be repeated waits for as long as the largest upload takes.
const CARRIED_OUT_WITHIN: Duration = Duration::from_secs(600);
/// How long a client may take for a body that is kept at hand.
const SENT_WITHIN: Duration = Duration::from_secs(60);

/// Why a replica gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It did not get the request, or getting it twice changes nothing.
    SendAgain,
    MayHaveBeenCarriedOut,
}

/// A request that can be sent several times, as long as its body is at hand.
pub(super) struct Outgoing {
    parts: Parts,
    payload: Payload,
}

enum Payload {
    AtHand(Bytes),
    Stream(Incoming),
    /// The stream was sent.
    Gone,
}

impl Outgoing {
    pub(super) async fn new(request: Request<Incoming>) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(CONNECTION);
        let short = body.size_hint().upper().is_some_and(|length| length <= AT_HAND);
        let payload = match short {
            true => Payload::AtHand(timeout(SENT_WITHIN, body.collect()).await??.to_bytes()),
            false => Payload::Stream(body),
        };
        Ok(Self { parts, payload })
    }

    fn can_be_repeated(&self) -> bool {
        let harmless = matches!(self.parts.method, Method::GET | Method::HEAD | Method::PUT);
        harmless && matches!(self.payload, Payload::AtHand(_))
    }

    pub(super) async fn send(&mut self, to: SocketAddr) -> Result<Response<Body>, Failed> {
        let connected = timeout(CONNECT_WITHIN, TcpStream::connect(to)).await;
        let Ok(Ok(stream)) = connected else { return Err(Failed::SendAgain) };
        let repeat = self.can_be_repeated();
        let sent = self.send_over(stream, repeat);
        let answered = timeout(if repeat { ANSWER_WITHIN } else { CARRIED_OUT_WITHIN }, sent).await.ok().flatten();
        answered.ok_or(if repeat { Failed::SendAgain } else { Failed::MayHaveBeenCarriedOut })
    }

    async fn send_over(&mut self, stream: TcpStream, repeat: bool) -> Option<Response<Body>> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let body = match std::mem::replace(&mut self.payload, Payload::Gone) {
            Payload::AtHand(bytes) => {
                self.payload = Payload::AtHand(bytes.clone());
                Full::new(bytes).map_err(|never| match never {}).boxed()
            }
            Payload::Stream(stream) => stream.boxed(),
            Payload::Gone => return None,
        };
        let response = sender.send_request(Request::from_parts(self.parts.clone(), body)).await.ok()?;
        let (mut parts, body) = response.into_parts();
        parts.headers.remove(CONNECTION);
        // A short answer is passed on when it is complete, so that one that is cut can be asked for again.
        if repeat && length(&parts.headers).is_some_and(|length| length <= AT_HAND) && self.parts.method != Method::HEAD
        {
            let body = Full::new(body.collect().await.ok()?.to_bytes()).map_err(|never| match never {}).boxed();
            return Some(Response::from_parts(parts, body));
        }
        Some(Response::from_parts(parts, body.boxed()))
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the replica says that requests can be sent to it.
pub(super) async fn is_ready(replica: SocketAddr) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(replica).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/ready").header(HOST, replica.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let ready = response.status() == StatusCode::OK;
    Limited::new(response.into_body(), 1 << 16).collect().await?;
    Ok(ready)
}
