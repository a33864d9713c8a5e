//! Clauses as a tree of queries, within the limits.

use std::ops::Range;
use std::sync::Arc;

use statehouse_core::Result;

use super::options::SimpleQueryString;
use super::read::{Clause, Item, Kind, Sign, floor};
use super::warning::{QueryWarning, QueryWarningKind};
use crate::analysis::TokenStream;
use crate::size::Share;
use crate::{Field, FieldBoost, FieldKind, Fuzziness, Operator, Query, Schema, Value};

/// Clauses one of which is enough, with the sign of them all.
struct Group {
    sign: Sign,
    clauses: Vec<Clause>,
}

pub(super) fn query(
    (options, schema): (&SimpleQueryString, &Schema),
    text: &str,
    items: Vec<Item>,
    warnings: &mut Vec<QueryWarning>,
) -> Result<Query> {
    let groups = groups(text, items, warnings);
    let mut builder = Builder { options, schema, text, warnings, share: Share::default(), taken: 0, is_full: false };
    let mut query = Query::bool();
    for group in groups {
        // What is a stop word in one of the fields is not asked of the others.
        let operator =
            if !builder.is_full && builder.is_dropped_somewhere(&group)? { Operator::Or } else { options.operator };
        let sign = group.sign;
        let Some(found) = builder.group(group)? else { continue };
        query = match (sign, operator) {
            (Sign::Excluded, _) => query.must_not(found),
            (Sign::Required, _) | (Sign::None, Operator::And) => query.must(found),
            (Sign::None, Operator::Or) => query.should(found),
        };
    }
    let wanted = query.must.len() + query.should.len();
    Ok(match (wanted, query.must_not.is_empty()) {
        (0, true) => Query::None,
        (1, true) => query.must.pop().or_else(|| query.should.pop()).unwrap_or(Query::None),
        _ => query.into(),
    })
}

/// An `OR` joins the clauses on both sides of it, which have no sign.
fn groups(text: &str, items: Vec<Item>, warnings: &mut Vec<QueryWarning>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // Where the operator stands that joins what comes next.
    let mut joined: Option<Range<usize>> = None;
    let mut left_out = Vec::new();
    for item in items {
        match item {
            Item::Or(position) => left_out.extend(joined.replace(position)),
            Item::Clause(clause) => {
                let last = groups.last_mut().filter(|last| [last.sign, clause.sign] == [Sign::None; 2]);
                match (joined.take(), last) {
                    (Some(_), Some(last)) => last.clauses.push(clause),
                    (misplaced, _) => {
                        left_out.extend(misplaced);
                        groups.push(Group { sign: clause.sign, clauses: vec![clause] });
                    }
                }
            }
        }
    }
    left_out.extend(joined);
    if groups.is_empty() {
        // Perhaps it was meant as a word.
        let word = left_out.iter().find(|position| &text[(*position).clone()] == "OR");
        groups.extend(word.map(|position| Group { sign: Sign::None, clauses: vec![word_at(text, position.clone())] }));
    }
    warnings.extend(left_out.into_iter().map(|position| QueryWarning { position, kind: QueryWarningKind::Operator }));
    groups
}

/// What stands somewhere, as a word without a meaning of its own.
fn word_at(text: &str, position: Range<usize>) -> Clause {
    let word = text[position.clone()].to_owned();
    Clause { sign: Sign::None, field: None, kind: Kind::Word, text: word, position }
}

struct Builder<'a> {
    options: &'a SimpleQueryString,
    schema: &'a Schema,
    text: &'a str,
    warnings: &'a mut Vec<QueryWarning>,
    share: Share,
    taken: usize,
    /// Whether a limit was reached, behind which nothing is taken.
    is_full: bool,
}

