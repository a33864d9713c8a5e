//! Finding or making the index, and checking that it is what we think it is.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use super::client::{Call, Client, deadline};
use super::config::OpenSearchConfig;
use super::drift;
use super::error;
use super::found::{Found, Known};
use super::generations::set::{self, Set, readable};
use super::generations::{Ground, Serving, View};
use super::mapping::{self, Stored};
use super::shards::Shards;
use crate::Schema;
use crate::analysis::{Analyzer, SynonymRules, Token, Tokenizer};

/// What is known of an index that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) view: View,
    /// The number of the generation that is used.
    pub(super) home: u32,
    /// What is wanted, and not there.
    lacks: Vec<String>,
    /// Whether all of that is there nevertheless, and only not known to be.
    unsaid: bool,
    /// Which index is no longer as it was created, and how.
    drift: Option<(String, String)>,
}

impl Opened {
    /// Succeeds if the index is as it was created.
    pub(super) fn check(&self) -> Result<()> {
        let Some((name, drift)) = &self.drift else {
            let name = || self.known().map_or_else(String::new, |known| known.index.clone());
            let lost = |field| Err(mapping::mismatch(format!("{} has no field {field:?}, which it had", name())));
            return self.lacks.first().map_or(Ok(()), lost);
        };
        Err(mapping::mismatch(format!(
            "{name} was changed since it was created: {drift}; change it back or build it anew"
        )))
    }

    /// The generation that is used.
    pub(super) fn known(&self) -> Option<&Known> {
        self.view.number(self.home)
    }
}

/// What an index must be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) ground: &'a Ground,
    pub(super) schema: &'a Schema,
    /// The generation that the handle fills.
    pub(super) own: Option<u32>,
}

#[derive(Deserialize)]
struct Root {
    version: Release,
}

#[derive(Deserialize)]
struct Release {
    number: String,
    distribution: Option<String>,
}

/// The oldest major release that ranks as the contract says.
const OLDEST: u32 = 3;

/// Checks that the server is an OpenSearch that we know how to talk to.
pub(super) async fn check_server(client: &Client, config: &OpenSearchConfig) -> Result<()> {
    let refuse = |message: String| Err(Error::invalid_config(&config.setting, message).with_backend(error::BACKEND));
    let Root { version } = match root(client).await {
        Ok(Some(root)) => root,
        Ok(None) => {
            return refuse(format!("what answers at {config} is not OpenSearch: look at the address and the port"));
        }
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unexpected) => {
            return Err(client.wrong_side(config).await.unwrap_or(error));
        }
        Err(error) => return Err(error),
    };
    let major = version.number.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if version.distribution.as_deref() == Some("opensearch") && major.is_some_and(|major| major >= OLDEST) {
        return Ok(());
    }
    let found = version.distribution.as_deref().unwrap_or("something else");
    refuse(format!("OpenSearch {OLDEST} or newer is needed; {config} is {found} {}", version.number))
}

/// What a server calls itself, for people: `OpenSearch 3.2.0`.
pub(super) async fn release(client: &Client) -> Result<Option<String>> {
    let named = |Release { number, distribution }: Release| match distribution.as_deref() {
        Some("opensearch") => format!("OpenSearch {number}"),
        Some(other) => format!("{other} {number}"),
        None => number,
    };
    Ok(root(client).await?.map(|root| named(root.version)))
}

/// What the server says of itself; `None` if it says something that OpenSearch does not.
async fn root(client: &Client) -> Result<Option<Root>> {
    let answer = client.exchange(&Call::get("/")).await?;
    match answer.status {
        300..=399 | 404 | 405 => Ok(None),
        // As a server says whose port speaks TLS, and ours is not meant to.
        400 => Err(answer.error()),
        _ => Ok(serde_json::from_slice(&answer.into_body()?).ok()),
    }
}

/// Opens the index behind the alias, or creates both, and makes sure that it serves as we expect.
pub(super) async fn index(wanted: Wanted<'_>) -> Result<Opened> {
    let (client, alias) = (&*wanted.ground.client, wanted.ground.alias.as_str());
    let until = deadline(client.timing.total);
    let opened = ensure(wanted).await?;
    let known = opened.known().ok_or_else(error::of_gone)?;
    let is_live = known.number == opened.view.set.live;
    // The alias of another one changes with what that is for.
    wait_for_shards(client, if is_live { alias } else { &known.index }, until).await?;
    // What it does to words says more than which setting was changed.
    verify_analysis(client, &known.index, &known.stored.schema).await?;
    opened.check()?;
    Ok(opened)
}

