//! Which server requests go to, and what errors say of it.

use std::fmt;

use super::clock::ServerClock;
use super::config::S3Config;

/// The server of a bucket, as errors name it: no secret is in it.
#[derive(Debug)]
pub(super) struct Server {
    /// What it speaks: `S3`, or another.
    pub(super) kind: &'static str,
    /// `https://host:port`.
    pub(super) at: String,
    pub(super) bucket: String,
    /// The region that requests are signed for.
    pub(super) region: String,
    /// Where the proxy is that requests go through, if they do.
    pub(super) proxy: Option<String>,
    /// The setting that says all of this.
    pub(super) setting: String,
    pub(super) clock: ServerClock,
}

impl Server {
    /// The server of the bucket at this URL.
    pub(super) fn new(kind: &'static str, config: &S3Config, url: &str, region: &str) -> Self {
        Self {
            kind,
            at: origin(url),
            bucket: config.bucket.clone(),
            region: region.to_owned(),
            proxy: config.proxy.as_ref().map(|proxy| origin(proxy.expose())),
            setting: config.setting.clone(),
            clock: ServerClock::default(),
        }
    }

    /// Whether requests are to go without TLS.
    pub(super) fn is_plain(&self) -> bool {
        self.at.starts_with("http:")
    }

    /// The span of a request to it.
    pub(super) fn span(&self, method: &str, resent: u32) -> tracing::Span {
        let usual = if self.is_plain() { 80 } else { 443 };
        let (name, port) = self.host().rsplit_once(':').filter(|(_, port)| !port.contains(']')).unzip();
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(usual);
        let name = name.unwrap_or_else(|| self.host()).trim_start_matches('[').trim_end_matches(']');
        let span = if self.kind == "S3" { "s3.request" } else { "azure.request" };
        statehouse_core::span::of_http_request(span, method, (name, port), resent)
    }

    /// The host and port, without the scheme.
    pub(super) fn host(&self) -> &str {
        self.at.split_once("://").map_or(&*self.at, |(_, host)| host)
    }
}

/// The scheme, host and port of a URL, without a user and password.
pub(super) fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{}://{}", scheme.to_ascii_lowercase(), host.split(['/', '?', '#']).next().unwrap_or_default())
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind, self.at)?;
        self.proxy.as_ref().map_or(Ok(()), |proxy| write!(f, " through the proxy {proxy}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_tells_host_and_port_and_no_bucket() {
        let spans = statehouse_core::conformance::Spans::default();
        let _guard = tracing::subscriber::set_default(spans.clone());
        let server = |url, region| Server::new("S3", &S3Config::new("scans"), url, region);
        for (url, resent) in [("https://s3.example.org/scans", 0), ("http://[::1]:9000/scans", 2)] {
            drop(server(url, "eu-1").span("GET", resent));
        }
        let begin = "statehouse otel.name=\"s3.request\" otel.kind=\"client\" http.request.method=\"GET\"";
        let ends = [
            " server.address=\"s3.example.org\" server.port=443",
            " server.address=\"::1\" server.port=9000 http.request.resend_count=2",
        ];
        assert_eq!(spans.lines(), ends.map(|end| format!("{begin}{end}")));
    }

    #[test]
    fn an_origin_has_no_secret() {
        for (url, expected) in [
            ("https://s3.example.org/bucket", "https://s3.example.org"),
            ("HTTP://[::1]:9000", "http://[::1]:9000"),
            ("http://user:hunter2@proxy:3128/", "http://proxy:3128"),
            ("http://user:hunt/er@2@proxy:3128", "http://proxy:3128"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
