use super::*;
use crate::terminology::Concept;

struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("clinic-{}", crate::id::new_id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn url(&self) -> String {
        format!("sqlite://{}?mode=rwc", self.0.join("clinic.db").display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Several may be called the same.
fn person(id: i64) -> Staff {
    Staff { id, login: format!("ada{id}"), name: "Ada".into(), role: Role::Clinician }
}

fn concept(code: &str) -> Concept {
    Concept {
        code: code.into(),
        bare_code: code.to_lowercase(),
        title: "Influenza".into(),
        chapter: "10".into(),
        terms: Vec::new(),
        everyday: None,
        names: Vec::new(),
        billable: true,
        unspecified: false,
    }
}

#[tokio::test]
async fn several_starts_at_once_fill_an_empty_database_once() {
    let folder = Folder::new();
    let url = folder.url();
    let starts: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn({
                let url = url.clone();
                async move { Database::open(&url).await }
            })
        })
        .collect();
    for start in starts {
        let database = start.await.unwrap().unwrap();
        let (patients,): (i64,) =
            sqlx::query_as("SELECT count(*) FROM patients").fetch_one(&database.pool).await.unwrap();
        assert_eq!(patients, 2_000);
        database.ping().await.unwrap();
        database.close().await;
    }
}

#[tokio::test]
async fn patients_are_found_by_the_beginnings_of_their_names_in_any_order() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    let patient = database.patient(1).await.unwrap().unwrap();
    let (given, family) = patient.name.split_once(' ').unwrap();
    let typed = format!("{} {}", &family[..2].to_uppercase(), &given[..2]);
    let found = database.find_patients(&typed, 2_000).await.unwrap();
    assert!(found.iter().any(|found| found.id == 1), "{typed}: {found:?}");
    assert!(found.iter().all(|found| found.name.to_lowercase().contains(&family[..2].to_lowercase())));
    assert_eq!(database.find_patients("", 7).await.unwrap().len(), 7);
    for typed in ["%", "_", "!", "' OR 1 = 1 --"] {
        assert!(database.find_patients(typed, 5).await.unwrap().is_empty(), "{typed}");
    }
}

#[tokio::test]
async fn a_code_is_active_once_and_history_is_kept() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    let before: i64 = database.active_by_chapter().await.unwrap().iter().map(|(_, count)| count).sum();
    assert!(database.add_diagnosis(5, &concept("J10.1"), &person(1)).await.unwrap().is_some());
    assert_eq!(database.add_diagnosis(5, &concept("J10.1"), &person(1)).await.unwrap(), None);
    let added = database.diagnoses(5).await.unwrap().into_iter().find(|found| found.code == "J10.1").unwrap();
    assert!(!database.resolve_diagnosis(6, &added.id, "Ada").await.unwrap(), "another patient's");
    assert!(database.resolve_diagnosis(5, &added.id, "Grace").await.unwrap());
    assert!(!database.resolve_diagnosis(5, &added.id, "Grace").await.unwrap(), "resolved already");
    assert!(database.add_diagnosis(5, &concept("J10.1"), &person(1)).await.unwrap().is_some());
    let history = database.diagnoses(5).await.unwrap();
    let influenza: Vec<_> = history.iter().filter(|found| found.code == "J10.1").collect();
    assert_eq!(influenza.len(), 2);
    assert_eq!(influenza.iter().filter(|found| found.resolved_by.as_deref() == Some("Grace")).count(), 1);
    let after: i64 = database.active_by_chapter().await.unwrap().iter().map(|(_, count)| count).sum();
    assert_eq!(after, before + 1);
    assert!(database.add_diagnosis(999_999, &concept("J10.1"), &person(1)).await.is_err(), "no such patient");
}

#[tokio::test]
async fn a_note_sent_twice_is_kept_once() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    assert_eq!(database.add_note(5, "n1", "well", &person(1)).await.unwrap(), NoteAdded::New);
    assert_eq!(database.add_note(5, "n1", "well", &person(1)).await.unwrap(), NoteAdded::Before);
    for (patient, text, by) in [(5, "better", 1), (6, "well", 1), (5, "well", 2)] {
        assert_eq!(database.add_note(patient, "n1", text, &person(by)).await.unwrap(), NoteAdded::AnotherBefore);
    }
    assert_eq!(database.notes(5).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_the_right_password_logs_in() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    let ada = database.log_in("ada", "statehouse").await.unwrap().unwrap();
    assert_eq!((ada.name.as_str(), ada.role), ("Ada Okafor", Role::Operator));
    assert_eq!(database.log_in("ada", "Statehouse").await.unwrap(), None);
    assert_eq!(database.log_in("nobody", "statehouse").await.unwrap(), None);
}

