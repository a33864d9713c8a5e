//! Queries of every kind, drawn from the words of the corpus.

use statehouse_search::{
    Facet, FieldBoost, Fuzziness, Highlight, Histogram, MinimumMatch, Operator, Projection, Query, RangeFacet,
    SearchRequest, Sort, Synonyms, Value,
};

use super::corpus::{Diagnosis, EXTREMES as NUMBERS, schema};
use super::trees::tree;
use crate::random::Random;

/// Makes one request.
pub(super) type Kind = fn(&mut Random, &Words) -> SearchRequest;

/// What queries are drawn from.
#[derive(Debug)]
pub(super) struct Words {
    titles: Vec<String>,
    codes: Vec<String>,
}

impl Words {
    pub(super) fn of(diagnoses: &[Diagnosis]) -> Self {
        let titles = diagnoses.iter().flat_map(|row| std::iter::once(&row.title).chain(&row.terms)).cloned();
        Self { titles: titles.collect(), codes: diagnoses.iter().map(|row| row.code.clone()).collect() }
    }

    pub(super) fn title(&self, random: &mut Random) -> &str {
        &self.titles[random.below(self.titles.len())]
    }

    pub(super) fn code(&self, random: &mut Random) -> &str {
        &self.codes[random.below(self.codes.len())]
    }

    /// A word of at least so many letters: rare and frequent ones as they come.
    pub(super) fn word(&self, random: &mut Random, least: usize) -> String {
        loop {
            let title = self.title(random);
            let words: Vec<_> =
                title.split(|c: char| !c.is_alphanumeric()).filter(|w| w.chars().count() >= least).collect();
            if !words.is_empty() {
                return words[random.below(words.len())].to_owned();
            }
        }
    }

    /// Some words from anywhere.
    pub(super) fn words(&self, random: &mut Random, count: usize) -> String {
        (0..count).map(|_| self.word(random, 3)).collect::<Vec<_>>().join(" ")
    }

    /// Words that stand one behind the other in some title.
    pub(super) fn run(&self, random: &mut Random, count: usize) -> String {
        loop {
            let words: Vec<_> = self.title(random).split_whitespace().collect();
            if words.len() >= count {
                let from = random.below(words.len() - count + 1);
                return words[from..from + count].join(" ");
            }
        }
    }
}

/// A word with one letter removed, doubled, replaced or swapped with the next.
pub(super) fn misspelt(word: &str, random: &mut Random) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let at = random.below(letters.len() - 1);
    match random.below(4) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 => letters[at] = char::from(b'a' + u8::try_from(random.below(26)).unwrap()),
        _ => letters.swap(at, at + 1),
    }
    letters.into_iter().collect()
}

pub(super) fn beginning(word: &str, random: &mut Random, least: usize) -> String {
    let letters = word.chars().count();
    word.chars().take(least + random.below(letters.saturating_sub(least) + 1)).collect()
}

/// A text with some of its letters behind a sign.
fn pattern(text: &str, random: &mut Random) -> String {
    let letters = text.chars().map(|c| match random.below(4) {
        0 => "?".to_owned(),
        1 => "*".to_owned(),
        _ => c.to_string(),
    });
    letters.collect()
}

pub(super) fn marked(query: impl Into<Query>) -> SearchRequest {
    let short = Highlight::field("terms").with_fragment_size(40).with_max_fragments(2);
    let request = SearchRequest::new(query).with_size(100);
    request.with_highlight(Highlight::field("title")).with_highlight(short)
}

/// Without the documents, which are compared where something is marked in them.
pub(super) fn found(query: impl Into<Query>) -> SearchRequest {
    SearchRequest::new(query).with_size(100).with_projection(Projection::Id)
}

fn fields(random: &mut Random) -> [FieldBoost; 3] {
    let boost = [0.5, 1.0, 2.0, 3.5][random.below(4)];
    [FieldBoost::new("title", boost), FieldBoost::new("title.plain", 1.0), FieldBoost::new("terms", 1.5)]
}

