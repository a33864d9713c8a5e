use std::time::{Duration, UNIX_EPOCH};

use statehouse_core::ErrorKind;

use super::*;
use crate::{Facet, Field, Highlight, Query, Record, Schema, Sort, Value};

/// What the derive macro writes, by hand, so that it is tested without the feature.
#[derive(Debug, PartialEq)]
struct Patient {
    id: String,
    row: u64,
    names: Vec<String>,
    weight: Option<f64>,
    born: Millis,
}

impl Document for Patient {
    fn schema() -> statehouse_core::Result<Schema> {
        Schema::builder()
            .field(Field::text("names"))
            .field(<Option<f64> as FieldValues>::One::field("weight"))
            .field(Millis::field("born").sortable())
            .build()
    }

    fn to_record(&self) -> statehouse_core::Result<Record> {
        let mut record = Record::new(&self.id)?.with_version(self.row);
        for value in self.names.to_values() {
            record = record.with("names", value);
        }
        for value in self.weight.to_values().chain(self.born.to_values()).zip(["weight", "born"]) {
            record = record.with(value.1, value.0);
        }
        Ok(record)
    }

    fn from_record(record: &Record) -> statehouse_core::Result<Self> {
        Ok(Self {
            id: record.id().as_str().to_owned(),
            row: record.version().unwrap_or_default(),
            names: FieldValues::from_values("names", record.values("names"))?,
            weight: FieldValues::from_values("weight", record.values("weight"))?,
            born: FieldValues::from_values("born", record.values("born"))?,
        })
    }
}

#[test]
fn documents_survive_the_way_through_a_record() {
    let names = vec!["Ada".to_owned(), "Augusta".to_owned()];
    let patient = Patient { id: "p1".into(), row: 7, names, weight: Some(61.5), born: Millis(-4_852_224_000_000) };
    let record = patient.to_record().unwrap();
    Patient::schema().unwrap().check_record(&record).unwrap();
    assert_eq!(Patient::from_record(&record).unwrap(), patient);
}

#[test]
fn a_stored_field_of_another_shape_is_corrupt() {
    let good = || Record::new("p1").unwrap().with("born", Value::Date(0));
    for (bad, field) in [
        (Record::new("p1").unwrap(), "born"),
        (good().with("born", Value::Date(1)), "born"),
        (good().with("weight", "heavy"), "weight"),
        (good().with("names", 7_i64), "names"),
    ] {
        let error = Patient::from_record(&bad).unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(field)));
    }
}

#[test]
fn times_are_rounded_down_to_milliseconds_on_both_sides_of_the_epoch() {
    for (time, millis) in [
        (UNIX_EPOCH + Duration::from_micros(1_999), 1),
        (UNIX_EPOCH, 0),
        (UNIX_EPOCH - Duration::from_micros(1), -1),
        (UNIX_EPOCH - Duration::from_millis(5), -5),
    ] {
        assert_eq!(time.to_value(), Value::Date(millis));
    }
    let back = UNIX_EPOCH - Duration::from_millis(5);
    assert_eq!(std::time::SystemTime::from_value(&Value::Date(-5)), Some(back));
}

#[test]
fn handles_make_the_queries_of_their_field() {
    let (names, born) = (TextField::new("names"), ValueField::<Millis>::new("born"));
    assert_eq!(Query::from(names.matches("ada").fuzzy()), Query::matches("names", "ada").fuzzy().into());
    assert_eq!(Highlight::from(names.sub("start")), Highlight::field("names.start"));
    assert_eq!(names.sub_keyword("exact").descending(), Sort::by("names.exact").descending());
    assert_eq!(Facet::from(names.sub_keyword("exact")), Facet::field("names.exact"));
    let range = Query::range("born").at_least(Value::Date(1)).below(Value::Date(9));
    assert_eq!(born.within(Millis(1)..Millis(9)), range);
    assert_eq!(KeywordField::new("chapter").any_of(["1", "2"]), Query::terms("chapter", ["1", "2"]));
}

/// A type whose `secret` is searched and never returned.
#[derive(Debug)]
struct Hidden<V>(V);

impl<V: FieldValues + Send + Sync + 'static> Document for Hidden<V> {
    fn schema() -> statehouse_core::Result<Schema> {
        let stored = Schema::builder().field(Field::keyword("code")).field(Field::i64("rank"));
        stored.field(V::One::field("secret").not_stored()).build()
    }

    fn to_record(&self) -> statehouse_core::Result<Record> {
        let record = Record::new("a")?.with("code", "x").with("rank", 1_i64);
        Ok(self.0.to_values().fold(record, |record, value| record.with("secret", value)))
    }

    fn from_record(record: &Record) -> statehouse_core::Result<Self> {
        i64::from_values("rank", record.values("rank"))?;
        Ok(Self(V::from_values("secret", record.values("secret"))?))
    }
}

#[cfg(feature = "tantivy")]
#[tokio::test]
async fn a_type_that_needs_what_is_not_stored_is_refused_when_its_index_is_taken() {
    async fn take<D: Document>() -> statehouse_core::Result<Index<D>> {
        let index = crate::TantivyConfig::memory().open(D::schema()?).await?;
        Index::new(std::sync::Arc::new(index))
    }
    let error = take::<Hidden<String>>().await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some("secret")));
    assert_eq!(take::<Hidden<bool>>().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    take::<Hidden<Vec<String>>>().await.unwrap();
    let index = take::<Hidden<Option<String>>>().await.unwrap();
    index.upsert(Hidden(Some("word".to_owned()))).wait_until_visible().await.unwrap();
    let page = index.query(Query::term("secret", "word")).await.unwrap();
    assert_eq!((page.total, &page.hits[0].document.0), (1, &None));
}

/// Whatever other replicas have on theirs.
#[cfg(feature = "tantivy")]
#[tokio::test]
async fn a_replica_whose_disk_is_blank_is_not_ready_and_not_empty() {
    type Notes = Hidden<Option<String>>;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("notes");
    let config = || crate::TantivyConfig::folder(&folder);
    let open = async || {
        let index = config().open(Notes::schema().unwrap()).await.unwrap();
        Index::<Notes>::new(std::sync::Arc::new(index)).unwrap()
    };
    for round in 0..2 {
        // Who expects an index, by whatever schema, makes none.
        let absent = config().open_live().await.unwrap_err();
        assert_eq!((absent.kind(), folder.join("000001").exists()), (ErrorKind::NotFound, false), "{absent}");
        let notes = open().await;
        let error = notes.require_documents(1).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && error.is_retryable(), "round {round}: {error}");
        assert!(error.to_string().contains("0 of 1 documents"), "{error}");
        notes.upsert(Hidden(None)).wait_until_visible().await.unwrap();
        notes.require_documents(1).await.unwrap();
        notes.index().close().await.unwrap();
        drop(notes);
        let notes = open().await;
        notes.require_documents(1).await.unwrap();
        notes.index().close().await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
