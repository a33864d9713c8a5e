//! Credentials of a role: from the token service, of a container and of a host.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use statehouse_core::{ErrorKind, Retry};
use statehouse_filestore::object::Transport;
use statehouse_filestore::{Files, ObjectFileStore, Probe, S3Config};
use statehouse_testkit::{FaultProxy, HttpsProxy, OwnNetwork, S3Server};

use crate::s3::{config, files};
use crate::stub::{Request, Stub, reply};

const CASE: &str = "STATEHOUSE_TEST_ROLE";
const SERVER: &str = "STATEHOUSE_TEST_S3_URL";
const HOST: &str = "169.254.169.254";
const CONTAINER: &str = "169.254.170.2";

/// Longer than `object_store` goes on with the same ones.
const LONG: u64 = 3_600;
/// They have not ended, and are to be renewed.
const SHORT: u64 = 200;

/// What hands out credentials, as a case wants it, and how often it did.
struct Giver {
    case: String,
    keys: (String, String),
    given: AtomicUsize,
}

impl Giver {
    fn new(case: &str, server: &S3Server) -> Arc<Self> {
        let keys = (server.access_key().to_owned(), server.secret_key().to_owned());
        Arc::new(Self { case: case.to_owned(), keys, given: AtomicUsize::new(0) })
    }

    /// For how long the next credentials are good, or the status with which it fails.
    fn next(&self) -> Result<u64, &'static str> {
        match (self.case.as_str(), self.given.fetch_add(1, Ordering::Relaxed)) {
            ("away", _) => Err("503 Service Unavailable"),
            ("refused", _) => Err("403 Forbidden"),
            ("lasting", _) | ("renewed", 1..) => Ok(LONG),
            ("renewed" | "kept", 0) => Ok(SHORT),
            ("kept", _) => Err("500 Internal Server Error"),
            (other, _) => panic!("{other}"),
        }
    }

    fn answer(&self, request: &Request, to: &mut TcpStream) -> std::io::Result<()> {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        match path {
            "/latest/api/token" => return reply(to, "200 OK", &[], b"of-the-session"),
            _ if path.starts_with("/latest")
                && request.header("x-aws-ec2-metadata-token") != Some("of-the-session") =>
            {
                return reply(to, "401 Unauthorized", &[], b"");
            }
            "/latest/meta-data/iam/security-credentials/" => return reply(to, "200 OK", &[], b"clinic"),
            "/pod" if request.header("authorization") != Some("of-the-pod") => {
                return reply(to, "401 Unauthorized", &[], b"");
            }
            _ => {}
        }
        let seconds = match self.next() {
            Ok(seconds) => seconds,
            Err(status) => return reply(to, status, &[], b"no"),
        };
        let ends = timestamp(SystemTime::now() + Duration::from_secs(seconds));
        let (key, secret) = &self.keys;
        let body = match path.contains("WebIdentityToken=of-the-service") {
            true => format!(
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                 <SessionToken>t</SessionToken><SecretAccessKey>{secret}</SecretAccessKey>\
                 <AccessKeyId>{key}</AccessKeyId><Expiration>{ends}</Expiration></Credentials>\
                 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ),
            false => format!(
                "{{\"AccessKeyId\":\"{key}\",\"SecretAccessKey\":\"{secret}\",\"Token\":\"t\",\"Expiration\":\"{ends}\"}}"
            ),
        };
        reply(to, "200 OK", &[], body.as_bytes())
    }
}

/// `2026-01-31T23:59:59Z`.
fn timestamp(time: SystemTime) -> String {
    let http = httpdate::fmt_http_date(time);
    let month = 1 + "JanFebMarAprMayJunJulAugSepOctNovDec".find(&http[8..11]).unwrap() / 3;
    format!("{}-{month:02}-{}T{}Z", &http[12..16], &http[5..7], &http[17..25])
}

/// VersityGW has no temporary keys, and refuses who comes with a session token.
fn without_token(server: &S3Server) -> FaultProxy {
    let proxy = FaultProxy::start(server.address());
    proxy.strip_s3_headers(&["x-amz-security-token"], server.secret_key());
    proxy
}

/// The bucket without a key, as an application has it that runs under a role.
fn keyless(server: &S3Server, proxy: &FaultProxy) -> S3Config {
    S3Config::new(server.bucket())
        .with_endpoint(proxy.url(&server.endpoint()))
        .with_region(server.region())
        .with_transport(Transport::PlainAllowed)
        .with_timeouts(Duration::from_secs(2), Duration::from_secs(5))
        .with_retries(0)
}

async fn works(files: &Files, name: &'static str) {
    files.put(name, name).await.unwrap();
    assert_eq!(files.get(name).await.unwrap().bytes().await.unwrap(), name.as_bytes());
}

