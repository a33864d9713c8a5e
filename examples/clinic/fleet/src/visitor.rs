//! A browser without a screen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;

/// How long one request may take: a replica may be stopped for good.
const ANSWERED_WITHIN: Duration = Duration::from_secs(90);

const FORM: &str = "application/x-www-form-urlencoded";
/// What people look for; they are seen typing it.
const WORDS: [&str; 8] =
    ["diabetes", "hypertension", "asthma", "fracture", "pneumonia", "migraine", "arthritis", "infection"];

/// What a visitor does, with one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Dashboard,
    Chart,
    Search,
    Draft,
    Download,
    Attach,
}

impl Deed {
    pub(crate) const ALL: [Self; 6] =
        [Self::Dashboard, Self::Chart, Self::Search, Self::Draft, Self::Download, Self::Attach];
    pub(crate) const MIX: [Self; 12] = [
        Self::Dashboard,
        Self::Chart,
        Self::Search,
        Self::Search,
        Self::Search,
        Self::Draft,
        Self::Chart,
        Self::Search,
        Self::Search,
        Self::Draft,
        Self::Attach,
        Self::Download,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dashboard => "the dashboard",
            Self::Chart => "a chart",
            Self::Search => "a diagnosis as one types",
            Self::Draft => "a draft kept",
            Self::Download => "20 kB of a document down",
            Self::Attach => "20 kB of a document up",
        }
    }
}

