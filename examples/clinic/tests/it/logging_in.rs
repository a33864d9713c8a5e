//! Guessing, flooding and dismissing.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};

use crate::client::{Client, PASSWORD, connect, token_in};
use crate::clinic;

#[tokio::test]
async fn who_guesses_is_stopped_and_others_are_not() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).start().await;
    let guesser = Client::new(clinic.address());
    for guess in 0..10 {
        let refused = guesser.log_in("ada", &format!("guess {guess}")).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{guess}");
    }
    let stopped = guesser.log_in("ada", PASSWORD).await.unwrap();
    assert_eq!(stopped.status(), StatusCode::TOO_MANY_REQUESTS, "also the right one");
    let wait: u64 = stopped.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    let page = guesser.submit("/login", &[("login", "ada"), ("password", PASSWORD)]).await.text().await.unwrap();
    assert!(page.contains("Too many log-ins failed. Try again in") && page.contains("value=\"ada\""), "{page}");
    Client::logged_in(clinic.address(), "grace").await;
    let log = clinic.log().unwrap();
    assert_eq!(log.matches("a log-in failed").count(), 10, "{log}");
    assert!(log.contains("too many log-ins failed") && !log.contains("guess 3"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_ins_whose_senders_have_gone_keep_nobody_waiting() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).start().await;
    let token = "0123456789abcdef".repeat(2);
    let honest = Client::new(clinic.address());
    let page = honest.get("/login").await.unwrap().text().await.unwrap();
    honest.set_csrf(token_in(&page));
    let mut gone = 0;
    for sender in 0..1_500 {
        let form = format!("login=staff{sender}&password=wrong&csrf={token}");
        let mut stream = connect(clinic.address());
        let head = "POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n";
        write!(stream, "{head}cookie: login={token}\r\ncontent-length: {}\r\n\r\n{form}", form.len()).unwrap();
        gone += 1;
    }
    assert_eq!(gone, 1_500);
    let started = Instant::now();
    loop {
        let answer = honest.post("/login", &[("login", "ada"), ("password", PASSWORD)]).await.unwrap();
        if answer.status() == StatusCode::SEE_OTHER {
            break;
        }
        // Who waits longer than for a turn is asked to come again; behind all of them it would take minutes.
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text().await.unwrap());
        assert!(answer.headers().contains_key("retry-after"));
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_log_ins_than_can_be_checked_are_told_to_come_again() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).start().await;
    let token = "0123456789abcdef".repeat(2);
    let mut waiting = Vec::new();
    for sender in 0..600 {
        let form = format!("login=staff{sender}&password=wrong&csrf={token}");
        let mut stream = connect(clinic.address());
        let head = "POST /login HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    content-type: application/x-www-form-urlencoded\r\n";
        write!(stream, "{head}cookie: login={token}\r\ncontent-length: {}\r\n\r\n{form}", form.len()).unwrap();
        waiting.push(stream);
    }
    let (mut busy, mut told) = (0, 0);
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in time");
        busy += usize::from(answer.starts_with("HTTP/1.1 503"));
        told += usize::from(answer.to_lowercase().contains("retry-after: "));
    }
    assert!(busy > 0, "the queue is bounded");
    assert!(told >= busy, "{told} of {busy} were told when");
    Client::new(clinic.address()).get("/live").await.unwrap().error_for_status().unwrap();
}

/// Wherever a log-in was to lead: whoever is logged in gets there, or to the first page.
#[tokio::test]
async fn a_log_in_arrives_whatever_the_link_said() {
    let clinic = clinic::shared().await;
    for next in [
        "/patients?q=Müller",
        "/\u{202e}",
        "//evil.example",
        "/\\evil.example",
        "/a\r\nset-cookie: x=1",
        "/\u{7f}",
        &format!("/{}", "a".repeat(20_000)),
    ] {
        let client = Client::new(clinic.address());
        let form = client.get("/login").await.unwrap().text().await.unwrap();
        client.set_csrf(token_in(&form));
        let right = [("login", "staff037"), ("password", PASSWORD), ("next", next)];
        let answer = client.submit("/login", &right).await;
        let location = answer.headers().get("location").map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{:?}: {location:?}", &next[..next.len().min(30)]);
        let location = location.unwrap();
        assert!(location.starts_with('/') && !location.starts_with("//") && location.len() < 8_192, "{location}");
    }
}

#[tokio::test]
async fn asking_for_the_form_makes_no_session() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).start().await;
    let count = || walk(&data.path().join("sessions"));
    let before = count();
    for _ in 0..50 {
        Client::new(clinic.address()).get("/login").await.unwrap().error_for_status().unwrap();
    }
    assert_eq!(count(), before);
    Client::logged_in(clinic.address(), "ada").await;
    assert!(count() > before);
}

fn walk(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn who_is_dismissed_is_out_within_seconds_and_an_operator_is_one_only_while_they_are() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).start().await;
    let ada = Client::logged_in(clinic.address(), "ada").await;
    let grace = Client::logged_in(clinic.address(), "grace").await;
    assert_eq!(ada.get("/operator").await.unwrap().status(), StatusCode::OK);
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", data.path().join("clinic.db").display());
    let database = sqlx::AnyPool::connect(&url).await.unwrap();
    sqlx::raw_sql("UPDATE staff SET role = 'clinician' WHERE login = 'ada'").execute(&database).await.unwrap();
    sqlx::raw_sql("UPDATE staff SET dismissed_at = 1 WHERE login = 'grace'").execute(&database).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut late = true;
    while late && Instant::now() < deadline {
        let operator = ada.get("/operator").await.unwrap().status();
        let chart = grace.get("/api/patients/1").await.unwrap().status();
        late = operator != StatusCode::FORBIDDEN || chart != StatusCode::UNAUTHORIZED;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(!late, "roles are those of now");
    assert_eq!(ada.get("/api/me").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_cookie_that_does_not_come_back_is_said() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).env("CLINIC_HTTPS", "true").start().await;
    let client = Client::new(clinic.address());
    let page = client.get("/login").await.unwrap();
    assert_eq!(page.headers()["strict-transport-security"], "max-age=31536000");
    // A browser brings the cookie back over HTTPS only; this one brings none.
    let without = Client::new(clinic.address());
    without.set_csrf(token_in(&page.text().await.unwrap()));
    let refused = without.submit("/login", &[("login", "ada"), ("password", PASSWORD)]).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let page = refused.text().await.unwrap();
    assert!(page.contains("travels over HTTPS only") && page.contains("value=\"ada\""), "{page}");
}

#[tokio::test]
async fn metrics_are_for_this_machine_and_for_those_with_the_token() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).env("CLINIC_METRICS_TOKEN", "t0ken").start().await;
    let client = Client::new(clinic.address());
    let ask = |name: &'static str, value: &'static str| {
        let request = client.request(Method::GET, "/metrics").header("x-forwarded-for", "10.0.0.9").header(name, value);
        async { request.send().await.unwrap().status() }
    };
    assert_eq!(client.get("/metrics").await.unwrap().status(), StatusCode::OK);
    assert_eq!(ask("accept", "*/*").await, StatusCode::FORBIDDEN, "somebody behind the load balancer");
    assert_eq!(ask("authorization", "Bearer other").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("authorization", "Bearer t0ken").await, StatusCode::OK);
}