impl Builder<'_> {
    fn warn(&mut self, kind: QueryWarningKind, position: Range<usize>) {
        self.warnings.push(QueryWarning { position, kind });
    }

    fn group(&mut self, group: Group) -> Result<Option<Query>> {
        let mut found = Vec::new();
        for clause in group.clauses {
            if !self.is_full {
                found.extend(self.clause(clause)?);
            }
        }
        Ok(match found.len() {
            0 | 1 => found.pop(),
            _ => Some(found.into_iter().fold(Query::bool(), |any, query| any.should(query)).into()),
        })
    }

    /// The query of a clause; `None` if it makes no term, or there is no room for it.
    fn clause(&mut self, clause: Clause) -> Result<Option<Query>> {
        let position = clause.position.clone();
        if self.taken == self.options.max_clauses {
            self.end(position.start);
            return Ok(None);
        }
        let mut clause = self.fitting(clause)?;
        let Some(mut query) = self.query(&clause)? else { return Ok(None) };
        let mut fits = self.share.take(self.schema, &query);
        if !fits && matches!(clause.kind, Kind::Similar(_)) {
            // What is too long to have similar terms, or one too many of those.
            clause.kind = Kind::Word;
            self.warn(QueryWarningKind::Fuzziness, position.clone());
            let Some(plain) = self.query(&clause)? else { return Ok(None) };
            (fits, query) = (self.share.take(self.schema, &plain), plain);
        }
        if !fits && clause.sign == Sign::Excluded {
            // A part of it would exclude more.
            self.end(position.start);
            return Ok(None);
        }
        while !fits {
            // A word of thousands of terms: as much of it as there is room for.
            self.is_full = true;
            let half = floor(&clause.text, clause.text.len() / 2);
            clause.text.truncate(half);
            let Some(shorter) = self.query(&clause)? else { break };
            (fits, query) = (self.share.take(self.schema, &shorter), shorter);
        }
        if self.is_full {
            self.end(position.start);
        }
        self.taken += usize::from(fits);
        Ok(fits.then_some(query))
    }

    fn end(&mut self, from: usize) {
        self.is_full = true;
        self.warn(QueryWarningKind::TooManyClauses, from..self.text.len());
    }

    /// The clause, or its text where its field does not take it; with a fuzziness that its words can have.
    fn fitting(&mut self, mut clause: Clause) -> Result<Clause> {
        if let Some(name) = clause.field {
            let field = self.schema.require(&self.options.named[name].1)?;
            if !field.is_text() && value(self.schema, field, &clause).is_none() {
                self.warn(QueryWarningKind::Value, clause.position.clone());
                return Ok(Clause { sign: clause.sign, ..word_at(self.text, clause.position) });
            }
            if !field.is_text() && matches!(clause.kind, Kind::Similar(_)) {
                self.warn(QueryWarningKind::Fuzziness, clause.position.clone());
                clause.kind = Kind::Word;
            }
        }
        if let Kind::Similar(Fuzziness::Edits(edits)) = clause.kind
            && edits > 0
            && !self.are_long(&clause, 2 * usize::from(edits))?
        {
            self.warn(QueryWarningKind::Fuzziness, clause.position.clone());
            clause.kind = Kind::Similar(Fuzziness::Auto);
        }
        Ok(clause)
    }

    /// Whether all terms of a clause have at least so many code points, in every text field in which it is looked for.
    fn are_long(&self, clause: &Clause, least: usize) -> Result<bool> {
        for field in self.fields(clause) {
            let field = self.schema.require(&field.field)?;
            let tokens = if field.is_text() { self.schema.search_tokens(field, &clause.text)? } else { Vec::new() };
            if tokens.iter().any(|token| token.text.chars().count() < least) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether some text field makes no term of what is looked for, and another field does.
    fn is_dropped_somewhere(&self, group: &Group) -> Result<bool> {
        for clause in group.clauses.iter().filter(|clause| clause.kind != Kind::Beginning) {
            let (mut is_dropped, mut is_kept) = (false, false);
            for FieldBoost { field, .. } in self.fields(clause) {
                let field = self.schema.require(&field)?;
                match !field.is_text() || self.has_terms(field, &clause.text)? {
                    true => is_kept = true,
                    false => is_dropped = true,
                }
            }
            if is_dropped && is_kept {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn has_terms(&self, field: &Field, text: &str) -> Result<bool> {
        Ok(TokenStream::new(self.schema.search_analyzer(field)?, text).advance())
    }

    fn fields(&self, clause: &Clause) -> Vec<FieldBoost> {
        let named = clause.field.map(|at| vec![Arc::clone(&self.options.named[at].1).into()]);
        named.unwrap_or_else(|| self.options.fields.clone())
    }

    fn query(&self, clause: &Clause) -> Result<Option<Query>> {
        let mut queries = Vec::new();
        for FieldBoost { field, boost } in self.fields(clause) {
            queries.extend(self.in_field(self.schema.require(&field)?, &field, clause, boost)?);
        }
        Ok(match queries.len() {
            0 | 1 => queries.pop(),
            _ => Some(Query::dis_max(queries).into()),
        })
    }

    fn in_field(&self, field: &Field, name: &Arc<str>, clause: &Clause, boost: f32) -> Result<Option<Query>> {
        let (name, text) = (Arc::clone(name), clause.text.as_str());
        if text.is_empty() {
            return Ok(None);
        }
        if !field.is_text() {
            return Ok(value(self.schema, field, clause).map(|value| match clause.kind {
                Kind::Beginning => Query::prefix(name, text).boost(boost).into(),
                _ => Query::term(name, value).boost(boost).into(),
            }));
        }
        let has_terms = self.has_terms(field, text)?;
        let matches = Query::matches(Arc::clone(&name), text).operator(Operator::And).boost(boost);
        Ok(match clause.kind {
            // The beginning of a word that happens to be a stop word.
            Kind::Beginning if !has_terms => Some(Query::prefix(name, text).boost(boost).into()),
            _ if !has_terms => None,
            Kind::Word => Some(matches.into()),
            Kind::Similar(fuzziness) => Some(matches.fuzziness(fuzziness).into()),
            Kind::Beginning => Some(Query::matches_prefix(name, text).operator(Operator::And).boost(boost).into()),
            Kind::Phrase { slop } => Some(Query::phrase(name, text).slop(slop).boost(boost).into()),
        })
    }
}

/// What was typed as a value of a field that is no text; `None` if it is none.
fn value(schema: &Schema, field: &Field, clause: &Clause) -> Option<Value> {
    let text = clause.text.as_str();
    if let FieldKind::Keyword { .. } = field.kind() {
        return (!schema.normalized(field, text).is_empty()).then(|| text.into());
    }
    if !matches!(clause.kind, Kind::Word | Kind::Phrase { .. }) {
        return None;
    }
    match field.kind() {
        FieldKind::I64 => text.parse().ok().map(Value::I64),
        FieldKind::U64 => text.parse().ok().map(Value::U64),
        FieldKind::F64 => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::F64),
        FieldKind::Bool => text.parse().ok().map(Value::Bool),
        _ => None,
    }
}
