use std::fmt::Display;
use std::time::Duration;

use crate::client::PASSWORD;
use crate::clinic;
use crate::webdriver::{DOWN, Driver, ENTER, Profile, picture_path};

#[tokio::test]
async fn a_day_at_the_clinic_with_the_keyboard_a_photo_and_a_second_browser() {
    a_day_at_the_clinic(clinic::shared().await.address(), "embedded").await;
}

/// The pictures of it are kept in a folder of this name.
pub(crate) async fn a_day_at_the_clinic(clinic: impl Display, pictures: &str) {
    let base = format!("http://{clinic}");
    let driver = Driver::start().await;
    let first = Visitor { profile: driver.profile(1280, 900).await, base: base.clone(), pictures };
    first.open("/patients/31").await;
    assert!(first.eval("location.pathname").await == "/login", "asked to log in");
    first.look_at("login").await;
    first.keys("#login", "ada").await;
    first.keys("#password", &format!("wrong{ENTER}")).await;
    first.until("document.querySelector('#password-error').textContent.includes('another one')").await;
    assert_eq!(first.eval("document.querySelector('#login').value").await, "ada");
    first.until_focus("#password").await;
    first.look_at("login-refused").await;
    first.log_in("ada").await;
    first.look_at("dashboard").await;

    first.diagnose().await;
    first.keys("#note", "Sleeps well, ").await;
    first.until("document.querySelector('.note-form [role=status]').textContent === 'Draft kept.'").await;
    first.attach_what_is_too_large().await;
    first.attach_a_photo().await;
    let draft = first.eval("document.querySelector('#note').value").await;
    assert_eq!(draft, "Sleeps well, ", "what was typed stays");
    first.log_in_again_in_place().await;
    first.eval("window.scrollTo(0, 0)").await;
    first.look_at("chart").await;
    for (path, name) in [("/patients?q=an", "patients"), ("/patients?q=zz", "nobody"), ("/sessions", "sessions")] {
        first.open(path).await;
        first.look_at(name).await;
    }
    first.open("/operator").await;
    first.look_at("operator").await;
    first.open("/nothing").await;
    first.look_at("error").await;

    let second = Visitor { profile: driver.profile(390, 844).await, base, pictures };
    second.log_in("ada").await;
    for (path, name) in [
        ("/", "dashboard-phone"),
        ("/patients", "patients-phone"),
        ("/patients/31", "chart-phone"),
        ("/operator", "operator-phone"),
        ("/patients?q=zz", "nobody-phone"),
        ("/nothing", "error-phone"),
        ("/sessions", "sessions-phone"),
    ] {
        second.open(path).await;
        assert_eq!(second.eval("document.documentElement.scrollWidth <= innerWidth").await, true, "{name} fits");
        second.look_at(name).await;
    }
    second.click("form[action='/sessions/end-others'] button").await;
    second.until("document.querySelectorAll('form[action=\"/sessions/end\"]').length === 1").await;
    second.until("document.querySelector('main').textContent.includes('You are logged in nowhere else.')").await;

    // Browsers complain of every refusal, and these were asked for on purpose.
    let complaints = first.complaints().await;
    let on_purpose = ["/nothing", "/login", "/diagnoses", "/draft"];
    let others: Vec<_> =
        complaints.iter().filter(|complaint| !on_purpose.iter().any(|path| complaint.contains(path))).collect();
    assert!(others.is_empty(), "{others:?}");
    let complaints = second.complaints().await;
    assert!(complaints.iter().all(|complaint| complaint.contains("/nothing")), "{complaints:?}");
    first.open("/patients/31").await;
    assert!(first.eval("location.pathname").await == "/login", "the ended session must log in again");
    first.profile.close().await;
    second.profile.close().await;
}

#[tokio::test]
async fn a_slow_search_and_a_lost_connection_are_said_in_their_place_and_nothing_typed_is_lost() {
    let (driver, base) = (Driver::start().await, format!("http://{}", clinic::shared().await.address()));
    let visitor = Visitor { profile: driver.profile(390, 844).await, base, pictures: "bad-day" };
    visitor.open("/login").await;
    visitor.look_at("login-phone").await;
    visitor.log_in("grace").await;
    visitor.open("/patients/32").await;
    let said = "document.querySelector('#picker-status').textContent";
    visitor.delay(Duration::from_millis(4_500)).await;
    visitor.keys("#concept", "asth").await;
    visitor.until(&format!("{said} === 'Searching …'")).await;
    visitor.until(&format!("{said}.startsWith('Still searching')")).await;
    visitor.look_at("searching").await;
    visitor.until("document.querySelectorAll('#options [role=option]').length > 5").await;
    visitor.until_focus("#concept").await;
    visitor.lose_the_connection().await;
    visitor.profile.close().await;
}