/// What holds whoever gives the credentials, which `asked` names in errors.
async fn holds(case: &str, server: &S3Server, asked: &str) {
    let proxy = without_token(server);
    match case {
        "explicit" => works(&files(ObjectFileStore::open_s3(config(server)).await.unwrap()), "explicit").await,
        "lasting" | "renewed" | "kept" => {
            let files = files(ObjectFileStore::open_s3(keyless(server, &proxy)).await.unwrap());
            works(&files, "one").await;
            // Longer than `object_store` leaves alone who has just been asked.
            tokio::time::sleep(Duration::from_millis(300)).await;
            works(&files, "two").await;
        }
        "away" | "gone" | "refused" => {
            let config = keyless(server, &proxy).with_probe(Probe::Never);
            let error = match ObjectFileStore::open_s3(config).await {
                Ok(store) => files(store).get("x").await.unwrap_err(),
                Err(error) => error,
            };
            let expected = match case {
                "refused" => (ErrorKind::Unauthenticated, Retry::Never),
                _ => (ErrorKind::Unavailable, Retry::After(Duration::from_secs(1))),
            };
            assert_eq!((error.kind(), error.retry()), expected, "{case}: {error:?}");
            assert!(error.message().contains(asked), "{case}: {error}");
        }
        other => panic!("{other}"),
    }
}

/// How often credentials are given out in a case: once where they last, once more minutes before they end, and where that
/// fails, not again for a while.
fn assert_given(case: &str, given: usize) {
    let expected = match case {
        "explicit" | "gone" => 0..=0,
        "lasting" => 1..=1,
        "renewed" => 2..=2,
        // A machine that is slow comes past the pause after which it is tried again.
        "kept" => 2..=20,
        _ => 1..=2,
    };
    assert!(expected.contains(&given), "{case}: given {given} times");
}

/// Not a test of its own: runs where there is a role, which the others make.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_under_a_role() {
    let Ok(case) = std::env::var(CASE) else { return };
    if !OwnNetwork::is_here() {
        let asked = std::env::var("STATEHOUSE_TEST_ASKED").unwrap();
        return holds(&case, &S3Server::at(&std::env::var(SERVER).unwrap()), &asked).await;
    }
    let server = S3Server::start().await;
    let address = if std::env::var_os("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").is_some() { CONTAINER } else { HOST };
    let giver = Giver::new(&case, &server);
    let answers = Arc::clone(&giver);
    let listening =
        (case != "gone").then(|| Stub::start_at(&format!("{address}:80"), move |r, to| answers.answer(r, to)));
    holds(&case, &server, &format!("http://{address}")).await;
    assert_given(&case, giver.given.load(Ordering::Relaxed));
    drop(listening);
}

const CASES: [&str; 7] = ["explicit", "lasting", "renewed", "kept", "away", "gone", "refused"];

#[test]
fn the_role_of_a_host_is_used_renewed_and_told_apart_from_one_that_is_away() {
    for case in CASES {
        OwnNetwork::run(&[HOST], "s3_roles::the_process_under_a_role", &[(CASE, case)]);
    }
}

#[test]
fn the_role_of_a_container_is_used_renewed_and_told_apart_from_one_that_is_away() {
    let uri = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1");
    for case in CASES {
        OwnNetwork::run(&[CONTAINER, HOST], "s3_roles::the_process_under_a_role", &[(CASE, case), uri]);
    }
}

/// Runs the test above in a process that `environment` leads to a giver at `asked`.
fn run(server: &S3Server, case: &str, asked: &str, environment: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "s3_roles::the_process_under_a_role"])
        .env(SERVER, server.url())
        .env("STATEHOUSE_TEST_ASKED", asked)
        .env(CASE, case)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{case}: {text}");
}

fn token_file(token: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(token.as_bytes()).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_of_a_pod_is_used_renewed_and_told_apart_from_one_that_is_away() {
    let (server, token) = (S3Server::shared().await, token_file("of-the-pod"));
    for case in CASES {
        let giver = Giver::new(case, server);
        let answers = Arc::clone(&giver);
        let stub = Stub::start(move |request, to| answers.answer(request, to));
        let asked = if case == "gone" { "http://127.0.0.1:1".to_owned() } else { stub.endpoint() };
        let uri = format!("{asked}/pod");
        let path = token.path().to_str().unwrap();
        let variables =
            [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*uri), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path)];
        run(server, case, &asked, &variables);
        assert_given(case, giver.given.load(Ordering::Relaxed));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_of_a_web_identity_is_used_renewed_and_told_apart_from_one_that_is_away() {
    let (server, token) = (S3Server::shared().await, token_file("of-the-service"));
    for case in CASES {
        let giver = Giver::new(case, server);
        let answers = Arc::clone(&giver);
        let stub = Stub::start(move |request, to| answers.answer(request, to));
        let service = HttpsProxy::start(stub.endpoint().trim_start_matches("http://"), "");
        let asked =
            if case == "gone" { "https://localhost:1".to_owned() } else { format!("https://{}", service.address()) };
        let authority = service.authority();
        let variables = [
            ("AWS_ENDPOINT_URL_STS", &*asked),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/clinic"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.path().to_str().unwrap()),
            ("SSL_CERT_FILE", authority.to_str().unwrap()),
        ];
        run(server, case, &asked, &variables);
        assert_given(case, giver.given.load(Ordering::Relaxed));
    }
}
