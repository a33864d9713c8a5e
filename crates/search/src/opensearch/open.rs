//! Finding or making the index, and checking that it is what we think it is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use super::client::{Call, Client, back_off};
use super::config::OpenSearchConfig;
use super::error;
use super::mapping::{self, Stored};
use crate::Schema;
use crate::analysis::{Analyzer, Token};

/// What is known of an index that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) shards: u32,
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
    let Root { version } = client.read(&Call::get("/")).await?;
    let major = version.number.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if version.distribution.as_deref() == Some("opensearch") && major.is_some_and(|major| major >= OLDEST) {
        return Ok(());
    }
    let found = version.distribution.as_deref().unwrap_or("something else");
    let message = format!("OpenSearch {OLDEST} or newer is needed; {config} is {found} {}", version.number);
    Err(Error::invalid_config(&config.setting, message))
}

#[derive(Deserialize)]
struct Found {
    mappings: Mappings,
    settings: Settings,
}

#[derive(Deserialize)]
struct Mappings {
    #[serde(rename = "_meta")]
    meta: Option<BTreeMap<String, Json>>,
}

#[derive(Deserialize)]
struct Settings {
    index: IndexSettings,
}

#[derive(Deserialize)]
struct IndexSettings {
    number_of_shards: String,
    translog: Option<Translog>,
}

#[derive(Deserialize)]
struct Translog {
    durability: Option<String>,
}

/// Opens the index behind the alias, or creates both, and makes sure that it serves as we expect.
pub(super) async fn index(client: &Client, config: &OpenSearchConfig, alias: &str, schema: &Schema) -> Result<Opened> {
    let opened = ensure(client, config, alias, schema).await?;
    wait_for_shards(client, alias).await?;
    verify_analysis(client, alias, schema).await?;
    Ok(opened)
}

async fn ensure(client: &Client, config: &OpenSearchConfig, alias: &str, schema: &Schema) -> Result<Opened> {
    for _ in 0..2 {
        let answer = client.exchange(&Call::get(format!("/{alias}"))).await?;
        if answer.status != 404 {
            let found: BTreeMap<String, Found> =
                serde_json::from_slice(&answer.into_body()?).map_err(error::of_broken_body)?;
            return check(&found, alias, schema);
        }
        let body = mapping::creation(schema, alias, &config.layout)?;
        let created = client.send(&Call::put(format!("/{alias}-000001"), &body)).await;
        match created {
            // Somebody else was faster; theirs is looked at as any other that was there.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(_) => tracing::info!("statehouse.search.opensearch.created"),
        }
    }
    let message =
        format!("there is an index {alias}-000001 without its alias {alias}: add the alias or delete the index");
    Err(mapping::mismatch(message))
}

fn check(found: &BTreeMap<String, Found>, alias: &str, schema: &Schema) -> Result<Opened> {
    let (Some((name, found)), 1) = (found.iter().next(), found.len()) else {
        return Err(mapping::mismatch(format!("the alias {alias} stands for several indexes")));
    };
    if name == alias {
        return Err(mapping::mismatch(format!("{alias} is an index of its own and not an alias of one")));
    }
    let stored = found.mappings.meta.as_ref().and_then(|meta| meta.get("statehouse"));
    let stored = stored.ok_or_else(|| mapping::mismatch(format!("{name} was not created by statehouse")))?;
    let stored: Stored = Stored::deserialize(stored).map_err(|cause| {
        mapping::mismatch("the index was created by a release with another form of schemas").with_source(cause)
    })?;
    Stored::of(schema).check(&stored)?;
    let IndexSettings { number_of_shards, translog } = &found.settings.index;
    if translog.as_ref().and_then(|translog| translog.durability.as_deref()) == Some("async") {
        let message =
            "index.translog.durability is \"async\": acknowledged writes could be lost; set it to \"request\"";
        return Err(mapping::mismatch(message));
    }
    Ok(Opened { shards: number_of_shards.parse().unwrap_or(1) })
}

/// Waits until every shard has a copy that serves: another process may have created the index a moment ago, and after a
/// restart of the cluster shards come one by one.
async fn wait_for_shards(client: &Client, alias: &str) -> Result<()> {
    let deadline = Instant::now() + client.timing.total;
    // The server answers before it counts as silent.
    let patience = (client.timing.attempt / 2).as_millis();
    let call = Call::get(format!("/_cluster/health/{alias}?wait_for_status=yellow&timeout={patience}ms"));
    loop {
        let answer = client.exchange(&call).await?;
        if answer.status != TIMED_OUT {
            return answer.into_body().map(drop);
        }
        if Instant::now() >= deadline {
            return Err(error::of_missing_shard());
        }
        // A proxy may have said so at once.
        sleep(back_off(1)).await;
    }
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
async fn verify_analysis(client: &Client, alias: &str, schema: &Schema) -> Result<()> {
    for (name, analyzer, field) in mapping::used_analyzers(schema) {
        for probe in PROBES {
            let theirs = analyze(client, alias, name, probe).await?;
            if let Some(difference) = difference(analyzer, probe, &theirs) {
                let message = format!("OpenSearch analyses text of this field in another way than we do: {difference}");
                return Err(mapping::mismatch(message).with_key(field));
            }
        }
    }
    Ok(())
}

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
