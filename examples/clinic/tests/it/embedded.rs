use std::collections::BTreeSet;
use std::io::{Read as _, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use statehouse_testkit::{Speaker, output_within};

use crate::client::{ANSWERED_WITHIN, Client, PASSWORD, connect, text};
use crate::clinic;
use crate::load::{Step, work_while};

async fn codes(client: &Client, patient: u32) -> Vec<String> {
    let chart = client.json(&format!("/api/patients/{patient}")).await.unwrap();
    let active = chart["diagnoses"].as_array().unwrap().iter().filter(|found| found["resolved_at"].is_null());
    active.map(|found| text(&found["code"])).collect()
}

#[tokio::test]
async fn a_diagnosis_is_found_added_and_resolved_and_the_dashboard_counts_it() {
    let clinic = clinic::shared().await;
    let client = Client::logged_in(clinic.address(), "ada").await;
    let before = client.active_diagnoses().await;

    let found = client.concepts("desease legionairs", "").await.unwrap();
    let first = &found["hits"][0];
    assert_eq!(text(&first["code"]), "A48.1", "typos are forgiven: {found}");
    let added = client.post("/patients/11/diagnoses", &[("concept", "A48.1 Legionnaires' disease")]).await.unwrap();
    assert!(added.headers()["location"].to_str().unwrap().starts_with("/patients/11?added="));
    assert!(codes(&client, 11).await.contains(&"A48.1".to_owned()));
    assert_eq!(client.active_diagnoses().await, before + 1, "the write invalidated the cached count");

    let chart = client.json("/api/patients/11").await.unwrap();
    let diagnoses = chart["diagnoses"].as_array().unwrap();
    let id = text(&diagnoses.iter().find(|found| found["code"] == "A48.1").unwrap()["id"]);
    let resolve = format!("/patients/11/diagnoses/{id}/resolve");
    assert_eq!(client.post(&resolve, &[]).await.unwrap().status(), StatusCode::SEE_OTHER);
    assert!(!codes(&client, 11).await.contains(&"A48.1".to_owned()));
    assert_eq!(client.active_diagnoses().await, before);
    let page = client.get("/patients/11").await.unwrap().text().await.unwrap();
    let history = page.split_once("<h3>History</h3>").expect("a history").1;
    assert!(
        history.contains("A48.1") && history.contains("resolved") && history.contains("by Ada Okafor"),
        "{history}"
    );
    assert_eq!(client.post(&resolve, &[]).await.unwrap().status(), StatusCode::CONFLICT, "a stale form");
}

#[tokio::test]
async fn the_picker_finds_codes_words_in_any_order_inclusion_terms_and_prefixes_and_marks_them() {
    let clinic = clinic::shared().await;
    let client = Client::logged_in(clinic.address(), "grace").await;
    for (typed, code) in [
        ("E11.9", "E11.9"),
        ("e119", "E11.9"),
        ("hypertension essential", "I10"),
        ("athlete foot", "B35.3"),
        ("covid", "U07.1"),
        ("melitus diabetis typ 2", "E11.9"),
    ] {
        let found = client.concepts(typed, "").await.unwrap();
        let codes: Vec<_> = found["hits"].as_array().unwrap().iter().map(|hit| text(&hit["code"])).collect();
        assert!(codes.contains(&code.to_owned()), "{typed}: {codes:?}");
    }
    let found = client.concepts("athlete", "").await.unwrap();
    let hit = found["hits"].as_array().unwrap().iter().find(|hit| hit["code"] == "B35.3").unwrap();
    assert_eq!(hit["terms"][0], serde_json::json!([["Athlete's", true], [" foot", false]]), "in an inclusion term");
    assert!(!hit["title"].to_string().contains("true"), "and not in the title");
    let found = client.concepts("diab", "").await.unwrap();
    let marked: Vec<_> =
        found["hits"][0]["title"].as_array().unwrap().iter().filter(|piece| piece[1] == true).collect();
    assert!(marked.iter().all(|piece| text(&piece[0]).to_lowercase().starts_with("diab")), "{found}");
    assert!(!marked.is_empty(), "{found}");

    let chapters = found["chapters"].as_array().unwrap();
    let counted: u64 = chapters.iter().map(|chapter| chapter["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, found["total"].as_u64().unwrap(), "every hit is in one chapter");
    let endocrine = chapters.iter().find(|chapter| chapter["chapter"] == "4").unwrap();
    let within = client.concepts("diab", "4").await.unwrap();
    assert_eq!(within["total"], endocrine["count"]);
    assert_eq!(within["chapters"], found["chapters"], "the other chapters stay in sight");
    assert_eq!(client.concepts("zzzzqqqq", "").await.unwrap()["total"], 0);
}

#[tokio::test]
async fn documents_go_up_and_come_down_whole_in_ranges_and_unchanged() {
    let clinic = clinic::shared().await;
    let client = Client::logged_in(clinic.address(), "grace").await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let stored = client.attach(12, "Röntgen \"2\".bin", "application/octet-stream", content.clone()).await.unwrap();
    assert_eq!(stored.status(), StatusCode::CREATED);
    let document: Value = stored.json().await.unwrap();
    assert_eq!(document["size"], 3_000_000);
    let path = format!("/documents/{}", text(&document["id"]));

    let whole = client.get(&path).await.unwrap();
    let disposition = whole.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert_eq!(disposition, "attachment; filename=\"R_ntgen _2_.bin\"; filename*=UTF-8''R%C3%B6ntgen%20%222%22.bin");
    assert_eq!(whole.headers()["cache-control"], "private, no-store", "nobody goes back to it after a logout");
    let etag = whole.headers()["etag"].clone();
    assert_eq!(whole.bytes().await.unwrap(), content);

    let ranged = |range: &'static str| client.request(reqwest::Method::GET, &path).header("range", range).send();
    for (range, bytes) in
        [("bytes=0-9", 0..10), ("bytes=2999990-", 2_999_990..3_000_000), ("bytes=-5", 2_999_995..3_000_000)]
    {
        let part = ranged(range).await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        let said = format!("bytes {}-{}/3000000", bytes.start, bytes.end - 1);
        assert_eq!(part.headers()["content-range"], said);
        assert_eq!(part.bytes().await.unwrap(), content[bytes]);
    }
    let behind = ranged("bytes=3000000-").await.unwrap();
    assert_eq!(
        (behind.status(), behind.headers()["content-range"].to_str().unwrap()),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */3000000")
    );
    let known = format!("\"other\", W/{}", etag.to_str().unwrap());
    let known = client.request(reqwest::Method::GET, &path).header("if-none-match", known).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(known.headers()["cache-control"], "private, no-store", "as of the document itself");
    let other = client.request(reqwest::Method::GET, &path).header("if-match", "\"other\"").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_or_all_others() {
    let clinic = clinic::shared().await;
    let sessions: Vec<_> = {
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(Client::logged_in(clinic.address(), "staff101").await);
        }
        sessions
    };
    let page = sessions[0].get("/sessions").await.unwrap().text().await.unwrap();
    let keys: Vec<_> = page.split("name=\"session\" value=\"").skip(1).map(|rest| rest[..64].to_owned()).collect();
    assert_eq!(keys.len(), 3);
    // The newest is listed first, and it is the third.
    assert_eq!(
        sessions[0].post("/sessions/end", &[("session", &keys[0])]).await.unwrap().status(),
        StatusCode::SEE_OTHER
    );
    assert_eq!(sessions[2].get("/api/me").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(sessions[1].get("/api/me").await.unwrap().status(), StatusCode::OK);
    let another = Client::logged_in(clinic.address(), "staff102").await;
    let foreign = another.post("/sessions/end", &[("session", &keys[1])]).await.unwrap();
    assert_eq!(foreign.status(), StatusCode::NOT_FOUND, "somebody else's session");
    assert_eq!(sessions[1].post("/sessions/end-others", &[]).await.unwrap().status(), StatusCode::SEE_OTHER);
    assert_eq!(sessions[0].get("/api/me").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(sessions[1].get("/api/me").await.unwrap().status(), StatusCode::OK);

    assert_eq!(sessions[1].post("/logout", &[]).await.unwrap().headers()["location"], "/login");
    assert_eq!(sessions[1].get("/api/me").await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn operators_see_every_service_and_others_do_not() {
    let clinic = clinic::shared().await;
    let operator = Client::logged_in(clinic.address(), "ada").await;
    let page = operator.get("/operator").await.unwrap().text().await.unwrap();
    for shown in ["cache", "sessions", "files", "search", "database", "46498 concepts"] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(!page.contains("badge down"), "everything is up");
    let clinician = Client::logged_in(clinic.address(), "florence").await;
    assert_eq!(clinician.get("/operator").await.unwrap().status(), StatusCode::FORBIDDEN);
    let metrics = Client::new(clinic.address()).get("/metrics").await.unwrap().text().await.unwrap();
    assert!(metrics.contains("http_server_request_duration_count{http_request_method=\"GET\",http_route=\"/operator\",http_response_status_code=\"200\"}"), "{metrics}");
    assert!(metrics.contains("clinic_service_up{service=\"files\"} 1"), "{metrics}");
    let families: Vec<_> = metrics.lines().filter(|line| !line.is_empty()).map(family).collect();
    let mut groups = families.clone();
    groups.dedup();
    let names: BTreeSet<_> = families.into_iter().collect();
    assert_eq!(groups.len(), names.len(), "the samples of a metric stand together: {groups:?}");
    for name in ["clinic_cache_reads", "clinic_cache_loads", "clinic_service_latency"] {
        assert!(names.contains(name), "{names:?}");
    }
}

/// The metric that a line is about; a histogram's lines are about one.
fn family(line: &str) -> &str {
    let line = ["# TYPE ", "# HELP ", "# UNIT "].iter().find_map(|start| line.strip_prefix(start)).unwrap_or(line);
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Everything that must be there after a restart.
async fn leave_traces(address: &str) -> Client {
    let client = Client::logged_in(address, "florence").await;
    client.post("/patients/7/diagnoses", &[("concept", "J10.1")]).await.unwrap();
    assert_eq!(client.keep_draft(7, "half a note").await.unwrap().status(), StatusCode::NO_CONTENT);
    let stored = client.attach(7, "letter.txt", "text/plain", b"Dear colleague".to_vec()).await.unwrap();
    assert_eq!(stored.status(), StatusCode::CREATED);
    client
}

async fn assert_traces(client: &Client) {
    assert!(codes(client, 7).await.contains(&"J10.1".to_owned()));
    let page = client.get("/patients/7").await.unwrap().text().await.unwrap();
    assert!(page.contains(">half a note</textarea>"));
    let chart = client.json("/api/patients/7").await.unwrap();
    let document = client.get(&format!("/documents/{}", text(&chart["documents"][0]["id"]))).await.unwrap();
    assert_eq!(document.text().await.unwrap(), "Dear colleague");
    assert_eq!(text(&client.concepts("I10", "").await.unwrap()["hits"][0]["code"]), "I10");
}

#[tokio::test]
async fn everything_is_there_after_a_stop_and_after_a_crash() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::start(data.path()).await;
    let client = leave_traces(clinic.address()).await;

    let status = clinic.terminate(Duration::from_secs(10)).await.unwrap();
    assert!(status.success(), "{status}: {}", clinic.log().unwrap());
    clinic.restart().await;
    assert_traces(&client).await;

    clinic.kill();
    clinic.restart().await;
    assert_traces(&client).await;
    let log = clinic.log().unwrap();
    assert!(!log.contains("ERROR"), "{log}");
    assert_eq!(log.matches("46498 of 46498 concepts").count(), 1, "loaded once: {log}");
    let says = format!("sessions: local disk {}", data.path().display());
    assert_eq!(log.matches(&says).count(), 3, "where they are, at each start: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_killed_at_any_moment_and_what_it_acknowledged_is_there_after_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::start(data.path()).await;
    let over = Arc::new(AtomicBool::new(false));
    let goes_on = Arc::clone(&over);
    let working = tokio::spawn(work_while(clinic.address().to_owned(), 8, move || !goes_on.load(Ordering::Relaxed)));
    for moment in [1_700, 2_303, 1_111, 1_907] {
        tokio::time::sleep(Duration::from_millis(moment)).await;
        clinic.kill();
        clinic.restart().await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    over.store(true, Ordering::Relaxed);
    let report = working.await.unwrap();
    assert_eq!(report.broken, Vec::<String>::new());
    assert!(report.done.iter().any(|(_, step)| *step == Step::Attach), "{}", report.done.len());
    assert!(report.mishaps.iter().all(|mishap| mishap.status.is_none()), "only lost answers: {:?}", report.mishaps);
    let log = clinic.log().unwrap();
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn a_crash_while_the_terminology_is_loaded_is_made_good_by_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).start().await;
    let started = Instant::now();
    while !clinic.log().unwrap().contains("concepts after") {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "it does not say how far it is: {}",
            clinic.log().unwrap()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    clinic.kill();
    clinic.restart().await;
    until_it_is_ready(&Client::new(clinic.address())).await;
    let client = Client::logged_in(clinic.address(), "ada").await;
    assert_eq!(text(&client.concepts("Z99.89", "").await.unwrap()["hits"][0]["code"]), "Z99.89");
}

/// Until then the probe says what is missing.
async fn until_it_is_ready(client: &Client) {
    let started = Instant::now();
    loop {
        let answer = client.get("/ready").await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        if status == StatusCode::OK {
            assert!(body.contains(r#""database":{"need":"soft""#), "{body}");
            return;
        }
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && body.contains(r#""terminology: "#), "{status}: {body}");
        assert!(started.elapsed() < Duration::from_secs(120), "{body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Starts a clinic in a way that a person would, until it listens, which waits for nothing that it loads; then Ctrl-C.
fn start_and_press_ctrl_c(data: &Path) {
    let mut command = Command::new(clinic::PATH);
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data).stderr(Stdio::null());
    let mut clinic = Speaker::start(&mut command).unwrap();
    let line = clinic.line(ANSWERED_WITHIN).unwrap().expect("it says where it listens");
    let address = line.strip_prefix("listening on http://").unwrap();
    let mut asking = connect(address);
    asking.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut ready = String::new();
    asking.read_to_string(&mut ready).unwrap();
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("terminology: "), "{ready}");
    // Somebody who has sent half a request, and never sends the rest.
    let mut idle = connect(address);
    idle.write_all(b"POST /login HTTP/1.1\r\nhost: x\r\n").unwrap();
    let id = clinic.id().to_string();
    let press = || output_within(Command::new("kill").args(["-s", "INT", &id]), ANSWERED_WITHIN).unwrap().status;
    assert!(press().success());
    std::thread::sleep(Duration::from_millis(500));
    // Once more, for those who do not want to wait for others.
    press();
    let status = clinic.wait(ANSWERED_WITHIN).unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(clinic.line(ANSWERED_WITHIN).unwrap(), None, "one line and no other");
}

#[test]
fn it_says_where_it_listens_in_one_line_and_ends_well_at_ctrl_c() {
    let data = tempfile::tempdir().unwrap();
    start_and_press_ctrl_c(data.path());
    start_and_press_ctrl_c(data.path());

    let help = output_within(Command::new(clinic::PATH).arg("--help"), ANSWERED_WITHIN).unwrap();
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--listen"));
}

#[test]
fn mistakes_at_the_start_are_named_and_nothing_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = folder.path().join("file");
    std::fs::write(&file, "listen = 8080").unwrap();
    let (file, in_a_file) = (file.to_str().unwrap(), format!("{}/data", file.display()));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let _taken = TcpListener::bind(&taken).unwrap();
    let cases: [(&[&str], (&str, &str), &str); 9] = [
        (&["--lissen"], ("", ""), "'--lissen'"),
        (&["--listen", "nonsense"], ("", ""), "cannot listen at nonsense: "),
        (&["--listen", &taken], ("", ""), "Address already in use"),
        (&["--config", file], ("", ""), "invalid type: integer `8080`, expected a string"),
        (&["--config", "/nonexistent"], ("", ""), "cannot read /nonexistent: "),
        (&["--data", &in_a_file], ("", ""), "cannot make the folder "),
        (&[], ("STATEHOUSE_CACHE_URL", "rediss:"), "STATEHOUSE_CACHE_URL"),
        (
            &[],
            ("CLINIC_DATABASE", "sqlite:///nonexistent/clinic.db"),
            "in /nonexistent/clinic.db (setting CLINIC_DATABASE): ",
        ),
        (&[], ("CLINIC_LITSEN", "x"), "did you mean CLINIC_LISTEN?"),
    ];
    for (args, (name, value), says) in cases {
        let mut clinic = Command::new(clinic::PATH);
        clinic.env("CLINIC_LISTEN", "127.0.0.1:0").env("CLINIC_DATA", &data).args(args);
        if !name.is_empty() {
            clinic.env(name, value);
        }
        // One that serves in place of refusing is stopped.
        let output = output_within(&mut clinic, ANSWERED_WITHIN).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        let error = stderr.split_once("clinic: ").unwrap_or_default().1;
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(error.contains(says), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty());
        assert!(!data.join("clinic.db").exists(), "{args:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_a_log_in_leads_where_one_wanted_to_go() {
    let clinic = clinic::shared().await;
    let client = Client::new(clinic.address());
    let asked =
        client.request(reqwest::Method::GET, "/patients/5?x=1&y=2").header("accept", "text/html").send().await.unwrap();
    assert_eq!(asked.headers()["location"], "/login?next=/patients/5?x=1%26y=2");
    let refused = client.log_in("ada", "wrong").await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(client.get("/api/me").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let page = client.get("/login").await.unwrap().text().await.unwrap();
    client.set_csrf(crate::client::token_in(&page));
    let fields = [("login", "ada"), ("password", PASSWORD), ("next", "/patients/5?x=1&y=2")];
    assert_eq!(client.post("/login", &fields).await.unwrap().headers()["location"], "/patients/5?x=1&y=2");
}
