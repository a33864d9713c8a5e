//! What people see when something is refused: the same page, with the words in their place and all that they typed.

use reqwest::{Method, Response, StatusCode};

use crate::client::{Client, PASSWORD, token_in};
use crate::clinic;

/// The page, if its status is this one and it has these texts.
async fn page(answer: Response, status: StatusCode, texts: &[&str]) -> String {
    assert_eq!(answer.status(), status, "{}", answer.url());
    let page = answer.text().await.unwrap();
    for text in texts {
        assert!(page.contains(text), "{text:?} in {page}");
    }
    page
}

#[tokio::test]
async fn a_wrong_password_shows_the_form_again_with_the_words_beside_the_field() {
    let clinic = clinic::shared().await;
    let client = Client::new(clinic.address());
    let form = client.browse(Method::GET, "/login?next=/patients/5").send().await.unwrap().text().await.unwrap();
    client.set_csrf(token_in(&form));
    for (login, password, texts) in [
        (
            "grace",
            "wrong",
            &["password is another one", "id=\"password-error\"", "value=\"grace\"", "aria-invalid"][..],
        ),
        ("", "wrong", &["Type your login."]),
        ("grace", "", &["Type your password.", "value=\"grace\""]),
        (&"x".repeat(101), "x", &["A login has at most 100 letters."]),
    ] {
        let answer =
            client.submit("/login", &[("login", login), ("password", password), ("next", "/patients/5")]).await;
        let shown = page(answer, StatusCode::UNPROCESSABLE_ENTITY, texts).await;
        assert!(shown.contains("value=\"/patients/5\"") && !shown.contains("Unprocessable"), "{shown}");
        assert!(!shown.contains("wrong"), "a password is not sent back");
    }
    let answer = client.submit("/login", &[("login", "grace")]).await;
    page(answer, StatusCode::UNPROCESSABLE_ENTITY, &["Type your password."]).await;
    let right = [("login", "grace"), ("password", PASSWORD), ("next", "/patients/5")];
    assert_eq!(client.submit("/login", &right).await.headers()["location"], "/patients/5");
}

#[tokio::test]
async fn a_conflict_and_what_cannot_be_taken_are_said_on_the_chart() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff030").await;
    let added = client.submit("/patients/41/diagnoses", &[("concept", "J10.1 Influenza")]).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    let to = added.headers()["location"].to_str().unwrap().to_owned();
    let chart = client.browse(Method::GET, &to).send().await.unwrap();
    page(chart, StatusCode::OK, &["role=\"status\">J10.1", "added.", "Undo", "autofocus"]).await;

    let twice = client.submit("/patients/41/diagnoses", &[("concept", "j10.1 Influenza")]).await;
    let texts =
        ["J10.1 is active already", "value=\"j10.1 Influenza\"", "id=\"concept-error\"", "aria-invalid=\"true\""];
    let shown = page(twice, StatusCode::CONFLICT, &texts).await;
    assert!(shown.contains("<h2>Notes</h2>") && !shown.contains("Back to the dashboard"), "{shown}");
    for (typed, words) in [("", "Type a code"), ("Q99.99", "There is no diagnosis with this code"), ("J45", "category")]
    {
        let refused = client.submit("/patients/41/diagnoses", &[("concept", typed)]).await;
        page(refused, StatusCode::UNPROCESSABLE_ENTITY, &[words, "id=\"concept-error\""]).await;
    }
    let missing = client.submit("/patients/41/diagnoses", &[]).await;
    page(missing, StatusCode::UNPROCESSABLE_ENTITY, &["Type a code"]).await;

    let id = to.split_once("added=").unwrap().1;
    let resolve = format!("/patients/41/diagnoses/{id}/resolve");
    assert_eq!(client.submit(&resolve, &[]).await.headers()["location"], format!("/patients/41?resolved={id}"));
    let stale = client.submit(&resolve, &[]).await;
    page(stale, StatusCode::CONFLICT, &["somebody has resolved it already", "<h2>Diagnoses</h2>"]).await;
    let reopen = format!("/patients/41/diagnoses/{id}/reopen");
    assert_eq!(client.submit(&reopen, &[]).await.headers()["location"], format!("/patients/41?reopened={id}"));
    let back = format!("/patients/41/diagnoses/{id}/take-back");
    assert_eq!(client.submit(&back, &[]).await.headers()["location"], "/patients/41?taken-back=1");
    page(client.submit(&back, &[]).await, StatusCode::CONFLICT, &["cannot be taken back"]).await;
}