/// A browser without a screen that is logged in. It asks one replica after another, on connections that it keeps.
#[derive(Debug)]
pub(crate) struct Visitor {
    replicas: Vec<(SocketAddr, Option<SendRequest<Full<Bytes>>>)>,
    turn: usize,
    patient: usize,
    /// By name.
    cookies: BTreeMap<String, String>,
    csrf: String,
    document: String,
    /// What the document consists of.
    byte: u8,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Visitor {
    pub(crate) async fn log_in(replicas: &[SocketAddr], number: usize) -> Result<Self, Failure> {
        Self::log_in_as(replicas, &format!("staff{:03}", 3 + number), number).await
    }

    pub(crate) async fn log_in_as(replicas: &[SocketAddr], login: &str, number: usize) -> Result<Self, Failure> {
        let replicas = replicas.iter().map(|address| (*address, None)).collect();
        let (cookies, csrf, document) = Default::default();
        let mut visitor = Self { replicas, turn: number, patient: 100 + number, cookies, csrf, document, byte: 0 };
        let page = visitor.send(Method::GET, "/login", "", Bytes::new()).await?;
        visitor.csrf = between(&page, "name=\"csrf\" value=\"")?;
        let form = format!("csrf={}&login={login}&password=statehouse", visitor.csrf);
        visitor.send(Method::POST, "/login", FORM, form.into()).await?;
        let me = visitor.send(Method::GET, "/api/me", "", Bytes::new()).await?;
        visitor.csrf = between(&me, "\"csrf\":\"")?;
        visitor.act(Deed::Attach).await?;
        Ok(visitor)
    }

    pub(crate) async fn act(&mut self, deed: Deed) -> Result<(), Failure> {
        let (turn, patient) = (self.turn, self.patient);
        let mut get = async |path: &str| self.send(Method::GET, path, "", Bytes::new()).await;
        match deed {
            Deed::Dashboard => get("/").await.map(drop),
            Deed::Chart => get(&format!("/patients/{}", 1 + turn % 2_000)).await.map(drop),
            Deed::Search => {
                let word = WORDS[turn / 8 % WORDS.len()];
                get(&format!("/api/concepts?q={}", &word[..2 + turn % (word.len() - 1)])).await.map(drop)
            }
            Deed::Draft => {
                let draft = format!("text=Slept+well.+Turn+{turn}.");
                self.send(Method::PUT, &format!("/patients/{patient}/draft"), FORM, draft.into()).await.map(drop)
            }
            Deed::Download => {
                let path = format!("/documents/{}", self.document);
                self.send(Method::GET, &path, "", Bytes::new()).await.map(drop)
            }
            Deed::Attach => {
                let path = format!("/patients/{patient}/documents?name=scan.bin");
                let byte = turn.to_le_bytes()[0];
                let scan = Bytes::from(vec![byte; 20_000]);
                let row = self.send(Method::POST, &path, "application/octet-stream", scan).await?;
                self.document = between(&row, "\"id\":\"")?;
                self.byte = byte;
                Ok(())
            }
        }
    }

    /// The id of the document that was attached last, and the byte that it consists of.
    pub(crate) fn attached(&self) -> (String, u8) {
        (self.document.clone(), self.byte)
    }

    pub(crate) async fn document(&mut self, id: &str) -> Result<Bytes, Failure> {
        self.send(Method::GET, &format!("/documents/{id}"), "", Bytes::new()).await
    }

    /// Adds a code to a problem set; its revision then.
    pub(crate) async fn extend(&mut self, set: &str, code: &str) -> Result<u64, Failure> {
        let (path, form) = (format!("/problem-sets/{set}"), format!("codes={code}"));
        let set: Value = serde_json::from_slice(&self.send(Method::POST, &path, FORM, form.into()).await?)?;
        set["revision"].as_u64().ok_or_else(|| "a set has no revision".into())
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    pub(crate) async fn json(&mut self, path: &str) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.send(Method::GET, path, "", Bytes::new()).await?)?)
    }

    /// The same of one replica, whichever this visitor's are.
    pub(crate) async fn json_at(&mut self, replica: SocketAddr, path: &str) -> Result<Value, Failure> {
        let usual = std::mem::replace(&mut self.replicas, vec![(replica, None)]);
        let answer = self.json(path).await;
        self.replicas = usual;
        answer
    }

    /// The session's cookie and its token for forms.
    pub(crate) fn credentials(&self) -> (String, &str) {
        (self.cookies(), &self.csrf)
    }

    fn cookies(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// The body of the answer. One that is neither a success nor a redirection is an error.
    async fn send(&mut self, method: Method, path: &str, content_type: &str, body: Bytes) -> Result<Bytes, Failure> {
        let Answer { status, body, .. } =
            self.request(method.clone(), path, &[(CONTENT_TYPE.as_str(), content_type)], body).await?;
        if status.is_success() || status.is_redirection() {
            return Ok(body);
        }
        Err(format!("{method} {path} was answered {status}: {}", String::from_utf8_lossy(&body)).into())
    }

    /// One request, with these headers besides the session's.
    pub(crate) async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let what = format!("{method} {path} of {}", self.replicas[self.turn % self.replicas.len()].0);
        let asked = timeout(ANSWERED_WITHIN, self.ask(method, path, headers, body)).await;
        asked.unwrap_or_else(|_| Err(format!("{what} has no answer after {ANSWERED_WITHIN:?}").into()))
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let index = self.turn % self.replicas.len();
        self.turn += 1;
        let (address, connection) = &mut self.replicas[index];
        let address = *address;
        let mut sender = match connection.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => connect(address).await?,
        };
        let cookies = self.cookies();
        let request = Request::builder().method(&method).uri(path).header(HOST, address.to_string());
        let request = request.header(COOKIE, &cookies).header("x-csrf-token", &self.csrf);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Full::new(body))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            match pair.split_once('=') {
                // One that is taken away has no value.
                Some((name, "")) => drop(self.cookies.remove(name)),
                Some((name, value)) => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
                None => {}
            }
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await?.to_bytes();
        self.replicas[index].1 = Some(sender);
        Ok(Answer { status, headers, body })
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// What stands behind `before`, up to the next quote.
fn between(text: &[u8], before: &str) -> Result<String, Failure> {
    let text = std::str::from_utf8(text)?;
    let after = text.split_once(before).ok_or("the answer has another form")?.1;
    Ok(after.split('"').next().unwrap_or_default().to_owned())
}