#[tokio::test]
async fn what_was_added_can_be_taken_back_and_what_was_resolved_reopened() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    let influenza = concept("J10.1");
    let id = database.add_diagnosis(5, &influenza, &person(1)).await.unwrap().unwrap();
    assert!(!database.take_back_diagnosis(5, &id, 2, 0).await.unwrap(), "another person's");
    assert!(!database.take_back_diagnosis(5, &id, 1, i64::MAX).await.unwrap(), "too late");
    assert!(database.take_back_diagnosis(5, &id, 1, 0).await.unwrap());
    assert!(!database.take_back_diagnosis(5, &id, 1, 0).await.unwrap(), "it is gone");

    let id = database.add_diagnosis(5, &influenza, &person(1)).await.unwrap().unwrap();
    assert!(!database.reopen_diagnosis(5, &id).await.unwrap(), "it is active");
    assert!(database.resolve_diagnosis(5, &id, "Ada").await.unwrap());
    assert!(!database.take_back_diagnosis(5, &id, 1, 0).await.unwrap(), "history stays");
    let again = database.add_diagnosis(5, &influenza, &person(2)).await.unwrap().unwrap();
    assert!(!database.reopen_diagnosis(5, &id).await.unwrap(), "the code is active by another one");
    assert!(database.resolve_diagnosis(5, &again, "Grace").await.unwrap());
    assert!(database.reopen_diagnosis(5, &id).await.unwrap());
}

#[tokio::test]
async fn a_draft_is_one_for_each_person_and_patient_and_as_many_as_there_are_patients() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    let (ada, none) = (person(1), Window::default());
    for patient in 1..=40 {
        let draft = (&*format!("d{patient}"), &*"é".repeat(16 << 10));
        assert_eq!(database.keep_draft(&ada, patient, draft, none).await.unwrap(), DraftKept::Kept);
    }
    assert_eq!(database.keep_draft(&person(2), 1, ("other", "hers"), none).await.unwrap(), DraftKept::Kept);
    assert_eq!(database.draft(1, 1).await.unwrap().unwrap().id, "d1");
    assert_eq!(database.draft(2, 1).await.unwrap().unwrap().text, "hers");
    // Of another window: what is half written is not lost for it.
    assert_eq!(database.keep_draft(&ada, 1, ("second", "x"), none).await.unwrap(), DraftKept::Elsewhere);
    assert!(database.remove_draft(1, 1, "second", none).await.unwrap());
    assert_eq!(database.draft(1, 1).await.unwrap().unwrap().id, "d1");
    assert!(database.remove_draft(1, 1, "d1", none).await.unwrap());
    assert!(database.draft(1, 1).await.unwrap().is_none());
    assert_eq!(database.keep_draft(&ada, 1, ("second", "x"), none).await.unwrap(), DraftKept::Kept);
    // One whose note is there is none, and in nobody's way.
    database.add_note(1, "second", "x", &ada).await.unwrap();
    assert!(database.draft(1, 1).await.unwrap().is_none());
    assert_eq!(database.keep_draft(&ada, 1, ("third", "y"), none).await.unwrap(), DraftKept::Kept);
    assert_eq!(database.draft(1, 1).await.unwrap().unwrap().text, "y");
    assert_eq!(database.sweep_drafts(Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(database.sweep_drafts(Duration::ZERO).await.unwrap(), 41);
}

#[tokio::test]
async fn a_draft_under_the_id_of_another_note_is_refused() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    let (ada, window) = (person(1), Window { page: "p", seen: "" });
    database.add_note(1, "n", "Sleeps well.", &ada).await.unwrap();
    for patient in [1, 2] {
        let kept = database.keep_draft(&ada, patient, ("n", "Sleeps badly."), window).await.unwrap();
        assert_eq!(kept, DraftKept::AnotherSaved);
    }
    let kept = database.keep_draft(&person(2), 1, ("n", "Sleeps well."), window).await.unwrap();
    assert_eq!(kept, DraftKept::AnotherSaved, "another person's");
    let kept = database.keep_draft(&ada, 1, ("n", "Sleeps well.\n"), window).await.unwrap();
    assert_eq!(kept, DraftKept::Saved, "it came late");
    assert_eq!(database.sweep_drafts(Duration::ZERO).await.unwrap(), 0, "nothing is hidden");
}