#[tokio::test]
async fn a_note_that_is_refused_is_still_in_its_form() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff031").await;
    let id = "a".repeat(32);
    let long = "Schlaf gut, ".repeat(1_400);
    let refused = client.submit("/patients/42/notes", &[("id", &id), ("text", &long)]).await;
    let shown = page(refused, StatusCode::PAYLOAD_TOO_LARGE, &["at most 16384 letters", "id=\"note-error\""]).await;
    assert!(shown.contains(&format!("{}</textarea>", long)), "all of it");
    let empty = client.submit("/patients/42/notes", &[("id", &id), ("text", " \n ")]).await;
    page(empty, StatusCode::UNPROCESSABLE_ENTITY, &["The note is empty"]).await;
    let odd = client.submit("/patients/42/notes", &[("text", "no id")]).await;
    page(odd, StatusCode::UNPROCESSABLE_ENTITY, &["no id</textarea>"]).await;

    // As long as a browser lets one type, in letters that take many bytes.
    let longest = "語".repeat(16 << 10);
    let saved = client.submit("/patients/42/notes", &[("id", &id), ("text", &longest)]).await;
    assert_eq!(saved.headers()["location"], "/patients/42?saved=1");
    let again = client.submit("/patients/42/notes", &[("id", &id), ("text", &longest)]).await;
    assert_eq!(again.headers()["location"], "/patients/42?saved=1", "the same form sent twice is one note");
    let other = client.submit("/patients/42/notes", &[("id", &id), ("text", "another")]).await;
    let shown = page(other, StatusCode::CONFLICT, &["another</textarea>", "Another note was saved"]).await;
    assert!(!shown.contains(&format!("name=\"id\" value=\"{id}\"")), "it is a note of its own now");
}

#[tokio::test]
async fn a_session_that_ended_elsewhere_loses_nothing() {
    let clinic = clinic::shared().await;
    let client = Client::logged_in(clinic.address(), "staff032").await;
    client.keep_draft(43, "Half a no").await.unwrap();
    let elsewhere = Client::logged_in(clinic.address(), "staff032").await;
    elsewhere.post("/sessions/end-others", &[]).await.unwrap();

    let script = client.keep_draft(43, "Half a note").await.unwrap();
    assert_eq!(script.status(), StatusCode::UNAUTHORIZED, "first of all, log in again");
    let note = [("id", "b".repeat(32)), ("text", "Half a note, & <more>".to_owned())];
    let note: Vec<_> = note.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let refused = client.submit("/patients/43/notes", &note).await;
    let shown = page(refused, StatusCode::UNAUTHORIZED, &["Log in", "waiting-at", "session has ended"]).await;
    client.set_csrf(token_in(&shown));
    let field = |name: &str| {
        let after = shown.split_once(&format!("name=\"{name}\" value=\"")).unwrap().1;
        after.split('"').next().unwrap().replace("&amp;", "&")
    };
    let (to, waiting) = (field("waiting-at"), field("waiting"));
    let wrong = [("login", "staff032"), ("password", "wrong"), ("waiting-at", &to), ("waiting", &waiting)];
    page(client.submit("/login", &wrong).await, StatusCode::UNPROCESSABLE_ENTITY, &["waiting-at", "Half+a+note"]).await;
    let right = [("login", "staff032"), ("password", PASSWORD), ("waiting-at", &to), ("waiting", &waiting)];
    let resumed = client.submit("/login", &right).await;
    let shown = page(resumed, StatusCode::OK, &["Half a note, &amp; &lt;more&gt;</textarea>", "Save it now"]).await;
    client.set_csrf(token_in(&shown));
    assert_eq!(client.submit(&to, &note).await.headers()["location"], "/patients/43?saved=1");

    assert_eq!(client.submit("/logout", &[]).await.headers()["location"], "/login");
    let again = client.submit("/logout", &[]).await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
    let chart = client.browse(Method::GET, "/patients/43").send().await.unwrap();
    assert_eq!(chart.headers()["location"], "/login?next=/patients/43");
}