/// What was there before decides nothing: neither the list for fewer letters, nor a note that was saved from this form.
#[tokio::test]
async fn what_is_chosen_was_found_for_all_that_was_typed_and_every_note_can_be_saved() {
    let (driver, base) = (Driver::start().await, format!("http://{}", clinic::shared().await.address()));
    let visitor = Visitor { profile: driver.profile(1280, 900).await, base, pictures: "haste" };
    visitor.log_in("florence").await;
    visitor.open("/patients/36").await;
    visitor.keys("#concept", "asthma").await;
    visitor.until("document.querySelector('[aria-selected=true]')").await;
    visitor.delay(Duration::from_secs(9)).await;
    visitor.keys("#concept", &format!("tic{ENTER}{ENTER}")).await;
    assert_eq!(visitor.eval("document.querySelector('#concept').value").await, "asthmatic", "the list was of asthma");
    visitor.delay(Duration::ZERO).await;
    visitor.save_two_notes_from_one_form().await;
    visitor.profile.close().await;
}

/// A server that is paused, or behind a hole, answers nothing; and an upload cannot be mended when the network is gone.
#[tokio::test]
async fn what_is_never_answered_is_said_and_can_be_tried_again() {
    let (driver, base) = (Driver::start().await, format!("http://{}", clinic::shared().await.address()));
    let visitor = Visitor { profile: driver.profile(1280, 900).await, base, pictures: "silence" };
    visitor.log_in("grace").await;
    visitor.open("/patients/33").await;
    // Time goes a hundred times as fast here.
    visitor
        .run(
            "const limit = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = (time) => limit(time / 100); \
             window.fetch = (_, { signal } = {}) => \
               new Promise((_, no) => signal?.addEventListener('abort', () => no(signal.reason)))",
        )
        .await;
    visitor.keys("#note", "Coughs.").await;
    visitor.click(".note-form button").await;
    visitor.until("document.querySelector('#note-error').textContent.includes('cannot be reached')").await;
    visitor
        .run("window.fetch = () => Promise.reject(new TypeError()); document.querySelector('meta[name=csrf]').content = 'old'")
        .await;
    let file = tempfile::Builder::new().suffix(".txt").tempfile().unwrap();
    std::fs::write(file.path(), "of the ward").unwrap();
    visitor.keys("#file", &file.path().to_string_lossy()).await;
    visitor.click("form.upload button").await;
    visitor.until("document.querySelector('#file-error').textContent.includes('cannot be reached')").await;
    assert_eq!(visitor.eval("document.querySelector('form.upload button').disabled").await, false);
    visitor.run("const wait = setTimeout; window.setTimeout = (call, time) => wait(call, time / 100)").await;
    visitor.delay(Duration::from_secs(60)).await;
    visitor.eval("document.querySelector('#file-error').textContent = ''").await;
    visitor.click("form.upload button").await;
    visitor.until("document.querySelector('#file-error').textContent.includes('cannot be reached')").await;
    assert_eq!(visitor.eval("document.querySelector('#file').files.length").await, 1, "it is still chosen");
    visitor.profile.close().await;
}

/// As on the first day: nothing is there yet, and each place says so, with what to do where there is something.
#[tokio::test]
async fn where_there_is_nothing_the_page_says_so_in_its_place() {
    let (driver, base) = (Driver::start().await, format!("http://{}", clinic::shared().await.address()));
    let visitor = Visitor { profile: driver.profile(1280, 900).await, base, pictures: "nothing" };
    visitor.log_in("florence").await;
    visitor.resolve_all("/patients/33").await;
    for (place, words) in
        [("#diagnoses", "No active diagnoses."), ("#notes", "No notes yet."), ("#documents", "No documents yet.")]
    {
        visitor.until(&format!("document.querySelector('{place}').textContent.includes('{words}')")).await;
    }
    visitor.keys("#concept", "qqxxzz").await;
    visitor
        .until("document.querySelector('#picker-status').textContent === 'Nothing found. Try other words, or fewer.'")
        .await;
    visitor.until_it_stands("concept", ("concept", "qqxxzz")).await;
    visitor.look_at("chart").await;
    visitor.open("/patients?q=qqxxzz").await;
    visitor
        .until(
            "document.querySelector('[aria-label=\"Patients found\"]').textContent.includes('Nobody is called that.')",
        )
        .await;
    visitor.until_it_stands("q", ("q", "qqxxzz")).await;
    visitor.profile.close().await;
}

