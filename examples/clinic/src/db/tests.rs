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

fn concept(code: &str) -> Concept {
    Concept {
        code: code.into(),
        bare_code: code.to_lowercase(),
        title: "Influenza".into(),
        chapter: "10".into(),
        terms: Vec::new(),
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
    assert_eq!(database.add_diagnosis(5, &concept("J10.1"), "Ada").await.unwrap(), Added::New);
    assert_eq!(database.add_diagnosis(5, &concept("J10.1"), "Ada").await.unwrap(), Added::AlreadyThere);
    let added = database.diagnoses(5).await.unwrap().into_iter().find(|found| found.code == "J10.1").unwrap();
    assert!(!database.resolve_diagnosis(6, &added.id, "Ada").await.unwrap(), "another patient's");
    assert!(database.resolve_diagnosis(5, &added.id, "Grace").await.unwrap());
    assert!(!database.resolve_diagnosis(5, &added.id, "Grace").await.unwrap(), "resolved already");
    assert_eq!(database.add_diagnosis(5, &concept("J10.1"), "Ada").await.unwrap(), Added::New);
    let history = database.diagnoses(5).await.unwrap();
    let influenza: Vec<_> = history.iter().filter(|found| found.code == "J10.1").collect();
    assert_eq!(influenza.len(), 2);
    assert_eq!(influenza.iter().filter(|found| found.resolved_by.as_deref() == Some("Grace")).count(), 1);
    let after: i64 = database.active_by_chapter().await.unwrap().iter().map(|(_, count)| count).sum();
    assert_eq!(after, before + 1);
    assert!(database.add_diagnosis(999_999, &concept("J10.1"), "Ada").await.is_err(), "no such patient");
}

#[tokio::test]
async fn a_note_sent_twice_is_kept_once() {
    let folder = Folder::new();
    let database = Database::open(&folder.url()).await.unwrap();
    assert_eq!(database.add_note(5, "n1", "well", "Ada").await.unwrap(), Added::New);
    assert_eq!(database.add_note(5, "n1", "well", "Ada").await.unwrap(), Added::AlreadyThere);
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
