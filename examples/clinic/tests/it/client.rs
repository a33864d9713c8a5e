//! A browser without a screen: cookies, and the token that forms need.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::cookie::{CookieStore, Jar};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

pub(crate) const PASSWORD: &str = "statehouse";

/// How long any answer may take, of the clinic and of a browser: one that hangs is an error that names what was asked for.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    cookies: Arc<Jar>,
    base: String,
    csrf: Mutex<String>,
}

impl Client {
    /// Nobody yet. `base` is an address such as `127.0.0.1:8080`.
    pub(crate) fn new(base: impl std::fmt::Display) -> Self {
        let cookies = Arc::new(Jar::default());
        let http = builder()
            .cookie_provider(Arc::clone(&cookies))
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client without TLS can be built");
        Self { http, cookies, base: format!("http://{base}"), csrf: Mutex::default() }
    }

    /// Somebody who is logged in.
    pub(crate) async fn logged_in(base: impl std::fmt::Display, login: &str) -> Self {
        let client = Self::new(base);
        let mut answer = client.log_in(login, PASSWORD).await.expect("the clinic answers");
        // Many people at once may be asked to come again a little later.
        for _ in 0..30 {
            if answer.status() != StatusCode::SERVICE_UNAVAILABLE || !answer.headers().contains_key("retry-after") {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            answer = client.log_in(login, PASSWORD).await.expect("the clinic answers");
        }
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{login} can log in");
        client
    }

    pub(crate) async fn log_in(&self, login: &str, password: &str) -> reqwest::Result<Response> {
        let page = self.get("/login").await?.error_for_status()?.text().await?;
        self.set_csrf(token_in(&page));
        let answer = self.post("/login", &[("login", login), ("password", password)]).await?;
        if answer.status() == StatusCode::SEE_OTHER {
            let me: Value = self.get("/api/me").await?.error_for_status()?.json().await?;
            self.set_csrf(text(&me["csrf"]));
        }
        Ok(answer)
    }

    /// What it would send as `Accept` if it were a browser.
    pub(crate) fn browse(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
    }

    /// Sends a form as a browser does without scripts, with its token.
    pub(crate) async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let csrf = self.csrf();
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        self.browse(Method::POST, path).form(&fields).send().await.expect("an answer")
    }

    /// The cookie as it is sent.
    pub(crate) fn cookie(&self) -> String {
        let url = self.base.parse().expect("an address makes a URL");
        let header = self.cookies.cookies(&url).expect("there is a cookie");
        header.to_str().expect("a cookie is ASCII").to_owned()
    }

    pub(crate) fn csrf(&self) -> String {
        self.csrf.lock().expect("no test panics with it").clone()
    }

    pub(crate) fn set_csrf(&self, token: String) {
        *self.csrf.lock().expect("no test panics with it") = token;
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<Response> {
        self.request(Method::GET, path).send().await
    }

    pub(crate) async fn json(&self, path: &str) -> reqwest::Result<Value> {
        self.get(path).await?.error_for_status()?.json().await
    }

    /// Sends a form, with its token.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::Result<Response> {
        let csrf = self.csrf();
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        self.request(Method::POST, path).form(&fields).send().await
    }

    pub(crate) async fn keep_draft(&self, patient: u32, text: &str) -> reqwest::Result<Response> {
        let request = self.request(Method::PUT, &format!("/patients/{patient}/draft"));
        request.header("x-csrf-token", self.csrf()).form(&[("text", text)]).send().await
    }

    /// Attaches a document.
    pub(crate) async fn attach(
        &self,
        patient: u32,
        name: &str,
        content_type: &str,
        content: Vec<u8>,
    ) -> reqwest::Result<Response> {
        let request = self.request(Method::POST, &format!("/patients/{patient}/documents"));
        let request = request.query(&[("name", name)]).header("content-type", content_type);
        request.header("x-csrf-token", self.csrf()).body(content).send().await
    }

    /// The same with a key, so that it is done once.
    pub(crate) async fn attach_once(&self, patient: u32, key: &str, content: &[u8]) -> reqwest::Result<Response> {
        let request = self.request(Method::POST, &format!("/patients/{patient}/documents"));
        let request = request.query(&[("name", "scan.bin")]).header("content-type", "application/octet-stream");
        let request = request.header("x-csrf-token", self.csrf()).header("idempotency-key", key);
        request.body(content.to_vec()).send().await
    }

    /// The number at the top of the dashboard.
    pub(crate) async fn active_diagnoses(&self) -> i64 {
        let page = self.get("/").await.expect("an answer").error_for_status().expect("a page");
        let page = page.text().await.expect("a page");
        let number = page.split_once("<strong>").and_then(|(_, rest)| rest.split('<').next());
        number.and_then(|number| number.parse().ok()).expect("the dashboard has a number")
    }

    pub(crate) async fn concepts(&self, typed: &str, chapter: &str) -> reqwest::Result<Value> {
        let request = self.request(Method::GET, "/api/concepts").query(&[("q", typed), ("chapter", chapter)]);
        request.send().await?.error_for_status()?.json().await
    }
}

/// With OpenSearch compiled in, reqwest wants to know who does its cryptography, also if it has none to do.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    let _installed_already = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(ANSWERED_WITHIN)
}

/// A connection on which nothing waits for ever.
pub(crate) fn connect(clinic: &str) -> TcpStream {
    let clinic: SocketAddr = clinic.parse().expect("an address");
    let stream = TcpStream::connect_timeout(&clinic, ANSWERED_WITHIN).expect("the clinic accepts");
    stream.set_read_timeout(Some(ANSWERED_WITHIN)).expect("a time that is not zero");
    stream.set_write_timeout(Some(ANSWERED_WITHIN)).expect("a time that is not zero");
    stream
}

/// The token in the first form of a page.
pub(crate) fn token_in(page: &str) -> String {
    let after = page.split_once("name=\"csrf\" value=\"").expect("the page has a form").1;
    after.split('"').next().unwrap_or_default().to_owned()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