pub(super) fn number(random: &mut Random, from: i64, to: i64) -> i64 {
    from + i64::try_from(random.below(usize::try_from(to - from).unwrap())).unwrap()
}

pub(super) const KINDS: &[(&str, Kind)] = &[
    ("match", |r, w| {
        let n = 1 + r.below(4);
        marked(Query::matches("title", w.words(r, n)))
    }),
    ("match in a sparse field", |r, w| marked(Query::matches("terms", w.words(r, 2)))),
    ("match a whole title", |r, w| found(Query::matches("title", w.title(r)))),
    ("match, and", |r, w| {
        let n = 1 + r.below(3);
        marked(Query::matches("title", w.run(r, n)).operator(Operator::And))
    }),
    ("match, minimum count", |r, w| {
        let (count, words) = (number(r, -3, 5), w.words(r, 4));
        found(Query::matches("title", words).minimum_match(MinimumMatch::Count(i32::try_from(count).unwrap())))
    }),
    ("match, minimum share", |r, w| {
        let (share, words) = (number(r, -100, 101), w.words(r, 5));
        found(Query::matches("title", words).minimum_match(MinimumMatch::Percent(i32::try_from(share).unwrap())))
    }),
    ("match, fuzzy", |r, w| {
        let word = w.word(r, 5);
        let text = format!("{} {}", misspelt(&word, r), w.word(r, 3));
        marked(Query::matches("title.plain", text).fuzzy())
    }),
    ("match, fuzzy on stems, and", |r, w| {
        let word = w.word(r, 6);
        found(Query::matches("title", misspelt(&word, r)).fuzzy().operator(Operator::And).boost(1.7))
    }),
    ("match, fuzzy behind a prefix", |r, w| {
        let word = w.word(r, 6);
        let fuzzy = Query::matches("title.plain", misspelt(&word, r)).fuzziness(Fuzziness::Edits(1));
        marked(fuzzy.prefix_length(2))
    }),
    ("multi-match, best field", |r, w| {
        let n = 1 + r.below(3);
        found(Query::multi_match(fields(r), w.words(r, n)))
    }),
    ("multi-match, shared", |r, w| found(Query::multi_match(fields(r), w.words(r, 3)).tie_breaker(0.3).boost(2.0))),
    ("multi-match, most fields", |r, w| found(Query::multi_match(fields(r), w.words(r, 3)).most_fields())),
    ("multi-match, and, fuzzy", |r, w| {
        let (fields, word) = (fields(r), w.word(r, 5));
        found(Query::multi_match(fields, misspelt(&word, r)).fuzzy().operator(Operator::And))
    }),
    ("phrase", |r, w| {
        let n = 2 + r.below(2);
        marked(Query::phrase("title", w.run(r, n)))
    }),
    ("phrase of unstemmed words", |r, w| {
        let n = 2 + r.below(4);
        found(Query::phrase("title.plain", w.run(r, n)))
    }),
    ("phrase, slop", |r, w| {
        let (slop, count) = (u32::try_from(1 + r.below(6)).unwrap(), 2 + r.below(3));
        let mut words: Vec<_> = w.run(r, count).split(' ').map(str::to_owned).collect();
        let (a, b) = (r.below(count), r.below(count));
        words.swap(a, b);
        marked(Query::phrase("title.plain", words.join(" ")).slop(slop))
    }),
    ("phrase, slop, repeated words", |r, w| {
        let run = w.run(r, 2);
        let (first, second) = run.split_once(' ').unwrap();
        found(
            Query::phrase("title.plain", format!("{first} {second} {first}"))
                .slop(u32::try_from(2 + r.below(6)).unwrap()),
        )
    }),
    ("phrase over several values", |r, w| {
        found(Query::phrase("terms", w.run(r, 2)).slop(u32::try_from(r.below(120)).unwrap()))
    }),
    ("prefix", |r, w| {
        let word = w.word(r, 3);
        marked(Query::prefix("title.plain", beginning(&word, r, 1)))
    }),
    ("prefix of a keyword", |r, w| {
        let code = w.code(r).to_owned();
        found(Query::prefix("code", beginning(&code, r, 1)).boost(2.5))
    }),
    ("match prefix", |r, w| {
        let (run, last) = (w.run(r, 2), w.word(r, 4));
        let end = ["", " ", ".", " of"][r.below(4)];
        marked(Query::matches_prefix("title", format!("{run} {}{end}", beginning(&last, r, 2))))
    }),
    ("match prefix, and", |r, w| {
        let run = w.run(r, 2);
        found(Query::matches_prefix("title.plain", beginning(&run, r, 3)).operator(Operator::And))
    }),
    ("starts with words", |r, w| {
        let run = w.run(r, 3);
        let words: Vec<_> = run.split(' ').map(|word| beginning(word, r, 2)).collect();
        marked(Query::starts_with_words("title.plain", words.join(" ")))
    }),
    ("exact first", |r, w| {
        let word = w.word(r, 5);
        let text = match r.below(4) {
            0 => misspelt(&word, r),
            1 => beginning(&word, r, 3),
            2 => format!("{} {word}", w.word(r, 4)),
            _ => format!("{} {}", misspelt(&word, r), w.words(r, 2)),
        };
        let query = Query::exact_first(["title", "title.plain"][r.below(2)], text);
        marked(if r.below(2) == 0 { query } else { query.operator(Operator::And).boost(0.5) })
    }),
    ("wildcard on text", |r, w| {
        let word = w.word(r, 4);
        marked(Query::wildcard(["title", "title.plain", "terms"][r.below(3)], pattern(&word, r)))
    }),
    ("wildcard on a keyword", |r, w| {
        let code = pattern(w.code(r), r);
        let query = Query::bool().must(Query::wildcard("code", code).boost(0.7));
        found(query.should(Query::matches("title", w.words(r, 2))))
    }),
    ("simple query string", |r, w| {
        let (word, other, run) = (w.word(r, 5), w.word(r, 4), w.run(r, 2));
        let text = match r.below(6) {
            0 => format!("{} {}", w.words(r, 2), other),
            1 => format!("{run} -{other}"),
            2 => format!("+{other} \"{run}\"~2 {word}"),
            3 => format!("{} {other}|{word}", misspelt(&word, r) + "~"),
            4 => format!("chapter:{} {}* OR {other}", 1 + r.below(22), beginning(&word, r, 3)),
            _ => format!("{run} \"{other} ~ nothing:{word}"),
        };
        let options = Query::simple_query_string(fields(r)).field("chapter");
        let options = if r.below(2) == 0 { options.operator(Operator::And) } else { options };
        marked(options.parse(&schema(), &text).unwrap())
    }),
    ("match beginnings made at index time", |r, w| {
        let word = w.word(r, 4);
        found(Query::matches("title.start", beginning(&word, r, 2)))
    }),
    ("fuzzy, automatic", |r, w| {
        let word = w.word(r, 4);
        marked(Query::fuzzy("title.plain", misspelt(&word, r)))
    }),
    ("fuzzy, one edit", |r, w| {
        let word = w.word(r, 4);
        found(Query::fuzzy("title.plain", misspelt(&word, r)).fuzziness(Fuzziness::Edits(1)))
    }),
    ("fuzzy, two edits, expanded far", |r, w| {
        let word = w.word(r, 4);
        found(Query::fuzzy("title.plain", beginning(&word, r, 4)).fuzziness(Fuzziness::Edits(2)))
    }),
    ("term of text", |r, w| marked(Query::term("title.plain", w.word(r, 2)).boost(0.3))),
    ("term of a keyword", |r, w| found(Query::term("code", w.code(r).to_uppercase()))),
    ("terms", |r, w| {
        let n = 1 + r.below(30);
        found(Query::terms("code", (0..n).map(|_| w.code(r)).collect::<Vec<_>>()))
    }),
    ("terms of numbers", |r, _| {
        found(Query::terms("balance", (0..5).map(|_| number(r, -600, 600)).collect::<Vec<_>>()))
    }),
    ("term of a date before 1970", |r, _| found(Query::term("since", Value::Date(number(r, -501, 0) * 86_400_000)))),
    ("term of a bool", |r, w| {
        found(Query::bool().must(Query::term("leaf", r.below(2) == 0)).should(Query::matches("title", w.word(r, 4))))
    }),
    ("range of signed numbers", |r, _| {
        let from = number(r, -500, 400);
        found(Query::range("balance").at_least(from).below(from + 90))
    }),
    ("range of unsigned numbers", |r, _| {
        let from = r.below(40) as u64;
        found(Query::range("length").above(from).at_most(from + 5))
    }),
    ("range of fractions", |r, _| {
        let from = number(r, -60, 50);
        found(Query::range("share").above(from as f64 / 3.0).below(from as f64))
    }),
    ("range of dates", |r, _| {
        let day = number(r, -500, 500);
        found(Query::range("since").at_most(Value::Date(day * 86_400_000)))
    }),
    ("range of keywords", |r, w| {
        let (a, b) = (w.code(r).to_owned(), w.code(r).to_owned());
        found(Query::range("code").at_least(a.clone().min(b.clone())).below(a.max(b)))
    }),
    ("exists", |r, _| found(Query::exists(["terms", "length", "since", "title.start", "share"][r.below(5)]))),
    ("ids", |r, w| found(Query::ids((0..20).map(|_| w.code(r).to_owned()).chain(["nowhere".to_owned()])))),
    ("bool", |r, w| {
        let (must, should) = (w.word(r, 4), w.words(r, 2));
        let (without, chapter) = (w.word(r, 4), (1 + r.below(22)).to_string());
        let query =
            Query::bool().must(Query::matches("title", must)).should(Query::matches("terms", should).boost(2.0));
        marked(query.must_not(Query::matches("title", without)).should(Query::term("chapter", chapter)))
    }),
    ("bool, minimum", |r, w| {
        let minimum = MinimumMatch::Count(i32::try_from(1 + r.below(3)).unwrap());
        let query = (0..4).fold(Query::bool(), |query, _| query.should(Query::matches("title", w.word(r, 4))));
        found(query.minimum_match(minimum))
    }),
    ("bool of equal clauses", |r, w| {
        let word = w.word(r, 4);
        let query =
            Query::bool().should(Query::matches("title", &*word)).should(Query::matches("title", word).boost(0.7));
        found(query.should(Query::matches("title.plain", w.words(r, 2))))
    }),
    ("dis-max", |r, w| {
        let queries =
            [Query::matches("title", w.words(r, 2)).into(), Query::phrase("title", w.run(r, 2)).boost(3.0).into()];
        found(Query::dis_max::<Query>(queries).tie_breaker(0.25))
    }),
    ("constants among scores", |r, w| {
        let query = Query::bool().must(Query::matches("title", w.words(r, 2)));
        found(
            query
                .should(Query::constant(Query::matches("title", w.word(r, 4))).boost(3.0))
                .should(Query::prefix("code", "S")),
        )
    }),
    ("filters", |r, w| {
        let query = found(Query::matches("title", w.words(r, 2))).with_filter(Query::range("length").at_least(20_u64));
        query.with_filter(Query::term("leaf", true))
    }),
    ("sort by a number", |r, w| {
        let sort = Sort::by(["length", "balance", "share", "since"][r.below(4)]);
        let sort = if r.below(2) == 0 { sort.descending() } else { sort };
        let sort = if r.below(2) == 0 { sort.missing_first() } else { sort };
        found(Query::matches("title", w.words(r, 2))).with_sort(sort)
    }),
    ("sort by several keys", |r, w| {
        let request = found(Query::matches("title", w.words(r, 1))).with_sort(Sort::by("chapter").descending());
        request.with_sort(Sort::by("leaf")).with_sort(Sort::by_score()).with_sort(Sort::by("parent"))
    }),
    ("facets", |r, w| {
        let counted = |field, values| Facet::field(field).with_size(values);
        let request = found(Query::matches("title", w.words(r, 2))).with_facet(counted("chapter", 1 + r.below(25)));
        let request = request.with_facet(counted("parent", 1 + r.below(100)));
        if r.below(2) == 0 { request.with_filter(Query::term("leaf", true)) } else { request.with_size(0) }
    }),
    ("facets of numbers", |r, w| {
        let field = ["length", "weight", "balance", "share", "since", "leaf"][r.below(6)];
        let request = found(Query::matches("title", w.words(r, 2)));
        request.with_facet(Facet::field(field).with_size(1 + r.below(200))).with_facet(Facet::field("leaf"))
    }),
    ("ranges of numbers", |r, w| {
        let request = found(Query::matches("title", w.words(r, 2))).with_size(r.below(2) as u64);
        let (a, b) = (NUMBERS[r.below(NUMBERS.len())], NUMBERS[r.below(NUMBERS.len())]);
        let weights = RangeFacet::field("weight").below(a).between(a.min(b), a.max(b)).at_least(b);
        let (a, b) = (r.below(120) as f64 / 8.0 - 62.5, r.below(120) as f64 / 8.0);
        let shares = RangeFacet::field("share").between(a, b).below(b).at_least(a).between(b, b);
        let day = |days: i64| Value::Date(days * 86_400_000);
        let since = RangeFacet::field("since").below(day(0)).between(day(-100), day(r.below(500) as i64));
        request.with_ranges(weights).with_ranges(shares).with_ranges(since)
    }),
    ("histograms", |r, w| {
        let request = found(Query::matches("title", w.words(r, 2))).with_size(r.below(2) as u64);
        let width = [1.0, 0.3, 7.5, 100.0][r.below(4)];
        let shares = Histogram::every("share", width).with_offset(r.below(100) as f64 / 7.0);
        let since = match r.below(5) {
            0 => Histogram::weeks("since"),
            1 => Histogram::months("since"),
            2 => Histogram::years("since"),
            3 => Histogram::every_days("since", 10),
            _ => Histogram::every_millis("since", 100_000_007).with_offset_millis(-99),
        };
        let balance = Histogram::every("balance", 1.0 + r.below(40) as f64);
        let request = request.with_histogram(balance.with_empty()).with_histogram(shares);
        request.with_histogram(if r.below(2) == 0 { since.with_empty() } else { since })
    }),
    ("sums of numbers", |r, w| {
        let request = found(Query::matches("title", w.words(r, 2)));
        request.with_stats("balance").with_stats("share").with_stats("since")
    }),
    ("hits that are filtered behind what is counted", |r, w| {
        let request = found(Query::matches("title", w.words(r, 2))).with_facet(Facet::field("leaf"));
        let request =
            request.with_facet(Facet::field("chapter")).with_post_filter(Query::term("leaf", r.below(2) == 0));
        let request = request.with_post_filter(Query::range("length").at_least(r.below(30) as u64));
        match r.below(3) {
            0 => request.with_sort(Sort::by("balance")),
            1 => request.with_from(r.below(20) as u64),
            _ => request,
        }
    }),
    ("synonyms", |r, w| {
        let words: Vec<_> = (0..6).map(|_| w.word(r, 5)).collect();
        let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|at| words[at].as_str());
        let rules = format!("{a}, {b} of {c}, {d}\n{e} => {f}, {b}\n{a} {e} => {c}, {a} {e}");
        let synonyms = Synonyms::parse(&schema(), "title", &rules).unwrap();
        let synonyms = if r.below(2) == 0 { synonyms.with_weight(0.3).unwrap() } else { synonyms };
        let operator = if r.below(3) == 0 { Operator::And } else { Operator::Or };
        let text = [a, e, d, f].iter().take(1 + r.below(4)).copied().collect::<Vec<_>>().join(" ");
        found(synonyms.matches(&text, operator).unwrap())
    }),
    ("one hit of each group", |r, w| {
        let request = found(Query::matches("title", w.words(r, 2)));
        let request = request.with_collapse(["chapter", "parent", "length", "weight", "balance", "share"][r.below(6)]);
        let sort = Sort::by(["length", "balance", "share", "since", "parent"][r.below(5)]);
        match r.below(5) {
            0 => request.with_sort(sort).with_facet(Facet::field("chapter")),
            1 => request.with_sort(sort.descending()).with_sort(Sort::by_score()),
            2 => request.with_from(r.below(40) as u64).with_post_filter(Query::term("leaf", true)),
            3 => request.with_filter(Query::range("length").at_least(r.below(30) as u64)),
            _ => request,
        }
    }),
    ("pages", |r, w| {
        let from = r.below(400) as u64;
        found(Query::matches("title", w.words(r, 3))).with_from(from).with_size(1 + r.below(60) as u64)
    }),
    ("everything, late pages", |r, _| SearchRequest::new(Query::all()).with_from(9_000 + r.below(900) as u64)),
];

