use reqwest::{Method, StatusCode};

use crate::client::{Client, text};
use crate::clinic;

/// All of it, at the clinic with this address.
#[cfg(feature = "replicas")]
pub(crate) async fn all(clinic: std::net::SocketAddr) {
    let clinic = &clinic.to_string();
    without_token(clinic).await;
    forged_cookies(clinic).await;
    too_much(clinic).await;
    wrong_documents(clinic).await;
    markup(clinic).await;
    unknown(clinic).await;
}

#[tokio::test]
async fn forms_without_the_sessions_token_change_nothing() {
    without_token(clinic::shared().await.address()).await;
}

#[tokio::test]
async fn forged_cookies_open_nothing() {
    forged_cookies(clinic::shared().await.address()).await;
}

#[tokio::test]
async fn too_much_is_refused() {
    too_much(clinic::shared().await.address()).await;
}

#[tokio::test]
async fn documents_with_wrong_names_and_types_are_refused_and_nothing_is_stored() {
    let data = tempfile::tempdir().unwrap();
    let clinic = clinic::builder(data.path()).start().await;
    wrong_documents(clinic.address()).await;
    let kept = data.path().join("files").join("clinic.documents+");
    assert!(!kept.exists() || kept.read_dir().unwrap().next().is_none(), "no file without a row either");
}

#[tokio::test]
async fn markup_is_shown_as_text_and_a_page_in_disguise_is_not_run() {
    markup(clinic::shared().await.address()).await;
}

#[tokio::test]
async fn what_is_unknown_is_a_clear_refusal() {
    unknown(clinic::shared().await.address()).await;
}

async fn without_token(clinic: &str) {
    let client = Client::logged_in(clinic, "staff110").await;
    let other = Client::logged_in(clinic, "staff111").await;
    let right = client.csrf();
    for token in ["", "0", &other.csrf(), &right.to_uppercase().replace(char::is_numeric, "A")] {
        client.set_csrf(token.to_owned());
        let refused = client.post("/patients/21/diagnoses", &[("concept", "J10.1")]).await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{token:?}");
        assert_eq!(client.keep_draft(21, "forged").await.unwrap().status(), StatusCode::FORBIDDEN);
    }
    let without = client.request(Method::POST, "/patients/21/diagnoses").form(&[("concept", "J10.1")]).send().await;
    assert_eq!(without.unwrap().status(), StatusCode::FORBIDDEN);
    let chart = client.json("/api/patients/21").await.unwrap();
    assert!(!chart.to_string().contains("J10.1"), "{chart}");
    client.set_csrf(right);
    let added = client.post("/patients/21/diagnoses", &[("concept", "J10.1")]).await.unwrap();
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
}

