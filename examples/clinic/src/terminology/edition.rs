use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::{Concept, bare_code};

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
        let lines = BufReader::new(GzDecoder::new(self.rows())).lines();
        lines.map(|line| {
            let line = line.expect("the rows are built in, and a test reads all of them");
            parse(&line).expect("the rows are built in, and a test reads all of them")
        })
    }
}

/// `code <tab> parent <tab> chapter <tab> title <tab> inclusion terms separated by |`
fn parse(line: &str) -> Option<Concept> {
    let mut columns = line.split('\t');
    let (code, _parent, chapter, title) = (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
    let terms = columns.next()?.split('|').filter(|term| !term.is_empty());
    Some(Concept {
        code: code.to_owned(),
        bare_code: bare_code(code),
        title: title.to_owned(),
        terms: terms.map(str::to_owned).collect(),
        chapter: chapter.to_owned(),
    })
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
