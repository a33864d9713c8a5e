//! A query as terms and sets: text analysed, similar terms and those that begin so looked up.

use std::ops::Bound;
use std::sync::Arc;

use statehouse_core::Result;
use tantivy::Term;
use tantivy::schema::Field as Slot;

use super::expand::{Similar, beginnings};
use super::function::Function;
use super::node::{BoolNode, FunctionNode, Node, Set, TermNode, boosted, combine, dis_max, prefix, simplify, term};
use super::snapshot::Snapshot;
use crate::analysis::Token;
use crate::size::TermCount;
use crate::wildcard::Pattern;
use crate::work::Stop;
use crate::{
    BoolQuery, Field, FieldKind, FunctionScoreQuery, Fuzziness, MatchPrefixQuery, MatchQuery, MultiMatchMode,
    MultiMatchQuery, Operator, PhrasePrefixQuery, PrefixWords, Query, Value,
};

/// The plan of a query over what a snapshot holds.
pub(super) fn plan(
    snapshot: &Snapshot,
    query: &Query,
    filters: &[Query],
    terms: TermCount,
    stop: &Stop,
) -> Result<Node> {
    let planner = Planner { snapshot, similar: terms.similar(), stop };
    let node = planner.node(query)?;
    if filters.is_empty() {
        return Ok(node);
    }
    let filter = planner.nodes(filters)?;
    Ok(simplify(BoolNode { must: vec![node], filter, ..BoolNode::default() }))
}

struct Planner<'a> {
    snapshot: &'a Snapshot,
    /// How many similar terms may stand for one.
    similar: usize,
    stop: &'a Stop,
}

