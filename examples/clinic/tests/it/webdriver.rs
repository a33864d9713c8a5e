//! As much of WebDriver as a test of a page needs: <https://www.w3.org/TR/webdriver2/>.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use statehouse_testkit::{Program, find_program, tool_cache};

use crate::client::builder;

/// `chromedriver`, which starts a browser for each profile.
pub(crate) struct Driver(Program);

/// A browser with cookies of its own.
pub(crate) struct Profile {
    http: reqwest::Client,
    session: String,
}

const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const DOWN: &str = "\u{e015}";

impl Driver {
    pub(crate) async fn start() -> Self {
        let program = find_program("chromedriver", &[]).unwrap_or_else(|error| panic!("{error}"));
        Self(Program::builder("chromedriver", program).arg("--port={port}").ready_at("/status").start().await)
    }

    pub(crate) async fn profile(&self, width: u32, height: u32) -> Profile {
        let args = ["--headless", "--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
            // What takes longer is answered with an error that says so, before this client gives up.
            "timeouts": { "script": 60_000, "pageLoad": 60_000 },
        } } });
        let mut profile = Profile {
            http: builder().build().expect("a client"),
            session: format!("http://{}/session", self.0.address()),
        };
        let started = profile.post("", &wanted).await;
        profile.session = format!("{}/{}", profile.session, started["sessionId"].as_str().expect("a session"));
        profile.resize(width, height).await;
        profile
    }
}

impl Profile {
    async fn post(&self, command: &str, body: &Value) -> Value {
        let sent = self.http.post(format!("{}{command}", self.session)).json(body).send().await;
        let answer = sent.unwrap_or_else(|error| panic!("the browser does not answer {command} {body}: {error:?}"));
        let answer = answer.json().await;
        let answer: Value = answer.unwrap_or_else(|error| panic!("half an answer to {command} {body}: {error:?}"));
        assert!(answer["value"]["error"].is_null(), "{command} {body}: {answer}");
        answer["value"].clone()
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url })).await;
    }

    /// What an expression of the page's script is.
    pub(crate) async fn eval(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}")).await
    }

    /// What a script in the page returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression of the page's script is true.
    pub(crate) async fn until(&self, expression: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.eval(&format!("Boolean({expression})")).await != true {
            let page = self.eval("document.body.innerText").await;
            assert!(Instant::now() < deadline, "never became true: {expression}; the page: {page}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn keys(&self, selector: &str, keys: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/value"), &json!({ "text": keys })).await;
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/click"), &json!({})).await;
    }

    async fn element(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector })).await;
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Everything that the page complained about since the last call.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({ "type": "browser" })).await;
        let entries = log.as_array().expect("a log").iter();
        entries.filter(|entry| entry["level"] == "SEVERE").map(|entry| entry["message"].to_string()).collect()
    }

    async fn tell_browser(&self, command: &str, params: Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": params })).await
    }

    /// A window cannot be as narrow as a phone; this can.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.tell_browser("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Whether pages that are opened from now on run their scripts. Those of this driver run anyway, but no timers of theirs.
    pub(crate) async fn run_scripts(&self, run: bool) {
        self.tell_browser("Emulation.setScriptExecutionDisabled", json!({ "value": !run })).await;
    }

    /// Shows pages as somebody sees them whose system is `dark` or `light`, and who wants nothing to move.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let still = json!({ "name": "prefers-reduced-motion", "value": "reduce" });
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }, still]);
        self.tell_browser("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Lets so many bytes go up in a second.
    pub(crate) async fn slow_down(&self, bytes: u64) {
        self.network(false, Duration::ZERO, bytes).await;
    }

    /// Lets every answer come so late.
    pub(crate) async fn delay(&self, by: Duration) {
        self.network(false, by, 1 << 30).await;
    }

    pub(crate) async fn cut_off(&self) {
        self.network(true, Duration::ZERO, 0).await;
    }

    async fn network(&self, offline: bool, latency: Duration, up: u64) {
        let latency = u64::try_from(latency.as_millis()).expect("a short time");
        let limits =
            json!({ "offline": offline, "latency": latency, "downloadThroughput": -1, "uploadThroughput": up });
        self.tell_browser("Network.enable", json!({})).await;
        self.tell_browser("Network.emulateNetworkConditions", limits).await;
    }

    /// What axe-core finds on the page: each rule that is broken, and where.
    pub(crate) async fn barriers(&self) -> Vec<String> {
        let path = tool_cache().join("axe-core/axe.min.js");
        if self.eval("typeof axe").await == "undefined" {
            let rules = std::fs::read_to_string(&path);
            let rules = rules.unwrap_or_else(|_| panic!("no {}: cargo xtask services install", path.display()));
            // A script of the page itself could not be let in: the policy of its content forbids it.
            self.run(&format!("{rules}; window.axe = axe;")).await;
        }
        let found = self.run("return axe.run(document, { resultTypes: ['violations'] })").await;
        assert!(found["passes"].as_array().is_some_and(|rules| rules.len() > 5), "axe-core looked at the page");
        let violations = found["violations"].as_array().expect("a list");
        let shown = |rule: &Value| format!("{} ({}): {}", rule["id"], rule["impact"], rule["nodes"][0]["html"]);
        violations.iter().map(shown).collect()
    }

    /// Keeps a picture of the page among the test's output.
    pub(crate) async fn picture(&self, name: &str) {
        let picture = self.tell_browser("Page.captureScreenshot", json!({ "format": "png" })).await;
        let bytes = decode(picture["data"].as_str().expect("a picture"));
        let path = picture_path(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder for pictures");
        std::fs::write(path, bytes).expect("a picture is kept");
    }

    pub(crate) async fn close(self) {
        let ended = self.http.delete(&self.session).send().await;
        ended.unwrap_or_else(|error| panic!("the browser does not end: {error:?}"));
    }
}

/// Where a picture of this name is kept.
pub(crate) fn picture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots").join(format!("{name}.png"))
}

/// Base64 (RFC 4648), which the driver sends pictures in.
fn decode(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for value in text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)) {
        bits = bits << 6 | u32::try_from(value).expect("six bits");
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff).try_into().expect("eight bits"));
        }
    }
    bytes
}