#[tokio::test]
async fn a_form_with_an_old_token_is_shown_again_to_whom_this_site_showed_it_and_to_nobody_else() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff033").await;
    let form = [("text", "typed before"), ("id", &"c".repeat(32)), ("csrf", "0")];
    let post = || client.browse(Method::POST, "/patients/44/notes").form(&form);
    let ours = post().header("sec-fetch-site", "same-origin").send().await.unwrap();
    let shown = page(ours, StatusCode::FORBIDDEN, &["typed before</textarea>", "Send it again"]).await;
    client.set_csrf(token_in(&shown));
    let again = client.submit("/patients/44/notes", &form[..2]).await;
    assert_eq!(again.headers()["location"], "/patients/44?saved=1", "the token that was shown is right");
    let foreign = post().header("sec-fetch-site", "cross-site").send().await.unwrap();
    let shown = page(foreign, StatusCode::FORBIDDEN, &["out of date"]).await;
    assert!(!shown.contains("typed before") && !shown.contains(&client.csrf()), "{shown}");
}

/// A page of another site sends a form without the cookie: nobody typed it, and nobody is to save it.
#[tokio::test]
async fn what_another_site_sends_waits_for_no_log_in() {
    let client = Client::new(clinic::shared().await.address());
    let form = [("text", "forged"), ("id", &"d".repeat(32))];
    let post =
        |name: &str, value: &str| client.browse(Method::POST, "/patients/44/notes").form(&form).header(name, value);
    let ours = post("sec-fetch-site", "same-origin").send().await.unwrap();
    page(ours, StatusCode::UNAUTHORIZED, &["name=\"waiting\"", "forged"]).await;
    for (name, value) in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "http://evil")]
    {
        let foreign = post(name, value).send().await.unwrap();
        let shown = page(foreign, StatusCode::UNAUTHORIZED, &[]).await;
        assert!(!shown.contains("name=\"waiting\"") && !shown.contains("forged"), "{value}: {shown}");
    }
}

#[tokio::test]
async fn drafts_are_as_many_as_one_writes_and_outlive_the_session() {
    let clinic = clinic::shared().await;
    let client = Client::logged_in(clinic.address(), "staff034").await;
    let long = "x".repeat(16_000);
    for patient in 300..330 {
        let kept = client.keep_draft(patient, &long).await.unwrap();
        assert_eq!(kept.status(), StatusCode::NO_CONTENT, "{patient}");
    }
    client.post("/logout", &[]).await.unwrap();
    let again = Client::logged_in(clinic.address(), "staff034").await;
    let chart = again.get("/patients/329").await.unwrap().text().await.unwrap();
    assert!(chart.contains(&format!("{long}</textarea>")));
}

#[tokio::test]
async fn searches_and_empty_lists_say_what_to_do() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff035").await;
    let browse = async |path: &str| client.browse(Method::GET, path).send().await.unwrap();
    page(browse("/patients?q=zzzz").await, StatusCode::OK, &["Nobody is called that. Type"]).await;
    let long = format!("/patients?q={}", "a".repeat(201));
    page(browse(&long).await, StatusCode::UNPROCESSABLE_ENTITY, &["at most 200 letters", "id=\"q-error\""]).await;
    page(browse("/patients?q=%ff%00").await, StatusCode::OK, &["Nobody is called that"]).await;
    page(browse("/patients/45").await, StatusCode::OK, &["No notes yet.", "No documents yet."]).await;
    page(browse("/patients/99999").await, StatusCode::NOT_FOUND, &["There is no such patient."]).await;
    page(browse("/patients/x").await, StatusCode::BAD_REQUEST, &["not understood"]).await;
    page(browse("/operator").await, StatusCode::FORBIDDEN, &["for operators"]).await;
    let gone = client.submit("/sessions/end", &[("session", &"0".repeat(64))]).await;
    page(gone, StatusCode::NOT_FOUND, &["has ended already", "<h1>My sessions</h1>"]).await;
}