async fn forged_cookies(clinic: &str) {
    let client = Client::new(clinic);
    let oversized = format!("id={}", "a".repeat(4_000));
    let made_up = format!("id={}", "0123456789abcdef".repeat(4));
    // One of another clinic, and one of this clinic with another secret.
    let data = tempfile::tempdir().unwrap();
    let elsewhere = clinic::builder(data.path()).start().await;
    let foreign = Client::logged_in(elsewhere.address(), "ada").await.cookie();
    let mut forged = Client::logged_in(clinic, "staff116").await.cookie();
    let middle = forged.len() - 5;
    let other = if forged[middle..].starts_with('A') { "B" } else { "A" };
    forged.replace_range(middle..=middle, other);
    let cookies = ["id=", "id=../../etc/passwd", "id=%00", &made_up, &oversized, "id=1; id=2; id=3; id=4; id=5"];
    for cookie in cookies.into_iter().chain([&*foreign, &*forged]) {
        let answer = client.request(Method::GET, "/api/me").header("cookie", cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{cookie}");
    }
}

async fn too_much(clinic: &str) {
    let client = Client::logged_in(clinic, "staff112").await;
    let ten_megabytes = "a".repeat(10 << 20);
    let form = [("id", &*"0".repeat(32)), ("text", &ten_megabytes)];
    let refused = client.post("/patients/22/notes", &form).await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let error: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(error["error"], "A form must not be larger than 256 KiB.");
    for (count, status) in [(20, StatusCode::UNPROCESSABLE_ENTITY), (64, StatusCode::BAD_REQUEST)] {
        // Besides its token.
        let fields = vec![("a", ""); count];
        assert_eq!(client.post("/patients/22/notes", &fields).await.unwrap().status(), status, "{count}");
    }
    let long = "a".repeat(17 << 10);
    assert_eq!(client.keep_draft(22, &long).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    let note = client.post("/patients/22/notes", &[("id", &"0".repeat(32)), ("text", &long)]).await.unwrap();
    assert_eq!(note.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let chart = client.json("/api/patients/22").await.unwrap();
    assert_eq!(chart["notes"].as_array().unwrap().len(), 0);
    let typed = "word ".repeat(100);
    let search = client.request(Method::GET, "/api/concepts").query(&[("q", &typed)]).send().await.unwrap();
    assert_eq!(search.status(), StatusCode::BAD_REQUEST);
}

async fn wrong_documents(clinic: &str) {
    let client = Client::logged_in(clinic, "staff113").await;
    for name in ["../../etc/passwd", "a/b.png", "a\\b.png", "", "..", "line\nbreak", &"x".repeat(300)] {
        let refused = client.attach(23, name, "text/plain", b"x".to_vec()).await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{name:?}");
    }
    for (content_type, content) in [("image/png", "<html>"), ("application/pdf", "GIF89a"), ("png", "x"), ("", "x")] {
        let refused = client.attach(23, "a.png", content_type, content.into()).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
    }
    let chart = client.json("/api/patients/23").await.unwrap();
    assert_eq!(chart["documents"].as_array().unwrap().len(), 0);
    for id in ["0", "../clinic.db", &"0".repeat(32)] {
        assert_eq!(client.get(&format!("/documents/{id}")).await.unwrap().status(), StatusCode::NOT_FOUND, "{id}");
    }
}

async fn markup(clinic: &str) {
    let client = Client::logged_in(clinic, "staff114").await;
    let markup = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&";
    let id = "1".repeat(32);
    let saved = client.post("/patients/24/notes", &[("id", &id), ("text", markup)]).await.unwrap();
    assert_eq!(saved.status(), StatusCode::SEE_OTHER);
    client.keep_draft(24, "</textarea><script>alert(2)</script>").await.unwrap();
    let answer = client.get("/patients/24").await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    let page = answer.text().await.unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!page.contains("<script>alert") && !page.contains("<img src=x"));
    let chart = client.json("/api/patients/24").await.unwrap();
    assert_eq!(text(&chart["notes"][0]["text"]), markup, "stored as it was typed");
    let again = client.post("/patients/24/notes", &[("id", &id), ("text", "once more")]).await.unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT, "the same form, sent again");

    let page = client.attach(24, "page.html", "text/html", b"<script>alert(3)</script>".to_vec()).await.unwrap();
    let document: serde_json::Value = page.json().await.unwrap();
    let answer = client.get(&format!("/documents/{}", text(&document["id"]))).await.unwrap();
    assert!(answer.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
}

async fn unknown(clinic: &str) {
    let client = Client::logged_in(clinic, "staff115").await;
    for concept in ["", "Q99.99", "diabetes", "<b>"] {
        let refused = client.post("/patients/25/diagnoses", &[("concept", concept)]).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{concept:?}");
        let error: serde_json::Value = refused.json().await.unwrap();
        let words = if concept.is_empty() { "Type a code" } else { "There is no diagnosis with this code." };
        assert!(text(&error["error"]).starts_with(words) && error["field"] == "concept", "{error}");
    }
    for (path, status) in [
        ("/patients/99999", StatusCode::NOT_FOUND),
        ("/patients/x", StatusCode::BAD_REQUEST),
        ("/nothing", StatusCode::NOT_FOUND),
        ("/assets/../Cargo.toml", StatusCode::NOT_FOUND),
        ("/logout", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(client.get(path).await.unwrap().status(), status, "{path}");
    }
    // What no text of the database can have, and numbers that are none of it.
    for (path, status) in [
        ("/documents/%00", StatusCode::NOT_FOUND),
        ("/documents/%ff", StatusCode::BAD_REQUEST),
        ("/patients/9223372036854775807", StatusCode::NOT_FOUND),
        ("/patients/9223372036854775808", StatusCode::BAD_REQUEST),
        ("/patients/-1", StatusCode::NOT_FOUND),
        ("/patients/25?added=%00&resolved=%ff", StatusCode::OK),
        ("/patients?q=%00%ff%25_'--", StatusCode::OK),
        ("/api/concepts?q=%00%ff&chapter=%00", StatusCode::OK),
        ("/api/concepts?q=flu&chapter=')%20OR%201=1", StatusCode::OK),
        ("/sessions?ended=%00", StatusCode::OK),
        ("/login?next=%00", StatusCode::OK),
    ] {
        let answer = client.get(path).await.unwrap();
        assert_eq!(answer.status(), status, "{path}: {}", answer.text().await.unwrap());
    }
    let long = format!("/api/concepts?q=flu&chapter={}", "x".repeat(5_000));
    let answer = client.get(&long).await.unwrap();
    assert!(answer.status() == StatusCode::OK || answer.status() == StatusCode::BAD_REQUEST, "{}", answer.status());
    for action in ["resolve", "reopen", "take-back"] {
        let refused = client.post(&format!("/patients/25/diagnoses/%00/{action}"), &[]).await.unwrap();
        assert_eq!(refused.status(), StatusCode::NOT_FOUND, "{action}");
    }
    for session in ["", "\0", "x", &"0".repeat(5_000)] {
        let refused = client.post("/sessions/end", &[("session", session)]).await.unwrap();
        assert_eq!(refused.status(), StatusCode::NOT_FOUND, "{session}");
    }
    for text in ["\0", "\0\0 \n"] {
        let refused = client.post("/patients/25/notes", &[("id", &"9".repeat(32)), ("text", text)]).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{text:?}");
    }
    let twice = client.post("/patients/25/diagnoses", &[("concept", "I10")]).await.unwrap();
    let again = client.post("/patients/25/diagnoses", &[("concept", "I10")]).await.unwrap();
    assert!(twice.status() == StatusCode::SEE_OTHER || twice.status() == StatusCode::CONFLICT);
    assert_eq!(again.status(), StatusCode::CONFLICT, "active already");
    let json = client.request(Method::POST, "/patients/25/notes").header("x-csrf-token", client.csrf());
    let json = json.header("content-type", "application/json").body("{}").send().await.unwrap();
    assert_eq!(json.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let incomplete = client.post("/patients/25/notes", &[("text", "no id")]).await.unwrap();
    assert_eq!(incomplete.status(), StatusCode::UNPROCESSABLE_ENTITY);
}