/// The answers are those of a clinic whose terminology is not loaded yet, which it is too soon to be asked for here.
#[tokio::test]
async fn a_search_before_the_diagnoses_are_loaded_says_how_far_they_are_and_goes_on_by_itself() {
    let (driver, base) = (Driver::start().await, format!("http://{}", clinic::shared().await.address()));
    let visitor = Visitor { profile: driver.profile(1280, 900).await, base, pictures: "loading" };
    visitor.log_in("grace").await;
    visitor.open("/patients/34").await;
    visitor
        .run(
            "const real = window.fetch; window.loading = true; \
             const refusal = { error: 'The diagnoses are still being loaded: 49 % so far. Try again in a moment.', code: 'loading' }; \
             window.fetch = (url, ...rest) => window.loading && String(url).startsWith('/api/concepts') \
               ? Promise.resolve(new Response(JSON.stringify(refusal), { status: 503 })) : real(url, ...rest)",
        )
        .await;
    visitor.keys("#concept", "asth").await;
    visitor.until("document.querySelector('#picker-status').textContent.includes('still being loaded: 49 %')").await;
    visitor.look_at("picker").await;
    visitor.until_it_stands("concept", ("concept", "asth")).await;
    visitor.eval("window.loading = false").await;
    visitor.until("document.querySelectorAll('#options [role=option]').length > 5").await;
    visitor.until("document.querySelector('#picker-status').textContent.endsWith('found.')").await;
    visitor.until_it_stands("concept", ("concept", "asth")).await;
    visitor.profile.close().await;
}

/// Somebody with a browser.
pub(crate) struct Visitor<'a> {
    pub(crate) profile: Profile,
    pub(crate) base: String,
    pub(crate) pictures: &'a str,
}

impl std::ops::Deref for Visitor<'_> {
    type Target = Profile;

    fn deref(&self) -> &Profile {
        &self.profile
    }
}

