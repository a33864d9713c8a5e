//! One tenant of an index with another one's documents in it: all of the contract holds for it, and nothing of the other's is there.

use super::*;
use crate::TenantIndex;

/// A tenant's part of an index in which another tenant has documents of the ids that are used.
#[derive(Debug)]
struct Tenanted(Arc<TenantIndex>);

impl Tenanted {
    async fn open(schema: Schema) -> Self {
        let whose = Schema::builder().field(Field::keyword("whose").not_stored()).build().unwrap();
        let schema = schema.extended_by(&whose);
        let all: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::memory().open(schema).await.unwrap());
        let other = TenantIndex::new(Arc::clone(&all), "whose", "other").unwrap();
        let rows = ["a", "b", "c", "d", "1", "2", "3"].map(|id| Operation::Upsert(Record::new(id).unwrap()));
        other.bulk(rows.to_vec()).await.unwrap().check().unwrap();
        Self(Arc::new(TenantIndex::new(all, "whose", "mine").unwrap()))
    }
}

impl Backend for Tenanted {
    type Service = dyn SearchIndex;

    async fn service(&self) -> Arc<dyn SearchIndex> {
        Arc::clone(&self.0) as _
    }

    async fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn pass_time(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn reopen(&mut self) {}

    async fn another(&self) -> Self {
        Self::open(crate::conformance::schema()).await
    }
}

crate::search_conformance!(Tenanted::open(crate::conformance::schema()));

fn shared() -> Schema {
    Schema::builder().field(Field::text("title")).field(Field::keyword("whose").sortable()).build().unwrap()
}

fn ward(id: &str, title: &str) -> Operation {
    Operation::Upsert(Record::new(id).unwrap().with("title", title))
}

#[tokio::test]
async fn no_query_of_a_tenant_reaches_another_one() {
    let all: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::memory().open(shared()).await.unwrap());
    let of = |tenant: &str| TenantIndex::new(Arc::clone(&all), "whose", tenant).unwrap();
    let (north, south) = (of("north"), of("south"));
    north.bulk(vec![ward("1", "surgery"), ward("2", "surgery")]).await.unwrap().check().unwrap();
    south.bulk(vec![ward("1", "surgery secret"), ward("3", "surgery")]).await.unwrap().check().unwrap();
    north.refresh().await.unwrap();
    let foreign = || Query::ids(["1", "3", "../south/1", "south/1", "/south/1"]);
    let queries: Vec<Query> = vec![
        Query::all().into(),
        Query::matches("title", "secret surgery").into(),
        Query::term("whose", "south").into(),
        Query::bool().should(Query::all()).should(Query::term("whose", "south")).into(),
        Query::bool().must_not(Query::term("whose", "north")).into(),
        foreign().into(),
        Query::bool().should(foreign()).must_not(Query::ids(["2"])).into(),
        Query::dis_max([Query::from(foreign()), Query::constant(foreign()).into()]).into(),
    ];
    for query in queries {
        let request = SearchRequest::new(query.clone()).with_facet(crate::Facet::field("whose"));
        let found = north.search(&request).await.unwrap();
        assert!(found.ids().iter().all(|id| ["1", "2"].contains(id)), "{query:?}: {:?}", found.ids());
        assert!(found.facets[0].1.iter().all(|counted| counted.value.as_text() == Some("north")), "{query:?}");
        assert_eq!(north.count(&query).await.unwrap(), found.total);
        let mut hits = north.hits(&SearchRequest::new(query.clone()).with_size(1)).await.unwrap();
        let mut all = Vec::new();
        while let Some(hit) = hits.next().await.unwrap() {
            all.push(hit.id().to_string());
        }
        assert_eq!(all, found.ids(), "{query:?}");
    }
    let id = |text: &str| DocumentId::new(text).unwrap();
    for foreign in ["3", "south/1", "../south/1"] {
        assert!(north.get(&id(foreign)).await.unwrap().is_none());
        let report = north.bulk(vec![Operation::Delete { id: id(foreign), version: None }]).await.unwrap();
        assert!(matches!(report.outcomes[..], [Outcome::NotFound]));
    }
    let claimed = Record::new("9").unwrap().with("title", "x").with("whose", "south");
    let report = north.bulk(vec![Operation::Upsert(claimed), ward("2", "new")]).await.unwrap();
    assert!(
        matches!(&report.outcomes[..], [Outcome::Failed(error), Outcome::Updated { .. }] if error.kind() == ErrorKind::InvalidInput)
    );
    assert_eq!(south.count(&Query::all().into()).await.unwrap(), 2, "nothing of the other is gone");
    // A page behind another tenant's hit is none of this one's pages.
    let page = SearchRequest::new(Query::all()).with_size(1);
    let place = south.search(&page).await.unwrap().hits[0].cursor();
    let error = north.search(&page.with_after(place)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn tenants_that_could_be_taken_for_others_are_refused() {
    let schema = || {
        let keyword = Field::keyword("folded").normalized(crate::analysis::Normalizer::default().lowercase());
        Schema::builder().field(Field::text("title")).field(Field::keyword("whose")).field(keyword).build().unwrap()
    };
    let all: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::memory().open(schema()).await.unwrap());
    for (field, tenant, kind) in [
        ("none", "a", ErrorKind::InvalidConfig),
        ("title", "a", ErrorKind::InvalidConfig),
        ("folded", "a", ErrorKind::InvalidConfig),
        ("whose", "", ErrorKind::InvalidInput),
        ("whose", "a/b", ErrorKind::InvalidInput),
        ("whose", "a\n", ErrorKind::InvalidInput),
    ] {
        assert_eq!(TenantIndex::new(Arc::clone(&all), field, tenant).unwrap_err().kind(), kind, "{field} {tenant:?}");
    }
}