async fn ensure(wanted: Wanted<'_>) -> Result<Opened> {
    let Wanted { ground, schema, .. } = wanted;
    let (client, alias) = (&*ground.client, ground.alias.as_str());
    let mut pauses = Backoff::new(SETTLED, SETTLED * 2);
    for _ in 0..TRIES {
        if let Some(opened) = look(wanted, None).await? {
            if opened.lacks.is_empty() || opened.drift.is_some() {
                return Ok(opened);
            }
            extend(client, &opened, schema, None).await?;
            // Who looked before may write behind this: what is there in the end is looked at.
            sleep(pauses.pause()).await;
            continue;
        }
        let set = Set::alone(1);
        let aliases = json!({ alias: { "is_write_index": true }, set.name(alias): {}, readable(alias, 1): {} });
        let body = mapping::creation(&Stored::of(schema), &aliases, &ground.config.layout)?;
        let created = client.send(&Call::put(format!("/{}", set::index(alias, 1)), &body)).await;
        match created {
            // Somebody else was faster; theirs is looked at as any other that was there.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(_) => tracing::info!(name: "search.created", "the index is made"),
        }
    }
    if let Some(opened) = look(wanted, None).await? {
        if opened.lacks.is_empty() {
            return Ok(opened);
        }
        return Err(mapping::mismatch(format!("others change the fields of {alias} at the same time: open it again")));
    }
    let message =
        format!("there is an index {alias}-000001 without its alias {alias}: add the alias or delete the index");
    Err(mapping::mismatch(message))
}

/// Adds the fields of a schema to an index, and says that it has them.
async fn extend(client: &Client, opened: &Opened, wanted: &Schema, timeout: Option<Duration>) -> Result<()> {
    let known = opened.known().ok_or_else(error::of_gone)?;
    let extension = mapping::extension(&known.stored.extended_by(wanted))?;
    client.send(&Call::put(format!("/{}/_mapping", known.index), &extension).within(timeout)).await?;
    tracing::info!(name: "search.extended", "fields are added to the index");
    Ok(())
}

/// Looks at the index as one that was open already: has it say again that it has the fields of the schema, where another
/// build has said what it holds without them.
pub(super) async fn look_again(wanted: Wanted<'_>, timeout: Duration) -> Result<Option<Opened>> {
    let found = look(wanted, Some(timeout)).await?;
    match found {
        Some(opened) if opened.unsaid && opened.drift.is_none() => {
            extend(&wanted.ground.client, &opened, wanted.schema, Some(timeout)).await?;
            look(wanted, Some(timeout)).await
        }
        found => Ok(found),
    }
}

/// How often fields are added where others add theirs: each time one more has said so for good.
const TRIES: usize = 8;

/// How long others may take from their look at the index to what they say of it.
const SETTLED: Duration = Duration::from_millis(100);

/// Looks at the index behind the alias, whether it is what this schema made. `None` if there is none.
pub(super) async fn look(wanted: Wanted<'_>, timeout: Option<Duration>) -> Result<Option<Opened>> {
    let view = wanted.ground.view(timeout).await?;
    view.map(|view| check(view, wanted)).transpose()
}

fn check(view: View, wanted: Wanted<'_>) -> Result<Opened> {
    let Wanted { ground, schema, own } = wanted;
    let Serving { known, lacks } = view.find(schema, own, &ground.fillers)?;
    view.all().try_for_each(|known| known.found.check_durable())?;
    let (alias, retention) = (ground.alias.as_str(), ground.config.layout.delete_retention);
    let unsaid = !lacks.is_empty() && lacks.iter().all(|name| known.found.has(name));
    let home = known.number;
    let drift = view.all().find_map(|known| {
        let (Found { aliases, mappings, settings }, index) = (&known.found, &known.found.settings["index"]);
        let of = if known.number == home { schema } else { &known.stored.schema };
        let drift = drift::find(&known.stored.schema, of, mappings, settings)
            .or_else(|| drift::alias(&aliases[alias]))
            .or_else(|| drift::forgets(index, retention));
        drift.map(|drift| (known.index.clone(), drift))
    });
    Ok(Opened { home, lacks, unsaid, drift, view })
}

