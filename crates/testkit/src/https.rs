//! HTTPS and a login before a server that has neither.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::StartError;
use crate::http::{self, Response};
use crate::port::Port;
use crate::process::server_folder;
use crate::proxy::listen_on;
use crate::tls::TlsFiles;

/// A reverse proxy that serves HTTPS and looks at the `Authorization` header of each request, as a gateway or a server's
/// security plugin does. A wrong one is answered with 401 and reaches nobody.
///
/// It runs on the runtime that started it, and ends when it is dropped.
#[derive(Debug)]
pub struct HttpsProxy {
    port: Port,
    files: TlsFiles,
    _folder: TempDir,
    _task: JoinSet<()>,
}

/// What every connection needs.
struct Gate {
    target: String,
    authorization: String,
    acceptor: TlsAcceptor,
}

impl HttpsProxy {
    /// Starts a proxy on a free port of 127.0.0.1 in front of `target`, a `host:port` that speaks plain HTTP, for those
    /// who send this `Authorization`: `"Basic YXBwOnB3"` is the user `app` with the password `pw`, and `""` whoever sends none.
    ///
    /// # Panics
    /// With a [`StartError`] if there is no `openssl` to make its certificate with, or no port; and outside of a runtime.
    #[must_use]
    pub fn start(target: impl Into<String>, authorization: impl Into<String>) -> Self {
        let started = Self::try_start(target.into(), authorization.into());
        started.unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_start(target: String, authorization: String) -> Result<Self, StartError> {
        let folder = server_folder("https")?;
        let files = TlsFiles::create(folder.path())?;
        let acceptor = acceptor(&files).map_err(|error| StartError::new(format!("TLS: {error}")))?;
        let port = Port::reserve()?;
        let listener = listen_on(port.address())?;
        let gate = Arc::new(Gate { target, authorization, acceptor });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, gate));
        Ok(Self { port, files, _folder: folder, _task: task })
    }

    /// `localhost:port`, which its certificate is for.
    #[must_use]
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port.number())
    }

    /// The PEM file of the authority that signed its certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.files.authority.clone()
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
    let certificate = CertificateDer::from_pem_file(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Gate {
    /// Answers the requests of one client; its end, and what is wrong with it, ends its connection only.
    async fn serve(&self, client: TcpStream) {
        let Ok(stream) = self.acceptor.accept(client).await else { return };
        let mut stream = BufReader::new(stream);
        while let Ok(Some(request)) = Request::read(&mut stream).await {
            let Ok(Response { status, headers, body }) = self.answer(&request).await else { return };
            let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers.iter().filter(|(name, _)| name == "content-type") {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let answer = [head.as_bytes(), b"\r\n", &body].concat();
            if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, request: &Request) -> io::Result<Response> {
        if request.header("authorization").map_or("", String::as_str) != self.authorization {
            return Ok(Response { status: 401, headers: Vec::new(), body: b"Unauthorized".to_vec() });
        }
        let kept = request.headers.iter().filter(|(name, _)| name == "content-type").cloned().collect::<Vec<_>>();
        http::request(&self.target, &request.method, &request.target, &kept, &request.body).await
    }
}

/// A request whose body, if it has one, came with its length.
struct Request {
    method: String,
    target: String,
    /// Names in lowercase.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&String> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The next request; none if the client has ended.
    async fn read(stream: &mut BufReader<TlsStream<TcpStream>>) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(None);
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut words = lines.first().map_or("", String::as_str).split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let header = |line: &String| {
            line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers = lines.iter().skip(1).filter_map(header).collect();
        let mut request = Self { method, target, headers, body: Vec::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        request.body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut request.body).await?;
        Ok(Some(request))
    }
}

async fn accept(listener: TcpListener, gate: Arc<Gate>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let gate = Arc::clone(&gate);
        connections.spawn(async move { gate.serve(client).await });
        while connections.try_join_next().is_some() {}
    }
}
