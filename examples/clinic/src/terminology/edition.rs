use std::collections::HashSet;
use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::query::exact_key;
use super::{Concept, bare_code, everyday};

/// A release of ICD-10-CM that is built in. See `examples/data/README.md` for where the rows come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Edition {
    #[default]
    #[serde(rename = "2025-04")]
    April2025,
    #[serde(rename = "2026-04")]
    April2026,
}

impl Edition {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::April2025 => "2025-04",
            Self::April2026 => "2026-04",
        }
    }

    /// The name of its index. The number is that of the shape of [`Concept`] and of its everyday names: replicas of two
    /// versions of this program have an index each.
    pub(crate) fn index_name(self) -> String {
        format!("icd10cm-{}-v4", self.name())
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::April2025, Self::April2026].into_iter().find(|edition| edition.name() == name)
    }

    /// How many concepts it has.
    pub(crate) const fn len(self) -> u64 {
        match self {
            Self::April2025 => 46_498,
            Self::April2026 => 46_881,
        }
    }

    const fn rows(self) -> &'static [u8] {
        match self {
            Self::April2025 => include_bytes!("../../../data/icd10cm-2025-04.tsv.gz"),
            Self::April2026 => include_bytes!("../../../data/icd10cm-2026-04.tsv.gz"),
        }
    }

    /// The concepts, in the order of their codes.
    pub(crate) fn concepts(self) -> impl Iterator<Item = Concept> {
        // A section of one category has its name.
        let parent = |line: String| {
            let (code, rest) = line.split_once('\t')?;
            rest.split('\t').next().filter(|parent| *parent != code).map(str::to_owned)
        };
        let parents: HashSet<_> = self.lines().filter_map(parent).collect();
        self.lines().map(move |line| {
            let mut concept = parse(&line).expect("the rows are built in, and a test reads all of them");
            concept.billable = !parents.contains(&concept.code);
            concept
        })
    }

    fn lines(self) -> impl Iterator<Item = String> {
        let lines = BufReader::new(GzDecoder::new(self.rows())).lines();
        lines.map(|line| line.expect("the rows are built in, and a test reads all of them"))
    }
}

/// `code <tab> parent <tab> chapter <tab> title <tab> inclusion terms separated by |`
fn parse(line: &str) -> Option<Concept> {
    let mut columns = line.split('\t');
    let (code, _parent, chapter, title) = (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
    let terms: Vec<_> = columns.next()?.split('|').filter(|term| !term.is_empty()).map(str::to_owned).collect();
    let names = std::iter::once(title).chain(terms.iter().map(String::as_str)).map(exact_key);
    Some(Concept {
        code: code.to_owned(),
        bare_code: bare_code(code),
        title: title.to_owned(),
        names: names.collect(),
        unspecified: is_unspecified(title, &terms),
        terms,
        everyday: everyday::has_names(code).then(|| bare_code(code)),
        billable: true,
        chapter: chapter.to_owned(),
    })
}

/// ICD-10-CM says so in the title, or by a term that is "not otherwise specified".
fn is_unspecified(title: &str, terms: &[String]) -> bool {
    let title = title.to_lowercase();
    title.contains("unspecified")
        || title.contains("without complication")
        || terms.iter().any(|term| term.ends_with(" NOS"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminology::chapters;

    #[test]
    fn both_editions_are_read_whole() {
        let numbers: Vec<_> = chapters().map(|(number, _)| number).collect();
        for edition in [Edition::April2025, Edition::April2026] {
            let mut count = 0;
            for concept in edition.concepts() {
                assert!(!concept.code.is_empty() && !concept.title.is_empty(), "{concept:?}");
                assert!(numbers.contains(&concept.chapter), "{concept:?}");
                count += 1;
            }
            assert_eq!(count, edition.len());
        }
    }

    #[test]
    fn a_row_has_five_columns() {
        let concept = parse("A00.0\tA00\t1\tCholera due to Vibrio cholerae 01\tClassical cholera|Cholera").unwrap();
        assert_eq!((concept.code.as_str(), concept.chapter.as_str()), ("A00.0", "1"));
        assert_eq!(concept.terms, ["Classical cholera", "Cholera"]);
        assert_eq!(parse("A00\tA00-A09\t1\tCholera"), None);
    }
}