/// Waits until every shard has a copy that serves: another process may have created the index a moment ago, and after a
/// restart of the cluster shards come one by one.
pub(super) async fn wait_for_shards(client: &Client, alias: &str, until: Instant) -> Result<()> {
    // The server answers before it counts as silent.
    let patience = (client.timing.attempt / 2).as_millis();
    let call = Call::get(Shards::path(alias, &format!("wait_for_status=yellow&timeout={patience}ms")));
    let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
    loop {
        let answer = client.exchange(&call).await?;
        if answer.status != TIMED_OUT {
            let shards: Shards = serde_json::from_slice(&answer.into_body()?).map_err(error::of_broken_body)?;
            if shards.all_serve() {
                break;
            }
        }
        if Instant::now() >= until {
            return Err(error::of_missing_shard());
        }
        // The server does not wait for the shards of a new index, and a proxy may have answered at once.
        sleep(pauses.pause()).await;
    }
    Ok(())
}

/// The status of an answer that what was waited for has not come about.
const TIMED_OUT: u16 = 408;

#[derive(Deserialize)]
pub(super) struct Analysis {
    #[serde(default)]
    tokens: Vec<AnalyzedToken>,
}

#[derive(Deserialize)]
struct AnalyzedToken {
    token: String,
    position: u32,
}

/// What analysis is checked with: what releases, plugins and settings of a server are known to change.
const PROBES: [&str; 6] = [
    "The added patient's fractures were added, running & relational: skies dying, generously 3.14 U.S.A. e-mail a_b",
    "Élan Straße ﬁne ŒUVRE İstanbul ǅ ϴ ß № ½ ² ① ｆｕｌｌ e\u{301}",
    "Ωμέγα Привет שלום مرحبا हिन्दी ภาษาไทย 日本語カタカナ 한국어 中文",
    "👩\u{200d}⚕️ 🇩🇪🇫🇷 1️⃣ ☕ a\u{200b}b x\u{ad}y \u{feff}z",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
     aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
     aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbb",
    "",
];

/// Compares what the server makes of the probes with what we make of them.
///
/// # Errors
/// `Conflict`, naming the field and the first token that differs.
pub(super) async fn verify_analysis(client: &Client, alias: &str, schema: &Schema) -> Result<()> {
    for (name, analyzer, field) in mapping::used_analyzers(schema) {
        let own = analyzer.synonym_rules().map_or_else(Vec::new, |rules| of_rules(analyzer.tokenizer(), rules));
        for probe in PROBES.into_iter().chain(own.iter().map(String::as_str)) {
            let theirs = analyze(client, alias, name, probe).await?;
            if let Some(difference) = difference(analyzer, probe, &theirs) {
                let message = format!("OpenSearch analyses text of this field in another way than we do: {difference}");
                return Err(mapping::mismatch(message).with_key(field));
            }
        }
    }
    Ok(())
}

/// Texts in which words have synonyms, as many as one answer may have terms of and a start may wait for.
fn of_rules(tokenizer: Tokenizer, rules: &SynonymRules) -> Vec<String> {
    let mut terms = 0;
    let words = rules.words().take_while(|(_, others)| {
        // Each of them may be as many beginnings.
        terms += others.len() * Analyzer::MAX_NGRAM;
        terms <= MAX_TOKENS
    });
    let words = words.map(|(word, _)| word);
    match tokenizer {
        Tokenizer::Standard => vec![words.collect::<Vec<_>>().join(" ")],
        Tokenizer::Whole => words.take(PROBES.len()).map(str::to_owned).collect(),
    }
}

/// How many tokens the server hands out at a time.
const MAX_TOKENS: usize = 10_000;

async fn analyze(client: &Client, alias: &str, analyzer: &str, text: &str) -> Result<Analysis> {
    let body = json!({ "analyzer": mapping::analyzer_name(analyzer), "text": text });
    client.read(&Call::ask(format!("/{alias}/_analyze"), &body)).await
}

fn difference(analyzer: &Analyzer, text: &str, theirs: &Analysis) -> Option<String> {
    let ours = analyzer.tokens(text);
    let theirs: Vec<_> = theirs.tokens.iter().map(|token| (&*token.token, token.position)).collect();
    let ours: Vec<_> = ours.iter().map(|token: &Token| (&*token.text, token.position)).collect();
    let at = (0..ours.len().max(theirs.len())).find(|at| ours.get(*at) != theirs.get(*at))?;
    let show = |token: Option<&(&str, u32)>| {
        token.map_or("nothing".to_owned(), |(text, position)| format!("{text:?} at position {position}"))
    };
    Some(format!("{} instead of {}", show(theirs.get(at)), show(ours.get(at))))
}