#[tokio::test]
async fn a_document_is_never_a_script_or_a_page_of_this_site() {
    let client = Client::logged_in(clinic::shared().await.address(), "staff036").await;
    for (content_type, content) in [
        ("text/javascript", &b"alert(1)"[..]),
        ("text/html", b"<script>"),
        ("image/svg+xml", b"<svg/>"),
        ("text/css", b"*{}"),
    ] {
        let stored = client.attach(46, "a.txt", content_type, content.to_vec()).await.unwrap();
        let document: serde_json::Value = stored.json().await.unwrap();
        let path = format!("/documents/{}", document["id"].as_str().unwrap());
        let answer = client.get(&path).await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/octet-stream", "{content_type}");
        assert!(header("content-disposition").starts_with("attachment"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-security-policy").contains("sandbox"));
    }
}

/// Of two windows on one chart: what one of them was told is kept is not lost by the other.
#[tokio::test]
async fn a_second_half_written_note_is_not_kept_in_place_of_the_first() {
    let clinic = clinic::shared().await;
    let client = Client::logged_in(clinic.address(), "staff102").await;
    let (first, second) = ("5e".repeat(16), "6f".repeat(16));
    let keep = async |id: &str, text: &str| {
        let request = client.request(Method::PUT, "/patients/44/draft").header("x-csrf-token", client.csrf());
        request.form(&[("id", id), ("text", text)]).send().await.unwrap()
    };
    let area = async || client.get("/patients/44").await.unwrap().text().await.unwrap();
    assert_eq!(keep(&first, "Long and careful").await.status(), StatusCode::NO_CONTENT);
    let refused = keep(&second, "Short").await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(refused.text().await.unwrap().contains("in another window"));
    client.post("/patients/44/notes", &[("id", &*second), ("text", "Short")]).await.unwrap();
    assert!(area().await.contains(">Long and careful</textarea>"));
    client.post("/patients/44/notes", &[("id", &*first), ("text", "Long and careful")]).await.unwrap();
    // One that was on its way when its note was saved is no draft any more.
    let refused = keep(&first, "Long and care").await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(refused.text().await.unwrap().contains(r#""code":"saved""#));
    assert!(!area().await.contains("Long and care</textarea>"));
    assert_eq!(keep(&first, "Long and careful").await.status(), StatusCode::NO_CONTENT, "it is in the note");
    assert!(!area().await.contains("Long and careful</textarea>"));
}

/// Two windows that show the same draft.
#[tokio::test]
async fn of_two_windows_on_one_draft_the_later_one_does_not_write_over_the_first() {
    let clinic = clinic::shared().await;
    let client = Client::logged_in(clinic.address(), "staff103").await;
    let (id, pages) = ("7a".repeat(16), ["1b".repeat(16), "2c".repeat(16)]);
    let area = async || client.get("/patients/58").await.unwrap().text().await.unwrap();
    let keep = async |page: &str, seen: &str, text: &str| {
        let request = client.request(Method::PUT, "/patients/58/draft").header("x-csrf-token", client.csrf());
        let request = request.header("accept", "application/json");
        request.form(&[("id", &*id), ("page", page), ("seen", seen), ("text", text)]).send().await.unwrap()
    };
    assert_eq!(keep(&pages[0], "", "Sleeps").await.status(), StatusCode::NO_CONTENT);
    let page = area().await;
    let seen = page.split_once(r#"name="seen" value=""#).unwrap().1.split_once('"').unwrap().0.to_owned();
    assert_eq!(keep(&pages[0], "", "Sleeps well").await.status(), StatusCode::NO_CONTENT);
    for text in ["Sleeps badly", ""] {
        let refused = keep(&pages[1], &seen, text).await;
        assert_eq!(refused.status(), StatusCode::CONFLICT);
        assert!(refused.text().await.unwrap().contains("in another window"));
    }
    // It is saved all the same, and what the first one has kept stays.
    let fields = [("id", &*id), ("page", &*pages[1]), ("seen", &*seen), ("text", "Sleeps badly")];
    client.post("/patients/58/notes", &fields).await.unwrap();
    let page = area().await;
    assert!(page.contains(">Sleeps badly</p>") && page.contains(">Sleeps well</textarea>"), "{page}");
}