/// Trees, options at their extremes, and what takes long.
pub(super) const EXTREMES: &[(&str, Kind)] = &[
    ("nested trees", |r, w| {
        let depth = 1 + r.below(4);
        found(tree(r, w, depth))
    }),
    ("nested trees, filtered and sorted", |r, w| {
        let request = found(tree(r, w, 2)).with_filter(tree(r, w, 2));
        let sort = Sort::by(["length", "weight", "balance", "share", "since", "leaf", "code"][r.below(7)]);
        let sort = if r.below(2) == 0 { sort.descending() } else { sort };
        request.with_sort(if r.below(2) == 0 { sort.missing_first() } else { sort })
    }),
    ("fuzzy words with terms in common", |r, w| {
        let word = w.word(r, 6);
        let text = format!("{} {} {}", misspelt(&word, r), misspelt(&word, r), w.word(r, 3));
        let count = MinimumMatch::Count(i32::try_from(r.below(3)).unwrap());
        found(Query::matches("title.plain", text).fuzzy().minimum_match(count))
    }),
    ("fuzzy words in several fields", |r, w| {
        let word = w.word(r, 6);
        let text = format!("{} {}", misspelt(&word, r), misspelt(&word, r));
        let query = Query::multi_match(fields(r), text).fuzzy();
        found(if r.below(2) == 0 { query.most_fields() } else { query.tie_breaker(0.4) })
    }),
    ("more fuzzy words than may have fifty", |r, w| found(Query::matches("title.plain", w.words(r, 30)).fuzzy())),
    ("ranges with bounds at the ends", |r, _| {
        let range = Query::range("balance");
        found(match r.below(6) {
            0 => range.at_least(i64::MIN).at_most(i64::MAX),
            1 => range.above(i64::MIN).below(i64::MAX),
            2 => range.above(i64::MAX),
            3 => range.below(i64::MIN),
            4 => range.at_least(number(r, -500, 500)).at_most(i64::MAX),
            _ => range.at_least(500_i64).at_most(-500_i64),
        })
    }),
    ("ranges of unsigned numbers at the ends", |r, _| {
        let number = |r: &mut Random| NUMBERS[r.below(NUMBERS.len())];
        let (a, b, range) = (number(r), number(r), Query::range("weight"));
        let request = found(match r.below(6) {
            0 => range.at_least(a),
            1 => range.above(a),
            2 => range.at_most(a),
            3 => range.below(a),
            4 => range.at_least(a.min(b)).at_most(a.max(b)),
            _ => range.above(a.max(b)).below(a.min(b)),
        });
        request.with_sort(if r.below(2) == 0 { Sort::by("weight") } else { Sort::by("weight").descending() })
    }),
    ("terms of unsigned numbers at the ends", |r, w| {
        let number = NUMBERS[r.below(NUMBERS.len())];
        found(Query::bool().must(Query::term("weight", number)).should(Query::matches("title", w.word(r, 4))))
    }),
    ("phrases with the largest slop", |r, w| {
        let slop = [1_000, i32::MAX.unsigned_abs()][r.below(2)];
        found(Query::phrase("title.plain", w.run(r, 2)).slop(slop))
    }),
    ("prefix lengths beyond the word", |r, w| {
        let length = [5, 100, i32::MAX.unsigned_abs()][r.below(3)];
        let word = w.word(r, 6);
        found(Query::matches("title.plain", misspelt(&word, r)).fuzzy().prefix_length(length))
    }),
];