impl Planner<'_> {
    fn nodes(&self, queries: &[Query]) -> Result<Vec<Node>> {
        queries.iter().map(|query| self.node(query)).collect()
    }

    fn node(&self, query: &Query) -> Result<Node> {
        let (node, boost) = match query {
            Query::None => return Ok(Node::Nothing),
            Query::All(q) => (Node::Everything, q.boost),
            Query::Match(q) => (self.matches(q)?, q.boost),
            Query::MultiMatch(q) => (self.multi_match(q)?, q.boost),
            Query::MatchPrefix(q) => (self.match_prefix(q)?, q.boost),
            Query::Phrase(q) => (self.phrase(&q.field, &q.text, q.slop)?, q.boost),
            Query::PhrasePrefix(q) => (self.phrase_prefix(q)?, q.boost),
            Query::Prefix(q) => {
                let (field, _, slot) = self.field(&q.field)?;
                (prefix(slot, self.schema().normalized(field, &q.text)), q.boost)
            }
            Query::ExactFirst(q) => return self.node(&q.expanded(self.schema())?),
            Query::Wildcard(q) => {
                let (field, _, slot) = self.field(&q.field)?;
                let pattern = Pattern::of(self.schema(), field, &q.pattern)?;
                (Node::Set(Set::Wildcard { slot, pattern }), q.boost)
            }
            Query::Fuzzy(q) => {
                let (field, place, _) = self.field(&q.field)?;
                let text = self.schema().normalized(field, &q.text);
                (self.fuzzy(place, &text, q.fuzziness, q.prefix_length)?, q.boost)
            }
            Query::Term(q) => (self.term(&q.field, &q.value)?, q.boost),
            Query::Terms(q) => (self.terms(&q.field, &q.values)?, q.boost),
            Query::Range(q) => {
                let (field, place, slot) = self.field(&q.field)?;
                let bound = |bound: &Bound<Value>| bound.as_ref().map(|value| self.bytes(field, slot, value));
                let (lower, upper) = (bound(&q.lower), bound(&q.upper));
                let node = if has_column(field) {
                    between(place, &lower, &upper)
                } else {
                    Node::Set(Set::Range { slot, lower, upper })
                };
                (node, q.boost)
            }
            Query::Exists(q) => (Node::Set(Set::Exists { place: self.field(&q.field)?.1 }), q.boost),
            Query::Ids(q) => {
                let terms = q.ids.iter().map(|id| id.as_bytes().to_vec()).collect();
                (Node::Set(Set::Terms { slot: self.snapshot.mapping.id, terms }), q.boost)
            }
            Query::Bool(q) => (self.bool(q)?, q.boost),
            Query::DisMax(q) => (dis_max(self.nodes(&q.queries)?, q.tie_breaker), q.boost),
            Query::Constant(q) => (Node::Constant(Box::new(self.node(&q.query)?)), q.boost),
            Query::FunctionScore(q) => (self.function_score(q)?, q.boost),
        };
        Ok(boosted(node, boost))
    }

    fn schema(&self) -> &crate::Schema {
        &self.snapshot.mapping.schema
    }

    fn field(&self, name: &Arc<str>) -> Result<(&Field, usize, Slot)> {
        let (place, slot) = self.snapshot.mapping.slot(name)?;
        Ok((&self.schema().fields()[place], place, slot))
    }

    fn matches(&self, query: &MatchQuery) -> Result<Node> {
        let (field, place, slot) = self.field(&query.field)?;
        if !field.is_text() {
            let text = self.schema().normalized(field, &query.text);
            return Ok(Node::Set(Set::Terms { slot, terms: vec![text.into_bytes()] }));
        }
        let clauses = self.schema().search_tokens(field, &query.text)?.into_iter().map(|token| match query.fuzziness {
            Some(fuzziness) => self.fuzzy(place, &token.text, fuzziness, query.prefix_length),
            None => Ok(term(place, token.text)),
        });
        Ok(combine(clauses.collect::<Result<_>>()?, query.operator, query.minimum_match))
    }

    fn multi_match(&self, query: &MultiMatchQuery) -> Result<Node> {
        let nodes = query.fields.iter().map(|field| {
            let inner = MatchQuery {
                field: Arc::clone(&field.field),
                text: query.text.clone(),
                operator: query.operator,
                minimum_match: query.minimum_match,
                fuzziness: query.fuzziness,
                prefix_length: query.prefix_length,
                boost: 1.0,
            };
            Ok(boosted(self.matches(&inner)?, field.boost))
        });
        let tie_breaker = match query.mode {
            MultiMatchMode::BestFields => query.tie_breaker,
            MultiMatchMode::MostFields => 1.0,
        };
        Ok(dis_max(nodes.collect::<Result<_>>()?, tie_breaker))
    }

    fn match_prefix(&self, query: &MatchPrefixQuery) -> Result<Node> {
        let (field, place, slot) = self.field(&query.field)?;
        let tokens = self.schema().search_tokens(field, &query.text)?;
        let last = tokens.len().saturating_sub(1);
        let open = |at: usize, token: &Token| match query.words {
            PrefixWords::All => true,
            PrefixWords::Last => at == last && token.end == query.text.len(),
        };
        let clauses = tokens
            .into_iter()
            .enumerate()
            .map(|(at, token)| if open(at, &token) { prefix(slot, token.text) } else { term(place, token.text) });
        Ok(combine(clauses.collect(), query.operator, query.minimum_match))
    }

    fn phrase(&self, name: &Arc<str>, text: &str, slop: u32) -> Result<Node> {
        let (field, place, _) = self.field(name)?;
        let mut tokens = self.schema().search_tokens(field, text)?;
        Ok(match tokens.len() {
            0 => Node::Nothing,
            1 => term(place, tokens.remove(0).text),
            _ => {
                let first = tokens[0].position;
                let terms = tokens.into_iter().map(|token| (token.position - first, token.text)).collect();
                Node::Phrase { place, terms, slop }
            }
        })
    }

    fn phrase_prefix(&self, query: &PhrasePrefixQuery) -> Result<Node> {
        let (field, place, _) = self.field(&query.field)?;
        let mut tokens = self.schema().search_tokens(field, &query.text)?;
        let Some(last) = tokens.pop() else { return Ok(Node::Nothing) };
        let begun = beginnings(self.snapshot, place, &last.text, query.max_expansions as usize, self.stop)?;
        Ok(match (begun.is_empty(), tokens.is_empty()) {
            (true, _) => Node::Nothing,
            (_, true) => combine(begun.into_iter().map(|text| term(place, text)).collect(), Operator::Or, None),
            _ => {
                let whole = tokens.into_iter().map(|token| (token.position, vec![token.text]));
                let terms = whole.chain([(last.position, begun)]).collect();
                Node::PhrasePrefix { place, terms, slop: query.slop }
            }
        })
    }

    fn fuzzy(&self, place: usize, text: &str, fuzziness: Fuzziness, prefix_length: u32) -> Result<Node> {
        let edits = fuzziness.edits(text.chars().count());
        if edits == 0 {
            return Ok(term(place, text.to_owned()));
        }
        let similar = Similar { text, edits, prefix_length: prefix_length as usize, most: self.similar };
        let node =
            |(text, boost, frequency)| boosted(Node::Term(TermNode { place, text, frequency: Some(frequency) }), boost);
        let nodes = similar.terms(self.snapshot, place, self.stop)?.into_iter().map(node).collect();
        Ok(match combine(nodes, Operator::Or, None) {
            Node::Nothing => Node::Nothing,
            node => Node::Apart(Box::new(node)),
        })
    }

    fn term(&self, name: &Arc<str>, value: &Value) -> Result<Node> {
        let (field, place, _) = self.field(name)?;
        match value {
            Value::Text(text) if field.is_text() => Ok(term(place, self.schema().normalized(field, text))),
            value => self.terms(name, std::slice::from_ref(value)),
        }
    }

    fn terms(&self, name: &Arc<str>, values: &[Value]) -> Result<Node> {
        let (field, _, slot) = self.field(name)?;
        let terms = values.iter().map(|value| self.bytes(field, slot, value)).collect();
        Ok(Node::Set(Set::Terms { slot, terms }))
    }

    /// A value as tantivy's dictionary has it: ordered like the values.
    fn bytes(&self, field: &Field, slot: Slot, value: &Value) -> Vec<u8> {
        let term = match value {
            Value::Text(text) => return self.schema().normalized(field, text).into_bytes(),
            Value::I64(number) | Value::Date(number) => Term::from_field_i64(slot, *number),
            Value::U64(number) => Term::from_field_u64(slot, *number),
            Value::F64(number) => Term::from_field_f64(slot, *number),
            Value::Bool(truth) => Term::from_field_bool(slot, *truth),
        };
        term.serialized_value_bytes().to_vec()
    }

    fn function_score(&self, query: &FunctionScoreQuery) -> Result<Node> {
        let (place, _) = self.snapshot.mapping.slot(query.function.field())?;
        let function = Function::new(query, self.schema().fields()[place].kind());
        Ok(Node::Function(FunctionNode { node: Box::new(self.node(&query.query)?), place, function }))
    }

    fn bool(&self, query: &BoolQuery) -> Result<Node> {
        let node = BoolNode {
            must: self.nodes(&query.must)?,
            should: self.nodes(&query.should)?,
            filter: self.nodes(&query.filter)?,
            must_not: self.nodes(&query.must_not)?,
            minimum: 0,
        };
        let count = node.should.len();
        let free = !node.must.is_empty() || !node.filter.is_empty() || count == 0;
        let minimum = query.minimum_match.map_or(usize::from(!free), |minimum| minimum.of(count));
        // Of optional clauses alone, one is needed even if none is asked for.
        Ok(simplify(BoolNode { minimum: if free { minimum } else { minimum.max(1) }, ..node }))
    }
}

/// Whether the numbers of a field are in a column too.
pub(super) const fn has_column(field: &Field) -> bool {
    field.is_sortable() && !field.is_text() && !matches!(field.kind(), FieldKind::Keyword { .. })
}

/// The bounds are as the dictionary has them: eight bytes that compare like the number.
fn between(place: usize, lower: &Bound<Vec<u8>>, upper: &Bound<Vec<u8>>) -> Node {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let least = match lower {
        Bound::Included(bytes) => Some(number(bytes)),
        Bound::Excluded(bytes) => number(bytes).checked_add(1),
        Bound::Unbounded => Some(u64::MIN),
    };
    let most = match upper {
        Bound::Included(bytes) => Some(number(bytes)),
        Bound::Excluded(bytes) => number(bytes).checked_sub(1),
        Bound::Unbounded => Some(u64::MAX),
    };
    match (least, most) {
        (Some(least), Some(most)) if least <= most => Node::Set(Set::Between { place, range: least..=most }),
        _ => Node::Nothing,
    }
}

/// Whether a field's length counts.
pub(super) const fn has_norms(field: &Field) -> bool {
    matches!(field.kind(), FieldKind::Text { norms: crate::Norms::Length, .. })
}
