//! Our analysis against the server's, on text that nobody would write.

use serde::Deserialize;
use serde_json::json;
use statehouse_search::analysis::{Analyzer, POSITION_GAP, Stemmer};
use statehouse_search::{Field, Schema};

use super::Scratch;
use crate::random::Random;

const SEED: u64 = 0x5eed_0f0d_d7e7_0001;
const LINES: usize = 20_000;
/// A request may have at most 10,000 tokens.
const BATCH: usize = 40;

#[derive(Deserialize)]
struct Answer {
    tokens: Vec<Theirs>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Theirs {
    token: String,
    position: u32,
    start_offset: usize,
    end_offset: usize,
}

/// Of words that stand between others in every second line: both ways, in place of a word, and what a stem makes the same of.
const RULES: &str =
    "running, runs, jogging\nadded => adds, appended, adding\ngenerously => the, generously, freely\n\u{130}, ss";

fn analyzers() -> [(&'static str, Analyzer); 6] {
    let stop = ["the", "of", "and", "а", "x"];
    [
        ("bare", Analyzer::standard()),
        ("full", Analyzer::standard().lowercase().ascii_folding().stop_words(stop).stem(Stemmer::Porter2)),
        (
            "worded",
            Analyzer::standard().lowercase().ascii_folding().synonyms(RULES).stop_words(stop).stem(Stemmer::Porter2),
        ),
        ("begun", Analyzer::standard().lowercase().synonyms(RULES).edge_ngram(1, 4)),
        ("start", Analyzer::standard().lowercase().edge_ngram(1, 6)),
        ("whole", Analyzer::whole().lowercase().ascii_folding()),
    ]
}

fn schema() -> Schema {
    let fields = analyzers().map(|(name, analyzer)| {
        let several = analyzer.makes_several_terms_of_a_word();
        let field = Field::text(name).analyzed_by(name);
        if several { field.searched_by(Analyzer::STANDARD).without_norms() } else { field }
    });
    let builder = analyzers().into_iter().fold(Schema::builder(), |builder, (name, it)| builder.analyzer(name, it));
    fields.into_iter().fold(builder, statehouse_search::SchemaBuilder::field).build().unwrap()
}

#[tokio::test]
async fn hostile_text_in_all_scripts_has_the_same_tokens_here_and_there() {
    let scratch = Scratch::new().await;
    drop(scratch.open(schema()).await.unwrap());
    let mut random = Random::new(SEED);
    let lines: Vec<String> = (0..LINES).map(|_| line(&mut random)).collect();
    for (name, analyzer) in analyzers() {
        let mut tokens = 0;
        let mut different = Vec::new();
        for batch in lines.chunks(BATCH) {
            let (ours, theirs) = (expected(&analyzer, batch), analyzed(&scratch, name, batch).await);
            tokens += theirs.len();
            if ours != theirs {
                let at = (0..ours.len()).find(|at| ours.get(*at) != theirs.get(*at)).unwrap_or(ours.len());
                different.push((ours.get(at).cloned(), theirs.get(at).cloned()));
            }
        }

        assert!(
            different.is_empty(),
            "{name}, seed {SEED:#x}: ours and theirs {:?}",
            &different[..different.len().min(20)]
        );
        assert!(tokens > LINES / 2);
    }
    scratch.delete().await;
}

async fn analyzed(scratch: &Scratch, analyzer: &str, lines: &[String]) -> Vec<Theirs> {
    let body = json!({ "analyzer": format!("statehouse_{analyzer}"), "text": lines }).to_string();
    let (status, answer) = scratch.request("POST", &format!("/{}/_analyze", scratch.name), &body).await;
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str::<Answer>(&answer).unwrap().tokens
}

/// Our tokens of several lines as the server counts them: as if they were the values of one field.
fn expected(analyzer: &Analyzer, lines: &[String]) -> Vec<Theirs> {
    let mut all = Vec::new();
    let (mut position, mut offset) = (0, 0);
    for line in lines {
        let unit = |bytes: usize| offset + line[..bytes].encode_utf16().count();
        all.extend(analyzer.tokens(line).into_iter().map(|token| Theirs {
            position: position + token.position,
            start_offset: unit(token.start),
            end_offset: unit(token.end),
            token: token.text,
        }));
        let bare = match analyzer.tokenizer() {
            statehouse_search::analysis::Tokenizer::Whole => Analyzer::whole(),
            _ => Analyzer::standard(),
        };
        position += u32::try_from(bare.tokens(line).len()).unwrap() + POSITION_GAP;
        offset += line.encode_utf16().count() + 1;
    }
    all
}

/// Ranges of code points that word rules, folding, lowercase and stemming treat in their own ways.
const RANGES: &[(u32, u32)] = &[
    (0x20, 0x7e),
    (0x20, 0x7e),
    (0x61, 0x7a),
    (0x61, 0x7a),
    (0x00, 0x1f),
    (0xa0, 0x17f),
    (0x180, 0x24f),
    (0x250, 0x36f),
    (0x370, 0x3ff),
    (0x400, 0x52f),
    (0x531, 0x58f),
    (0x591, 0x5f4),
    (0x600, 0x6ff),
    (0x900, 0x97f),
    (0xe00, 0xeff),
    (0x1000, 0x109f),
    (0x10a0, 0x10ff),
    (0x1100, 0x11ff),
    (0x1780, 0x17ff),
    (0x1e00, 0x1fff),
    (0x2000, 0x206f),
    (0x2070, 0x218f),
    (0x2190, 0x27bf),
    (0x2c60, 0x2c7f),
    (0x3000, 0x30ff),
    (0x3130, 0x33ff),
    (0x4e00, 0x4fff),
    (0xa640, 0xa7ff),
    (0xac00, 0xad00),
    (0xfb00, 0xfb4f),
    (0xfe00, 0xfe2f),
    (0xfeff, 0xffef),
    (0x1d400, 0x1d7ff),
    (0x1e900, 0x1e95f),
    (0x1f1e6, 0x1f1ff),
    (0x1f300, 0x1faff),
    (0x20000, 0x20100),
    (0xe0020, 0xe007f),
    (0xe0100, 0xe01ef),
    (0x80, 0x10ffff),
];

/// What stands between and inside words.
const JOINTS: &[&str] = &[
    " ",
    " ",
    " ",
    ".",
    ",",
    "'",
    "’",
    ":",
    "·",
    "_",
    "-",
    "/",
    "\"",
    "\u{200d}",
    "\u{200c}",
    "\u{ad}",
    "\u{fe0f}",
    "\u{20e3}",
    "\u{301}",
    "\u{feff}",
    "\u{2060}",
    "\n",
    "\t",
    "\u{a0}",
    "\u{3000}",
    "İ",
    "ß",
    "ﬁ",
    "ǅ",
    "the",
    "running",
    "added",
    "generously",
];

/// Endings that a stemmer looks at.
const ENDINGS: &[&str] =
    &["y", "ed", "ied", "ies", "s", "ing", "edly", "e", "l", "ees", "ational", "ment", "'s", "at", "ly"];

/// A short word whose letters are of the planes above, and its ending.
fn wide(random: &mut Random) -> String {
    let mut word = String::new();
    for _ in 0..1 + random.below(4) {
        match random.below(4) {
            0 => word.push(['a', 'e', 'y', 'n', 'l', 'b'][random.below(6)]),
            1 => word.push('é'),
            _ => word.extend(char::from_u32(0x1d4b3 + u32::try_from(random.below(12)).unwrap())),
        }
    }
    word + ENDINGS[random.below(ENDINGS.len())]
}

/// A line of runs from a few scripts, joined by what makes trouble; sometimes longer than any token may be.
fn line(random: &mut Random) -> String {
    let mut line = String::new();
    let runs = random.below(9);
    for _ in 0..runs {
        let (low, high) = RANGES[random.below(RANGES.len())];
        let length = if random.below(60) == 0 { 200 + random.below(400) } else { 1 + random.below(9) };
        for _ in 0..length {
            let code = low + u32::try_from(random.below((high - low + 1) as usize)).unwrap();
            line.extend(char::from_u32(code));
        }
        line.push_str(JOINTS[random.below(JOINTS.len())]);
        if random.below(4) == 0 {
            line.push_str(&wide(random));
        }
    }
    line
}
