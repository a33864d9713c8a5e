//! What is run for words of which the exact ones are to be first.

use std::sync::Arc;

use statehouse_core::Result;

use super::exact_first::ExactFirstQuery;
use super::text::{Operator, PrefixWords};
use super::tree::{BoolQuery, Query};
use crate::Schema;
use crate::limits::{MAX_EXACT_WORDS, at_most};

/// More than what a word can score by BM25, whatever the index holds: below the logarithm of how many documents there are,
/// which is 22 for the most that an index can have, and 28 for a thousand of those.
const TIER: f32 = 32.0;

/// What the beginning of a word scores, and what a misspelt one does.
const COMPLETED: f32 = 1.0;
const MISSPELT: f32 = 0.5;

impl ExactFirstQuery {
    /// The queries that it stands for, which are what every backend runs.
    ///
    /// # Errors
    /// `Unsupported` if it is not a text field, `InvalidInput` for too many words.
    pub(crate) fn expanded(&self, schema: &Schema) -> Result<Query> {
        let tokens = schema.search_tokens(schema.require(&self.field)?, &self.text)?;
        at_most("words that are to be first where they are exact", tokens.len(), MAX_EXACT_WORDS)?;
        #[expect(clippy::cast_precision_loss, reason = "there are not so many words")]
        let tier = TIER * tokens.len() as f32;
        let last = tokens.len().saturating_sub(1);
        let words = tokens.iter().enumerate().map(|(at, token)| {
            let is_open = match self.completions {
                Some(PrefixWords::All) => true,
                Some(PrefixWords::Last) => at == last && token.end == self.text.len(),
                None => false,
            };
            self.word(&self.text[token.start..token.end], tier, is_open)
        });
        let all = Query::bool().boost(self.boost);
        let all = words.fold(all, |all: BoolQuery, word| match self.operator {
            Operator::Or => all.should(word),
            Operator::And => all.must(word),
        });
        // A bool query without a clause finds everything.
        Ok(if tokens.is_empty() { Query::None } else { all.into() })
    }

    fn word(&self, word: &str, tier: f32, is_open: bool) -> Query {
        let exact = || Query::matches(Arc::clone(&self.field), word).operator(Operator::And);
        let mut ways: Vec<Query> = vec![Query::bool().must(Query::constant(exact()).boost(tier)).must(exact()).into()];
        if is_open {
            ways.push(
                Query::matches_prefix(Arc::clone(&self.field), word).operator(Operator::And).boost(COMPLETED).into(),
            );
        }
        if let Some(fuzziness) = self.fuzziness {
            let similar = exact().fuzziness(fuzziness).prefix_length(self.prefix_length);
            ways.push(Query::constant(similar).boost(MISSPELT).into());
        }
        Query::dis_max(ways).into()
    }
}
