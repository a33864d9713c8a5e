//! People at work, and what they were promised.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::client::{Client, PASSWORD, text, token_in};

/// Codes that the made-up patients do not have.
const CODES: [&str; 12] =
    ["J10.1", "A48.1", "B35.3", "H10.9", "K35.80", "L50.9", "M10.9", "N20.0", "R05.9", "S61.009", "T14.90", "Z23"];

/// What people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    LogInPage,
    LogIn,
    Me,
    Dashboard,
    Search,
    Diagnose,
    Chart,
    Resolve,
    Draft,
    Page,
    Attach,
    Download,
    LogOut,
    Ended,
}

impl Step {
    /// Whether a load balancer may send it again.
    pub(crate) const fn is_idempotent(self) -> bool {
        !matches!(self, Self::LogIn | Self::Diagnose | Self::Resolve | Self::Attach | Self::LogOut)
    }
}

/// What went otherwise than well, with its time.
#[derive(Clone, Debug)]
pub(crate) struct Mishap {
    pub(crate) at: Instant,
    pub(crate) step: Step,
    /// `None` if no answer came.
    pub(crate) status: Option<StatusCode>,
    pub(crate) retry_after: bool,
    /// What the answer said.
    #[expect(dead_code, reason = "a failed assertion shows it")]
    pub(crate) words: String,
}

impl Mishap {
    /// The clinic has too much to do, and says when to come again.
    pub(crate) fn is_asked_to_wait(&self) -> bool {
        self.status == Some(StatusCode::SERVICE_UNAVAILABLE) && self.retry_after
    }
}

/// What all people together met.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) done: Vec<(Instant, Step)>,
    pub(crate) mishaps: Vec<Mishap>,
    /// Breaches of a promise, in words.
    pub(crate) broken: Vec<String>,
}

/// One of the staff with a patient of their own.
struct Person {
    client: Client,
    clinic: String,
    login: String,
    patient: u32,
    logged_in: bool,
    rounds: u64,
    codes: BTreeSet<&'static str>,
    documents: Vec<(String, Vec<u8>)>,
    draft: u64,
    /// The cookies of sessions that were logged out.
    ended: Vec<String>,
    report: Arc<Mutex<Report>>,
}

/// It went well; or it did not, and the report says how.
type Outcome<T = ()> = Result<T, ()>;

/// Lets `people` work for this long at the clinic with this address; then looks whether all that was acknowledged is there.
pub(crate) async fn work(clinic: impl Display, people: u32, time: Duration) -> Report {
    let until = Instant::now() + time;
    work_while(clinic, people, move || Instant::now() < until).await
}

