//! People at work, and what they were promised.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::client::{Client, PASSWORD, text};

/// Codes that the made-up patients do not have.
const CODES: [&str; 12] =
    ["J10.1", "A48.1", "B35.3", "H10.9", "K35.80", "L50.9", "M10.9", "N20.0", "R05.9", "S61.0", "T14.90", "Z23"];

/// What went otherwise than well, with its time.
#[derive(Clone, Debug)]
pub(crate) struct Mishap {
    pub(crate) at: Instant,
    pub(crate) what: &'static str,
    /// `None` if no answer came.
    pub(crate) status: Option<StatusCode>,
    pub(crate) retry_after: bool,
}

/// What all people together met.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) done: u64,
    pub(crate) mishaps: Vec<Mishap>,
    /// Breaches of a promise, in words.
    pub(crate) broken: Vec<String>,
}

/// One of the staff with a patient of their own.
struct Person {
    client: Client,
    balancer: SocketAddr,
    login: String,
    patient: u32,
    logged_in: bool,
    codes: BTreeSet<&'static str>,
    documents: Vec<(String, Vec<u8>)>,
    draft: u64,
    report: Arc<Mutex<Report>>,
}

type Step = Result<(), ()>;

/// Lets `people` work for this long; then looks whether all that was acknowledged is there.
pub(crate) async fn work(balancer: SocketAddr, people: u32, time: Duration) -> Report {
    let report = Arc::new(Mutex::new(Report::default()));
    let until = Instant::now() + time;
    let tasks: Vec<_> = (0..people)
        .map(|number| {
            let mut person = Person::new(balancer, number, Arc::clone(&report));
            tokio::spawn(async move {
                while Instant::now() < until {
                    let _counted = person.round().await;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                person.check().await;
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("nobody panics");
    }
    Arc::into_inner(report).expect("everybody has gone home").into_inner().expect("nobody panicked")
}

impl Person {
    fn new(balancer: SocketAddr, number: u32, report: Arc<Mutex<Report>>) -> Self {
        Self {
            client: Client::new(balancer),
            balancer,
            login: format!("staff{:03}", 3 + number),
            patient: 200 + number,
            logged_in: false,
            codes: BTreeSet::new(),
            documents: Vec::new(),
            draft: 0,
            report,
        }
    }

    fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().expect("nobody panics with it")
    }

    fn broken(&self, what: &str) {
        self.report().broken.push(format!("{}: {what}", self.login));
    }

    /// The answer, if its status is one of these; else a mishap.
    fn expect(
        &self,
        what: &'static str,
        answer: reqwest::Result<Response>,
        statuses: &[StatusCode],
    ) -> Result<Response, ()> {
        let (status, retry_after) = match answer {
            Ok(answer) if statuses.contains(&answer.status()) => {
                self.report().done += 1;
                return Ok(answer);
            }
            Ok(answer) => (Some(answer.status()), answer.headers().contains_key("retry-after")),
            Err(_) => (None, false),
        };
        self.report().mishaps.push(Mishap { at: Instant::now(), what, status, retry_after });
        Err(())
    }

    /// A little of everything.
    async fn round(&mut self) -> Step {
        if !self.logged_in {
            self.log_in().await?;
        }
        self.is_me().await?;
        let found = self.client.request(Method::GET, "/api/concepts").query(&[("q", "diab mel")]).send().await;
        self.expect("search", found, &[StatusCode::OK])?;
        self.add_diagnosis().await?;
        self.keep_draft().await?;
        self.attach().await?;
        self.read_back().await?;
        if self.draft.is_multiple_of(7) {
            self.log_out().await?;
        }
        Ok(())
    }

    async fn log_in(&mut self) -> Step {
        self.client = Client::new(self.balancer);
        match self.client.log_in(&self.login, PASSWORD).await {
            Ok(answer) => {
                self.expect("log in", Ok(answer), &[StatusCode::SEE_OTHER])?;
                self.logged_in = true;
                // What was half filled ended with the session that it was in.
                self.draft = 0;
                Ok(())
            }
            Err(error) => {
                let (status, at) = (error.status(), Instant::now());
                self.report().mishaps.push(Mishap { at, what: "log in", status, retry_after: true });
                Err(())
            }
        }
    }

    async fn is_me(&self) -> Step {
        let answer = self.expect("me", self.client.get("/api/me").await, &[StatusCode::OK])?;
        let me: Value = answer.json().await.map_err(drop)?;
        if text(&me["login"]) != self.login {
            self.broken(&format!("was taken for {me}"));
        }
        Ok(())
    }

    async fn add_diagnosis(&mut self) -> Step {
        let Some(code) = CODES.into_iter().find(|code| !self.codes.contains(code)) else { return Ok(()) };
        let path = format!("/patients/{}/diagnoses", self.patient);
        let answer = self.client.post(&path, &[("concept", code)]).await;
        // A conflict says that an earlier try, whose answer was lost, was carried out.
        self.expect("diagnosis", answer, &[StatusCode::SEE_OTHER, StatusCode::CONFLICT])?;
        self.codes.insert(code);
        Ok(())
    }

    async fn keep_draft(&mut self) -> Step {
        let next = self.draft + 1;
        let answer = self.client.keep_draft(self.patient, &format!("draft {next}.")).await;
        self.expect("draft", answer, &[StatusCode::NO_CONTENT])?;
        self.draft = next;
        Ok(())
    }

    async fn attach(&mut self) -> Step {
        if self.documents.len() >= 5 {
            return Ok(());
        }
        let content = format!("{} {}", self.login, self.documents.len()).repeat(500).into_bytes();
        let answer = self.client.attach(self.patient, "letter.txt", "text/plain", content.clone()).await;
        let stored: Value = self.expect("attach", answer, &[StatusCode::CREATED])?.json().await.map_err(drop)?;
        self.documents.push((text(&stored["id"]), content));
        Ok(())
    }

    async fn read_back(&self) -> Step {
        let Some((id, content)) = self.documents.last() else { return Ok(()) };
        let answer = self.expect("download", self.client.get(&format!("/documents/{id}")).await, &[StatusCode::OK])?;
        if answer.bytes().await.map_err(drop)? != content {
            self.broken(&format!("document {id} came back changed"));
        }
        Ok(())
    }

    async fn log_out(&mut self) -> Step {
        let cookie = self.client.cookie();
        let answer = self.client.post("/logout", &[]).await;
        self.expect("log out", answer, &[StatusCode::SEE_OTHER])?;
        self.logged_in = false;
        let again = Client::new(self.balancer).request(Method::GET, "/api/me").header("cookie", cookie).send().await;
        if let Ok(answer) = again
            && answer.status() == StatusCode::OK
        {
            self.broken("a session that was logged out was accepted");
        }
        Ok(())
    }

    /// All that was acknowledged is there.
    async fn check(&mut self) {
        if self.logged_in {
            self.check_draft().await;
        }
        let client = Client::logged_in(self.balancer, &self.login).await;
        let chart = client.json(&format!("/api/patients/{}", self.patient)).await.expect("a chart");
        let chart = chart.to_string();
        let codes = self.codes.iter().filter(|code| !chart.contains(&format!("\"{code}\"")));
        let lost: Vec<_> = codes.copied().collect();
        if !lost.is_empty() {
            self.broken(&format!("lost diagnoses {lost:?}"));
        }
        for (id, content) in &self.documents {
            let document = client.get(&format!("/documents/{id}")).await.expect("a document");
            if !chart.contains(id) || document.bytes().await.expect("its content") != content {
                self.broken(&format!("lost document {id}"));
            }
        }
    }

    /// The draft is the last that was acknowledged, or one behind it whose answer was lost.
    async fn check_draft(&self) {
        let page = self.client.get(&format!("/patients/{}", self.patient)).await.expect("a page");
        if page.status() != StatusCode::OK {
            return self.broken(&format!("lost the session: {}", page.status()));
        }
        let page = page.text().await.expect("a page");
        let kept = |number: u64| page.contains(&format!(">draft {number}.</textarea>"));
        if self.draft > 0 && !kept(self.draft) && !kept(self.draft + 1) {
            self.broken(&format!("lost draft {}", self.draft));
        }
    }
}
