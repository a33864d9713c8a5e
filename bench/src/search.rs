use std::io::Read as _;

use statehouse_core::Namespace;
use statehouse_search::analysis::Analyzer;
use statehouse_search::{
    BulkOptions, DocumentId, Durability, Field, OpenSearchConfig, OpenSearchIndex, Operation, Record, Schema,
    SearchIndex, SearchIndexExt, TantivyConfig,
};
use statehouse_testkit::OpenSearchNode;
use tantivy::collector::{Count, TopDocs};
use tantivy::schema::{IndexRecordOption, STORED, STRING, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use tantivy::{Index, IndexReader, IndexWriter, TantivyDocument, Term, doc};

use crate::harness::{Bar, Case, Harness};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const CHUNK: usize = 2_000;

pub(crate) struct Diagnosis {
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) chapter: String,
}

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    let rows = diagnoses()?;
    crate::search_texts::run(harness, &rows).await?;
    crate::search_columns::run(harness).await?;
    crate::polls::run(harness).await?;
    index(harness, &rows).await?;
    delete(harness, &rows).await?;
    crate::search_logged::run(harness, &rows).await?;
    bulk(harness, &rows).await
}

/// Deletes one by one: what was deleted before makes none of them dearer.
async fn delete(harness: &mut Harness, rows: &[Diagnosis]) -> Outcome {
    const BLOCK: usize = 5_000;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let took = delete_by_blocks(&rows[..4 * BLOCK], BLOCK).await?;
        pairs.push((took[3], took[0]));
    }
    let (name, peer) = ("5,000 deletes one by one, after 15,000", "the first 5,000");
    let case = Case { service: "search", name, peer, bar: Bar::Times(1.5), ops: BLOCK as u32 };
    harness.paired(&case, "s", &pairs);
    Ok(())
}

/// How many seconds each block of them took.
async fn delete_by_blocks(rows: &[Diagnosis], block: usize) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let ours = TantivyConfig::memory().open(schema()?).await?;
    ours.bulk(rows.iter().map(operation).collect()).await?.check()?;
    let mut took = Vec::new();
    for block in rows.chunks(block) {
        let start = std::time::Instant::now();
        for row in block {
            ours.bulk(vec![Operation::Delete { id: DocumentId::new(&row.code)?, version: None }]).await?.check()?;
        }
        took.push(start.elapsed().as_secs_f64());
    }
    Ok(took)
}

/// ICD-10-CM, the 46,498 diagnoses of April 2025.
fn diagnoses() -> Outcome<Vec<Diagnosis>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/icd10cm-2025-04.tsv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path)?).read_to_string(&mut text)?;
    let row = |line: &str| {
        let mut columns = line.split('\t').map(str::to_owned);
        let (code, _, chapter, title) = (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
        Some(Diagnosis { code, title, chapter })
    };
    text.lines().map(|line| row(line).ok_or_else(|| "a broken row".into())).collect()
}

pub(crate) fn schema() -> Outcome<Schema> {
    Ok(Schema::builder().field(Field::text("title")).field(Field::keyword("chapter")).build()?)
}

pub(crate) fn operation(row: &Diagnosis) -> Operation {
    let record = Record::new(&row.code).expect("a code");
    Operation::Upsert(record.with("title", &*row.title).with("chapter", &*row.chapter))
}

/// An index as one writes it by hand: the same fields, the same documents.
pub(crate) struct Raw {
    index: Index,
    reader: IndexReader,
    code: tantivy::schema::Field,
    pub(crate) title: tantivy::schema::Field,
    chapter: tantivy::schema::Field,
}

impl Raw {
    /// With tantivy's own tokenizer, which has less to do than ours, or with a copy of ours for equal answers.
    pub(crate) fn new(tokenizer: &str) -> Outcome<Self> {
        let mut schema = tantivy::schema::Schema::builder();
        let code = schema.add_text_field("code", STRING | STORED);
        let words = TextFieldIndexing::default()
            .set_tokenizer(tokenizer)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let title = schema.add_text_field("title", TextOptions::default().set_indexing_options(words) | STORED);
        let chapter = schema.add_text_field("chapter", STRING | STORED);
        let index = Index::create_in_ram(schema.build());
        index.tokenizers().register(OURS, Words(Analyzer::standard().lowercase()));
        let reader = index.reader()?;
        Ok(Self { index, reader, code, title, chapter })
    }

    /// In as many segments.
    pub(crate) fn fill(&self, rows: &[Diagnosis], segments: usize) -> Outcome {
        let mut writer: IndexWriter = self.index.writer_with_num_threads(1, 64 << 20)?;
        writer.set_merge_policy(Box::new(tantivy::merge_policy::NoMergePolicy));
        for part in rows.chunks(rows.len().div_ceil(segments)) {
            for row in part {
                writer.delete_term(Term::from_field_text(self.code, &row.code));
                writer.add_document(
                    doc!(self.code => &*row.code, self.title => &*row.title, self.chapter => &*row.chapter),
                )?;
            }
            writer.commit()?;
        }
        self.reader.reload()?;
        assert_eq!(self.reader.searcher().segment_readers().len(), segments);
        Ok(())
    }