/// The same for as long as it goes on.
pub(crate) async fn work_while(
    clinic: impl Display,
    people: u32,
    goes_on: impl Fn() -> bool + Clone + Send + 'static,
) -> Report {
    let report = Arc::new(Mutex::new(Report::default()));
    let tasks: Vec<_> = (0..people)
        .map(|number| {
            let mut person = Person::new(clinic.to_string(), number, Arc::clone(&report));
            let goes_on = goes_on.clone();
            tokio::spawn(async move {
                while goes_on() {
                    person.round().await;
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
    fn new(clinic: String, number: u32, report: Arc<Mutex<Report>>) -> Self {
        Self {
            client: Client::new(&clinic),
            clinic,
            login: format!("staff{:03}", 3 + number),
            patient: 200 + number,
            logged_in: false,
            rounds: 0,
            codes: BTreeSet::new(),
            documents: Vec::new(),
            draft: 0,
            ended: Vec::new(),
            report,
        }
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().expect("nobody panics with it")
    }

    fn broken(&self, what: &str) {
        self.report().broken.push(format!("{}: {what}", self.login));
    }

    /// The answer, if its status is one of these; else a mishap.
    async fn expect(
        &self,
        step: Step,
        answer: reqwest::Result<Response>,
        statuses: &[StatusCode],
    ) -> Outcome<Response> {
        let at = Instant::now();
        let (status, retry_after, words) = match answer {
            Ok(answer) if statuses.contains(&answer.status()) => {
                self.report().done.push((at, step));
                return Ok(answer);
            }
            Ok(answer) => {
                let (status, retry_after) = (answer.status(), answer.headers().contains_key("retry-after"));
                (Some(status), retry_after, answer.text().await.unwrap_or_default())
            }
            Err(error) => (None, false, error.to_string()),
        };
        self.report().mishaps.push(Mishap { at, step, status, retry_after, words });
        Err(())
    }

    async fn get(&self, step: Step, path: &str) -> Outcome<Response> {
        self.expect(step, self.client.get(path).await, &[StatusCode::OK]).await
    }

    /// A little of everything. Each is tried whatever became of what was before it.
    async fn round(&mut self) {
        if !self.logged_in && self.log_in().await.is_err() {
            return;
        }
        self.rounds += 1;
        let outcomes = [
            self.is_me().await.map(drop),
            self.get(Step::Dashboard, "/").await.map(drop),
            self.get(Step::Search, "/api/concepts?q=diab%20mel").await.map(drop),
            self.diagnose().await,
            self.keep_draft().await,
            self.read_draft().await,
            self.attach().await,
            self.download().await,
        ];
        let went_well = outcomes.iter().all(Result::is_ok);
        if went_well && self.rounds.is_multiple_of(7) {
            // The report says what became of it.
            let _counted = self.log_out().await;
        }
    }

    async fn log_in(&mut self) -> Outcome {
        self.client = Client::new(&self.clinic);
        let page = self.get(Step::LogInPage, "/login").await?.text().await.map_err(drop)?;
        self.client.set_csrf(token_in(&page));
        let answer = self.client.post("/login", &[("login", self.login.as_str()), ("password", PASSWORD)]).await;
        self.expect(Step::LogIn, answer, &[StatusCode::SEE_OTHER]).await?;
        self.client.set_csrf(self.is_me().await?);
        self.logged_in = true;
        // What was half filled ended with the session that it was in.
        self.draft = 0;
        Ok(())
    }

    /// The token for forms.
    async fn is_me(&self) -> Outcome<String> {
        let me: Value = self.get(Step::Me, "/api/me").await?.json().await.map_err(drop)?;
        if text(&me["login"]) != self.login {
            self.broken(&format!("was taken for {me}"));
        }
        Ok(text(&me["csrf"]))
    }

    /// Adds one more diagnosis; resolves one if there are all.
    async fn diagnose(&mut self) -> Outcome {
        let Some(code) = CODES.into_iter().find(|code| !self.codes.contains(code)) else { return self.resolve().await };
        let path = format!("/patients/{}/diagnoses", self.patient);
        let answer = self.client.post(&path, &[("concept", code)]).await;
        // A conflict says that an earlier try, whose answer was lost, was carried out.
        self.expect(Step::Diagnose, answer, &[StatusCode::SEE_OTHER, StatusCode::CONFLICT]).await?;
        self.codes.insert(code);
        Ok(())
    }

    async fn resolve(&mut self) -> Outcome {
        let chart = self.get(Step::Chart, &format!("/api/patients/{}", self.patient)).await?;
        let chart: Value = chart.json().await.map_err(drop)?;
        self.check_diagnoses(&chart);
        let Some(code) = self.codes.pop_first() else { return Ok(()) };
        let Some(found) = active(&chart).find(|found| found["code"] == code) else { return Ok(()) };
        let path = format!("/patients/{}/diagnoses/{}/resolve", self.patient, text(&found["id"]));
        self.expect(Step::Resolve, self.client.post(&path, &[]).await, &[StatusCode::SEE_OTHER]).await.map(drop)
    }

    async fn keep_draft(&mut self) -> Outcome {
        let next = self.draft + 1;
        let answer = self.client.keep_draft(self.patient, &format!("{} draft {next}.", self.login)).await;
        self.expect(Step::Draft, answer, &[StatusCode::NO_CONTENT]).await?;
        self.draft = next;
        Ok(())
    }

    /// The draft is one's own, and the last that was acknowledged or one behind it whose answer was lost.
    async fn read_draft(&self) -> Outcome {
        let page = self.get(Step::Page, &format!("/patients/{}", self.patient)).await?.text().await.map_err(drop)?;
        let kept = |number: u64| page.contains(&format!(">{} draft {number}.</textarea>", self.login));
        if self.draft > 0 && !kept(self.draft) && !kept(self.draft + 1) {
            self.broken(&format!("draft {} was lost, or is another's", self.draft));
        }
        Ok(())
    }

    async fn attach(&mut self) -> Outcome {
        if !self.rounds.is_multiple_of(3) {
            return Ok(());
        }
        let content = format!("{} {}", self.login, self.documents.len()).repeat(500).into_bytes();
        let answer = self.client.attach(self.patient, "letter.txt", "text/plain", content.clone()).await;
        let stored = self.expect(Step::Attach, answer, &[StatusCode::CREATED]).await?;
        let stored: Value = stored.json().await.map_err(drop)?;
        self.documents.push((text(&stored["id"]), content));
        Ok(())
    }

    async fn download(&self) -> Outcome {
        let Some((id, content)) = self.documents.last() else { return Ok(()) };
        let answer = self.get(Step::Download, &format!("/documents/{id}")).await?;
        if answer.bytes().await.map_err(drop)? != content {
            self.broken(&format!("document {id} came back changed"));
        }
        Ok(())
    }

    async fn log_out(&mut self) -> Outcome {
        let cookie = self.client.cookie();
        // If the answer is lost, it may or may not have ended: begin anew.
        self.logged_in = false;
        let answer = self.client.post("/logout", &[]).await;
        self.expect(Step::LogOut, answer, &[StatusCode::SEE_OTHER]).await?;
        self.ended.push(cookie.clone());
        let again = self.with_cookie(cookie).await;
        self.expect(Step::Ended, again, &[StatusCode::UNAUTHORIZED]).await.map(drop)
    }

    async fn with_cookie(&self, cookie: String) -> reqwest::Result<Response> {
        Client::new(&self.clinic).request(Method::GET, "/api/me").header("cookie", cookie).send().await
    }

    fn check_diagnoses(&self, chart: &Value) {
        let there: Vec<_> = active(chart).map(|found| text(&found["code"])).collect();
        let lost: Vec<_> = self.codes.iter().filter(|code| !there.iter().any(|there| there == *code)).collect();
        if !lost.is_empty() {
            self.broken(&format!("lost diagnoses {lost:?}"));
        }
    }

    /// All that was acknowledged is there, and nothing that was ended.
    async fn check(&mut self) {
        if self.logged_in && self.read_draft().await.is_err() {
            self.broken("lost the session");
        }
        for cookie in std::mem::take(&mut self.ended) {
            let answer = self.with_cookie(cookie).await.expect("an answer");
            if answer.status() != StatusCode::UNAUTHORIZED {
                self.broken("a session that was logged out was accepted");
            }
        }
        let client = Client::logged_in(&self.clinic, &self.login).await;
        let chart = client.json(&format!("/api/patients/{}", self.patient)).await.expect("a chart");
        self.check_diagnoses(&chart);
        self.check_documents(&client, &chart).await;
    }

    /// Every acknowledged one is there, and every row has its file.
    async fn check_documents(&self, client: &Client, chart: &Value) {
        let rows = chart["documents"].as_array().expect("a list");
        for (id, _) in self.documents.iter().filter(|(id, _)| !rows.iter().any(|row| row["id"] == id.as_str())) {
            self.broken(&format!("lost document {id}"));
        }
        for row in rows {
            let id = text(&row["id"]);
            let answer = client.get(&format!("/documents/{id}")).await.expect("an answer");
            let content = answer.bytes().await.expect("its content");
            let acknowledged = self.documents.iter().find(|(known, _)| *known == id);
            if content.len() as u64 != row["size"] || acknowledged.is_some_and(|(_, expected)| content != expected) {
                self.broken(&format!("the row and the file of document {id} disagree"));
            }
        }
    }
}

fn active(chart: &Value) -> impl Iterator<Item = &Value> {
    chart["diagnoses"].as_array().expect("a list").iter().filter(|found| found["resolved_at"].is_null())
}