#[tokio::test]
async fn a_window_writes_over_its_own_draft_and_over_what_it_was_opened_with_alone() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    let ada = person(1);
    let keep = async |text: &str, window| database.keep_draft(&ada, 1, ("d", text), window).await.unwrap();
    let kept = async || database.draft(1, 1).await.unwrap().unwrap();
    assert_eq!(keep("Sleeps", Window { page: "a", seen: "" }).await, DraftKept::Kept);
    let seen = kept().await.mark;
    let (second, third) = (Window { page: "b", seen: &seen }, Window { page: "c", seen: &seen });
    assert_eq!(keep("Sleeps well", second).await, DraftKept::Kept, "it has seen it");
    for (text, window) in [("Sleeps badly", third), ("Slept", Window { page: "a", seen: "" })] {
        assert_eq!(keep(text, window).await, DraftKept::Elsewhere);
        assert!(!database.remove_draft(1, 1, "d", window).await.unwrap(), "nor is it removed");
    }
    assert_eq!(keep("Sleeps well, eats", second).await, DraftKept::Kept, "its own");
    // A note that the other window saves under the same id takes nothing away.
    database.add_note(1, "d", "Sleeps badly", &ada).await.unwrap();
    database.settle_draft(1, 1, "d", Some(third)).await.unwrap();
    let left = kept().await;
    assert_eq!(left.text, "Sleeps well, eats");
    assert_ne!(left.id, "d", "it can be saved");
    assert_eq!(keep("Sleeps well, eats", second).await, DraftKept::AnotherSaved);
    let moved = database.keep_draft(&ada, 1, ("e", "Sleeps well, eats."), second).await.unwrap();
    assert_eq!(moved, DraftKept::Kept, "as a note of its own");
    database.add_note(1, "e", "Sleeps well, eats.", &ada).await.unwrap();
    database.settle_draft(1, 1, "e", Some(second)).await.unwrap();
    assert!(database.draft(1, 1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_note_of_the_release_before_that_is_sent_again_is_compared_by_name() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    database.add_note(1, "n", "Sleeps well.", &person(1)).await.unwrap();
    sqlx::query("UPDATE notes SET written_by_id = NULL").execute(&database.pool).await.unwrap();
    assert_eq!(database.add_note(1, "n", "Sleeps well.", &person(1)).await.unwrap(), NoteAdded::Before);
    let grace = Staff { name: "Grace".into(), ..person(1) };
    assert_eq!(database.add_note(1, "n", "Sleeps well.", &grace).await.unwrap(), NoteAdded::AnotherBefore);
}

#[tokio::test]
async fn who_is_dismissed_cannot_log_in() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    let grace = database.log_in("grace", "statehouse").await.unwrap().unwrap();
    assert_eq!(database.staff(grace.id).await.unwrap(), Some(grace.clone()));
    sqlx::query("UPDATE staff SET dismissed_at = 1 WHERE id = $1")
        .bind(grace.id)
        .execute(&database.pool)
        .await
        .unwrap();
    assert_eq!(database.staff(grace.id).await.unwrap(), None);
    assert_eq!(database.log_in("grace", "statehouse").await.unwrap(), None);
}

#[cfg(unix)]
#[tokio::test]
async fn the_database_is_for_its_own_user() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(&folder.0).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 2, "the database and what SQLite keeps beside it: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.path().display());
    }
    drop(database);
    Database::open(&folder.url()).await.unwrap();
}

#[cfg(feature = "replicas")]
#[tokio::test]
async fn a_database_that_is_away_is_named_with_its_setting_and_why_and_without_its_password() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://clinic:hunter2@127.0.0.1:{port}/clinic");
    let error = Database::open(&url).await.unwrap_err();
    for named in [&*format!("at 127.0.0.1:{port} "), "CLINIC_DATABASE", "refused"] {
        assert!(error.contains(named), "{error}");
    }
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn the_right_to_change_the_schema_is_not_waited_for_without_an_end() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    let mut connection = database.pool.acquire().await.unwrap();
    let waited =
        tokio::time::timeout(Duration::from_secs(30), right_to_migrate(&mut connection, "SELECT 0", Duration::ZERO));
    let error = waited.await.expect("somebody who has it is not waited for without an end").unwrap_err();
    assert!(error.to_string().contains("another replica"), "{error}");
    right_to_migrate(&mut connection, "SELECT 1", Duration::ZERO).await.unwrap();
}

/// The primary's machine dies while all connections are in use, and another one takes its place.
#[cfg(feature = "replicas")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_nobody_answers_end_and_leave_their_places() {
    use statehouse_testkit::{FaultProxy, PostgresServer};
    let soon = Duration::from_secs(60);
    let server = PostgresServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let database = Database::open(&proxy.url(server.url())).await.unwrap();
    let mut other = AnyConnection::connect(server.url()).await.unwrap();
    // So that none is still to be made when the server begins to count.
    let all = futures_util::future::join_all((0..8).map(|_| lent::Lent::of(&database.pool))).await;
    all.into_iter().for_each(|lent| lent.unwrap().answered(&Ok(())));
    sqlx::raw_sql("BEGIN; LOCK TABLE patients").execute(&mut other).await.unwrap();
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let database = database.clone();
            tokio::spawn(async move { database.patient(1).await })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while sqlx::query_as::<_, (i64,)>(waiting).fetch_one(&mut other).await.unwrap() < (8,) {
        tokio::time::sleep(MIGRATION_PAUSE).await;
    }
    proxy.black_hole();
    for asking in asking {
        let answer = tokio::time::timeout(soon, asking).await.expect("it ends").unwrap();
        assert!(matches!(answer, Err(sqlx::Error::Io(_))), "{answer:?}");
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    proxy.heal();
    assert_eq!(database.patient(1).await.unwrap().unwrap().id, 1, "there is room to ask at once");
}