    /// The total, if it is counted, and how many of the ten best documents there are, which are read.
    pub(crate) fn search(
        &self,
        query: &dyn tantivy::query::Query,
        counted: Counted,
    ) -> tantivy::Result<(Option<u64>, usize)> {
        let (searcher, best) = (self.reader.searcher(), TopDocs::with_limit(10).order_by_score());
        let (top, total) = match counted {
            Counted::All => searcher.search(query, &(best, Count)).map(|(top, total)| (top, Some(total as u64)))?,
            Counted::None => (searcher.search(query, &best)?, None),
        };
        let documents = top.into_iter().map(|(_, address)| searcher.doc::<TantivyDocument>(address));
        Ok((total, documents.collect::<tantivy::Result<Vec<_>>>()?.len()))
    }
}

/// Whether the peer counts what matches, or prunes by blocks.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Counted {
    All,
    None,
}

/// The name of [`Words`] among tantivy's tokenizers.
pub(crate) const OURS: &str = "ours";

/// Our analysis for the peer.
#[derive(Clone)]
struct Words(Analyzer);

struct WordStream<'a> {
    words: statehouse_search::analysis::TokenStream<'a>,
    token: Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        let words = statehouse_search::analysis::TokenStream::new(&self.0, text);
        WordStream { words, token: Token::default() }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let there = self.words.advance();
        let found = self.words.token();
        self.token.text.clone_from(&found.text);
        self.token.position = found.position as usize;
        there
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

async fn index(harness: &mut Harness, rows: &[Diagnosis]) -> Outcome {
    let ops = u32::try_from(rows.len())?;
    let name = "index 46,498 rows and commit";
    let case = Case { service: "search", name, peer: "raw tantivy, upsert", bar: Bar::Ratio(0.85), ops };
    harness
        .compare(
            case,
            async || {
                let index = TantivyConfig::memory().open(schema().expect("a schema")).await.expect("open");
                let queued = BulkOptions::default().with_durability(Durability::Queued);
                for chunk in rows.chunks(CHUNK) {
                    let report = index.bulk_with(chunk.iter().map(operation).collect(), queued.clone()).await;
                    report.and_then(|report| report.check()).expect("indexed");
                }
                index.refresh().await.expect("committed");
                index.close().await.expect("closed");
            },
            async || {
                let filled = tokio::task::block_in_place(|| Raw::new("default")?.fill(rows, 1));
                filled.expect("indexed");
            },
        )
        .await;
    Ok(())
}

/// 20,000 rows into the real server, in bulks of 2,000, one after the other. The peer sends bytes that were prepared
/// before and looks at the status only.
async fn bulk(harness: &mut Harness, rows: &[Diagnosis]) -> Outcome {
    let node = OpenSearchNode::start().await;
    let (host, port) = node.address().split_once(':').ok_or("an address")?;
    let config = OpenSearchConfig::new([(host.to_owned(), port.parse()?)])?.with_replicas(0);
    let ours = OpenSearchIndex::open(config.clone(), &Namespace::new("ours")?, schema()?).await?;
    // The same mapping for the peer.
    OpenSearchIndex::open(config, &Namespace::new("theirs")?, schema()?).await?;
    let rows = &rows[..20_000];
    let bodies: Vec<bytes::Bytes> = rows.chunks(CHUNK).map(body).collect::<Result<_, _>>()?;
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(false).no_proxy().build()?;
    let url = format!("http://{}/theirs/_bulk", node.address());
    let ops = u32::try_from(rows.len())?;
    let name = "bulks of 2,000 rows, one in flight";
    let case = Case { service: "search", name, peer: "reqwest, prepared bytes", bar: Bar::Ratio(0.95), ops };
    harness
        .compare(
            case,
            async || {
                for chunk in rows.chunks(CHUNK) {
                    let report = ours.bulk(chunk.iter().map(operation).collect()).await.expect("an answer");
                    assert_eq!(report.failures().count(), 0);
                }
            },
            async || {
                for body in &bodies {
                    let request = http.post(&url).header("content-type", "application/x-ndjson").body(body.clone());
                    let answer = request.send().await.expect("an answer");
                    assert!(answer.status().is_success());
                    let text = answer.text().await.expect("a body");
                    assert!(text.contains("\"errors\":false"), "{}", &text[..200]);
                }
            },
        )
        .await;
    Ok(())
}

fn body(rows: &[Diagnosis]) -> serde_json::Result<bytes::Bytes> {
    let mut body = String::new();
    for row in rows {
        let head = serde_json::json!({"index": {"_id": row.code}});
        // As the mapping asks: our own id beside the fields, and what says that a field has a value.
        let source = serde_json::json!({"_sid": row.code, "title": row.title, "chapter": row.chapter});
        body += &format!("{}\n{}\n", serde_json::to_string(&head)?, serde_json::to_string(&source)?);
    }
    Ok(body.into())
}