impl Visitor<'_> {
    pub(crate) async fn open(&self, path: &str) {
        self.profile.open(&format!("{}{path}", self.base)).await;
    }

    pub(crate) async fn log_in(&self, login: &str) {
        self.open("/login").await;
        self.keys("#login", login).await;
        self.keys("#password", &format!("{PASSWORD}{ENTER}")).await;
        self.until("document.querySelector('.chapters')").await;
    }

    /// A page gives the focus when it is shown first, which is later than that there is something on it.
    pub(crate) async fn until_focus(&self, place: &str) {
        self.until(&format!("document.activeElement?.matches(\"{place}\")")).await;
    }

    /// The focus is there, and this is what the field has in it.
    pub(crate) async fn until_it_stands(&self, focus: &str, (field, typed): (&str, &str)) {
        self.until_focus(&format!("#{focus}")).await;
        let value = self.eval(&format!("document.querySelector('#{field}').value")).await;
        assert_eq!(value, typed, "the field {field}");
    }

    /// Takes a picture of the page in light and in dark, reads every text on it, and looks for what keeps people out.
    pub(crate) async fn look_at(&self, name: &str) {
        for (scheme, suffix) in [("dark", "-dark"), ("light", "")] {
            self.prefer(scheme).await;
            self.picture(&format!("{}/{name}{suffix}", self.pictures)).await;
            let contrast = self.run(include_str!("contrast.js")).await;
            assert_eq!(contrast["found"], serde_json::json!([]), "{name} is hard to read in {scheme}");
            assert!(contrast["looked"].as_u64() > Some(5), "{name}: {contrast}");
            assert_eq!(self.barriers().await, [""; 0], "{name} in {scheme}");
        }
    }

    /// Finds a diagnosis, chooses and adds it, by keys alone.
    async fn diagnose(&self) {
        self.open("/patients/31").await;
        self.keys("body", "/").await;
        self.until_focus("#concept").await;
        self.keys("#concept", "diab").await;
        self.until("document.querySelectorAll('#options [role=option]').length > 5").await;
        self.until("document.querySelector('#options mark')").await;
        self.look_at("picker").await;
        self.keys("#concept", DOWN).await;
        let code = self.eval("document.querySelector('[aria-selected=true] code').textContent").await;
        self.keys("#concept", ENTER).await;
        let chosen = self.eval("document.querySelector('#concept').value").await;
        assert!(chosen.as_str().unwrap().starts_with(code.as_str().unwrap()), "{chosen} {code}");
        self.keys("#concept", ENTER).await;
        self.until(&format!("[...document.querySelectorAll('.code')].some((found) => found.textContent === {code})"))
            .await;
        self.until("document.querySelector('[data-said] [role=status]')?.textContent.endsWith('added.')").await;
        self.until("document.activeElement.id === 'concept'").await;
        assert_eq!(self.eval("location.search").await, "", "what was done is said once");
        self.add_again(&code).await;
        self.undo(&code).await;
    }

    /// The same once more is refused beside the field, and what was typed is still in it.
    async fn add_again(&self, code: &serde_json::Value) {
        let code = code.as_str().expect("a code");
        self.keys("#concept", &format!("{code} ")).await;
        self.until("document.querySelector('[aria-selected=true]')").await;
        self.keys("#concept", &format!("{ENTER}{ENTER}")).await;
        self.until("document.querySelector('#concept-error').textContent.includes('active already')").await;
        self.look_at("conflict").await;
        self.until_focus("#concept").await;
        let typed = self.eval("document.querySelector('#concept').value").await;
        assert!(typed.as_str().unwrap().starts_with(code), "{typed}");
    }

    async fn undo(&self, code: &serde_json::Value) {
        self.click("[data-said] button").await;
        self.until("document.querySelector('[data-said] [role=status]')?.textContent.endsWith('taken back.')").await;
        let listed = format!("[...document.querySelectorAll('.code')].some((found) => found.textContent === {code})");
        assert_eq!(self.eval(&listed).await, false, "{code} is gone");
    }

    /// Until no diagnosis is active. After each, the focus is on the way back.
    async fn resolve_all(&self, chart: &str) {
        const BUTTON: &str = "button[aria-label^='Resolve']";
        self.open(chart).await;
        while self.eval(&format!("document.querySelector(\"{BUTTON}\") !== null")).await == true {
            let code = self.eval(&format!("document.querySelector(\"{BUTTON}\").ariaLabel.split(' ')[1]")).await;
            self.click(BUTTON).await;
            let said = "document.querySelector('[data-said] [role=status]')?.textContent";
            self.until(&format!("{said}?.startsWith({code}) && {said}.endsWith('resolved.')")).await;
            self.until("document.activeElement.textContent === 'Undo'").await;
        }
    }

    /// The search, a form and a draft each say so beside their field, and go on where they were when it is back.
    async fn lose_the_connection(&self) {
        let reached = "cannot be reached";
        self.cut_off().await;
        self.keys("#concept", "ma").await;
        self.until(&format!("document.querySelector('#picker-status').textContent.includes('{reached}')")).await;
        self.look_at("connection-lost").await;
        self.eval("document.querySelector('#concept').value = 'J45.909'").await;
        self.keys("#concept", ENTER).await;
        self.until(&format!("document.querySelector('#concept-error').textContent.includes('{reached}')")).await;
        self.until_it_stands("concept", ("concept", "J45.909")).await;
        assert_eq!(self.eval("document.querySelector('#concept').ariaInvalid").await, "true");
        self.keys("#note", "Coughs.").await;
        self.until(&format!("document.querySelector('#draft-status').textContent.includes('{reached}')")).await;
        self.look_at("not-kept").await;
        self.until_focus("#note").await;
        self.log_in_to_a_network().await;
        self.delay(Duration::ZERO).await;
        self.until("document.querySelector('#draft-status').textContent === 'Draft kept.'").await;
        self.keys("#concept", ENTER).await;
        self.until("document.querySelector('[data-said] [role=status]')?.textContent.endsWith('added.')").await;
        assert_eq!(self.eval("document.querySelector('#note').value").await, "Coughs.");
    }

    /// The network answers everything with a page of its own: that is no draft that was kept.
    async fn log_in_to_a_network(&self) {
        self.run(
            "window.asked = 0; window.reached = window.fetch; \
             window.fetch = () => { window.asked += 1; return Promise.resolve(new Response('<h1>Welcome to the hotel</h1>')); }",
        )
        .await;
        self.until("window.asked > 1").await;
        self.until("document.querySelector('#draft-status').textContent.startsWith('Draft not kept yet')").await;
        self.run("window.fetch = window.reached").await;
    }

    /// As when the answer to the first was lost, and somebody went on writing.
    async fn save_two_notes_from_one_form(&self) {
        self.keys("#note", "The second note.").await;
        self.until("document.querySelector('#draft-status').textContent === 'Draft kept.'").await;
        self.run(
            "const form = document.querySelector('.note-form'); \
             document.querySelector('#draft-status').textContent = ''; \
             const body = new URLSearchParams(new FormData(form)); \
             body.set('text', 'The first note.'); \
             return fetch(form.action, { method: 'POST', body }).then(() => true)",
        )
        .await;
        self.click(".note-form button").await;
        self.until("document.querySelector('#note-error').textContent.includes('saved from this form already')").await;
        self.until_focus("#note").await;
        // What was kept under the id of the first one is kept under another.
        self.until("document.querySelector('#draft-status').textContent === 'Draft kept.'").await;
        let page = "return fetch(location.pathname).then((answer) => answer.text())";
        assert!(self.run(page).await.as_str().unwrap().contains(">The second note.</textarea>"));
        self.click(".note-form button").await;
        self.until("document.querySelector('#notes .notice')?.textContent === 'The note is saved.'").await;
        let notes =
            self.eval("[...document.querySelectorAll('.note')].slice(0, 2).map((note) => note.textContent)").await;
        assert_eq!(notes, serde_json::json!(["The second note.", "The first note."]));
    }

    /// Another tab logs out.
    pub(crate) async fn end_the_session(&self) {
        self.run(
            "const body = new URLSearchParams({ csrf: document.querySelector('meta[name=csrf]').content }); \
             return fetch('/logout', { method: 'POST', body }).then(() => true)",
        )
        .await;
    }

    /// What is typed when the session has ended is kept when its writer has logged in again, on the same page.
    async fn log_in_again_in_place(&self) {
        self.eval("window.stays = true").await;
        self.end_the_session().await;
        self.keys("#note", "and eats.").await;
        self.until("document.querySelector('dialog[open]')").await;
        self.look_at("log-in-again").await;
        self.until_focus("#again-password").await;
        self.keys("#again-password", &format!("wrong{ENTER}")).await;
        self.until("document.querySelector('#again-error').textContent.includes('another one')").await;
        self.keys("#again-password", &format!("{PASSWORD}{ENTER}")).await;
        self.until("document.querySelector('#draft-status').textContent === 'Draft kept.'").await;
        self.until_focus("#note").await;
        assert_eq!(self.eval("window.stays").await, true, "the page was not left");
        self.open("/patients/31").await;
        assert_eq!(self.eval("document.querySelector('#note').value").await, "Sleeps well, and eats.");
    }

    async fn attach_what_is_too_large(&self) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len((2 << 30) + 1).unwrap();
        self.keys("#file", &file.path().to_string_lossy()).await;
        self.click("form.upload button").await;
        self.until("document.querySelector('#file-error').textContent.includes('at most 2 GiB')").await;
        assert_eq!(
            self.eval("document.querySelector('form.upload button').disabled").await,
            false,
            "another may be chosen"
        );
    }

    /// The photo is a picture of the page. The network is slow, so that there is progress to see.
    async fn attach_a_photo(&self) {
        let name = format!("{}/photo", self.pictures);
        self.picture(&name).await;
        let path = picture_path(&name);
        self.keys("#file", &path.to_string_lossy()).await;
        let size = std::fs::metadata(&path).unwrap().len();
        self.slow_down(size / 15).await;
        self.click("form.upload button").await;
        self.until("document.querySelector('progress:not([hidden])')?.value > 0").await;
        let shown = self.eval("document.querySelector('form.upload [role=status]').textContent").await;
        assert!(shown.as_str().unwrap().ends_with('%'), "{shown}");
        self.slow_down(1 << 30).await;
        self.keys("#concept", "asth").await;
        self.until("document.querySelector('img.thumb')?.naturalWidth > 0").await;
        self.until("document.querySelector('#upload-status').textContent.endsWith('is attached.')").await;
        self.until_it_stands("concept", ("concept", "asth")).await;
        self.eval("document.querySelector('#concept').value = ''").await;
    }
}
