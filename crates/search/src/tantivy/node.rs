//! What a query is planned as: a tree of terms and sets, simplified as Lucene simplifies it.
//!
//! The simplification matters for more than speed: it decides in which order and precision scores are added.

use std::ops::{Bound, RangeInclusive};

use tantivy::schema::Field as Slot;

use super::function::Function;
use crate::wildcard::Pattern;
use crate::{MinimumMatch, Operator};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Nothing,
    Everything,
    Term(TermNode),
    Phrase {
        place: usize,
        terms: Vec<(u32, String)>,
        slop: u32,
    },
    /// The last of the terms stands for several. Lucene takes it for no phrase of terms, even where there is only one.
    PhrasePrefix {
        place: usize,
        terms: Vec<(u32, Vec<String>)>,
        slop: u32,
    },
    Set(Set),
    Constant(Box<Self>),
    Bool(BoolNode),
    DisMax {
        nodes: Bag,
        tie_breaker: f32,
    },
    Function(FunctionNode),
    Boost(f32, Box<Self>),
    /// Not taken apart by what it stands in: the terms that are similar to one carry statistics that are not their own, so
    /// they must not become one with an equal term beside them.
    Apart(Box<Self>),
}

/// A query, with scores that a field's values have a part in.
#[derive(Clone, Debug)]
pub(super) struct FunctionNode {
    pub(super) node: Box<Node>,
    pub(super) place: usize,
    pub(super) function: Function,
}

/// Two are never made one: the boosts of equal clauses are added up, which for these is another sum than that of their scores.
impl PartialEq for FunctionNode {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

/// Clauses whose order means nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Bag(pub(super) Vec<Node>);

/// Each as often in one as in the other: Lucene compares the clauses of its queries as multisets.
impl PartialEq for Bag {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

fn same(nodes: &[Node], others: &[Node]) -> bool {
    let mut left: Vec<_> = others.iter().collect();
    nodes.len() == others.len()
        && nodes.iter().all(|node| {
            let found = left.iter().position(|other| *other == node);
            found.map(|at| left.swap_remove(at)).is_some()
        })
}

/// A ranked term.
#[derive(Clone, Debug)]
pub(super) struct TermNode {
    pub(super) place: usize,
    pub(super) text: String,
    /// The document frequency to rank it with, if not its own.
    pub(super) frequency: Option<u64>,
}

/// Lucene takes two queries for one term as the same, whatever statistics they carry.
impl PartialEq for TermNode {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && self.text == other.text
    }
}

/// Documents without a rank.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Set {
    Terms {
        slot: Slot,
        terms: Vec<Vec<u8>>,
    },
    Prefix {
        slot: Slot,
        text: String,
    },
    Wildcard {
        slot: Slot,
        pattern: Pattern,
    },
    Range {
        slot: Slot,
        lower: Bound<Vec<u8>>,
        upper: Bound<Vec<u8>>,
    },
    /// By the column of the field, in numbers that compare like the values.
    Between {
        place: usize,
        range: RangeInclusive<u64>,
    },
    Exists {
        place: usize,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct BoolNode {
    pub(super) must: Vec<Node>,
    pub(super) should: Vec<Node>,
    pub(super) filter: Vec<Node>,
    pub(super) must_not: Vec<Node>,
    /// How many of `should` are needed.
    pub(super) minimum: usize,
}

/// In whatever order the clauses are. Those without a score count once, as in Lucene, however often they stand there.
impl PartialEq for BoolNode {
    fn eq(&self, other: &Self) -> bool {
        let within = |nodes: &[Node], others: &[Node]| nodes.iter().all(|node| others.contains(node));
        let alike = |nodes: &[Node], others: &[Node]| within(nodes, others) && within(others, nodes);
        self.minimum == other.minimum
            && same(&self.must, &other.must)
            && same(&self.should, &other.should)
            && alike(&self.filter, &other.filter)
            && alike(&self.must_not, &other.must_not)
    }
}

pub(super) fn term(place: usize, text: String) -> Node {
    Node::Term(TermNode { place, text, frequency: None })
}

pub(super) const fn prefix(slot: Slot, text: String) -> Node {
    Node::Set(Set::Prefix { slot, text })
}

pub(super) fn boosted(node: Node, boost: f32) -> Node {
    #[expect(clippy::float_cmp, reason = "exactly 1 is the boost that was not given")]
    if boost == 1.0 { node } else { Node::Boost(boost, Box::new(node)) }
}

/// The clauses of a text's terms.
pub(super) fn combine(mut clauses: Vec<Node>, operator: Operator, minimum: Option<MinimumMatch>) -> Node {
    match (clauses.len(), operator) {
        (0, _) => Node::Nothing,
        (1, _) => clauses.remove(0),
        (_, Operator::And) => simplify(BoolNode { must: clauses, ..BoolNode::default() }),
        (count, Operator::Or) => {
            let minimum = minimum.map_or(1, |minimum| minimum.of(count).max(1));
            simplify(BoolNode { should: clauses, minimum, ..BoolNode::default() })
        }
    }
}

pub(super) fn dis_max(mut nodes: Vec<Node>, tie_breaker: f32) -> Node {
    #[expect(clippy::float_cmp, reason = "exactly 1 makes it a sum")]
    let sum = tie_breaker == 1.0;
    match nodes.len() {
        0 => Node::Nothing,
        1 => nodes.remove(0),
        _ if sum => simplify(BoolNode { should: nodes, minimum: 1, ..BoolNode::default() }),
        _ => Node::DisMax { nodes: Bag(nodes), tie_breaker },
    }
}

/// As `BooleanQuery.rewrite` of Lucene: nested clauses of one kind become one list, equal clauses one with the sum of
/// their boosts, and a list of one becomes its clause.
pub(super) fn simplify(node: BoolNode) -> Node {
    let BoolNode { must, should, filter, must_not, minimum } = node;
    let mut flat = BoolNode { must_not, minimum, ..BoolNode::default() };
    for node in should {
        match node {
            Node::Bool(inner) if minimum <= 1 && inner.is_disjunction() => flat.should.extend(inner.should),
            node => flat.should.push(node),
        }
    }
    for node in must {
        match node {
            Node::Bool(inner) if inner.should.is_empty() && !inner.must.is_empty() => {
                flat.must.extend(inner.must);
                flat.filter.extend(inner.filter);
                flat.must_not.extend(inner.must_not);
            }
            node => flat.must.push(node),
        }
    }
    flat.filter.extend(filter);
    if minimum <= 1 {
        flat.should = merge_equal(flat.should);
    }
    flat.must = merge_equal(flat.must);
    let alone = flat.filter.is_empty() && flat.must_not.is_empty();
    match (flat.must.len(), flat.should.len()) {
        (0, 0) if alone => Node::Everything,
        (1, 0) if alone => flat.must.remove(0),
        (0, 1) if alone && minimum <= 1 => flat.should.remove(0),
        _ => Node::Bool(flat),
    }
}

impl BoolNode {
    fn is_disjunction(&self) -> bool {
        self.must.is_empty() && self.filter.is_empty() && self.must_not.is_empty() && self.minimum <= 1
    }
}

fn merge_equal(nodes: Vec<Node>) -> Vec<Node> {
    let mut merged: Vec<(Node, f64)> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let (boost, inner) = match node {
            Node::Boost(boost, inner) => (f64::from(boost), *inner),
            node => (1.0, node),
        };
        match merged.iter_mut().find(|(known, _)| *known == inner) {
            Some((_, sum)) => *sum += boost,
            None => merged.push((inner, boost)),
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "a sum of single-precision boosts, as in Lucene")]
    merged.into_iter().map(|(node, boost)| boosted(node, boost as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::{BoolNode, Node, dis_max, simplify, term};

    fn word(text: &str) -> Node {
        term(0, text.to_owned())
    }

    fn words(texts: &[&str]) -> Vec<Node> {
        texts.iter().map(|text| word(text)).collect()
    }

    #[test]
    fn clauses_in_another_order_are_the_same() {
        let best = |texts: &[&str]| dis_max(words(texts), 0.0);
        assert_eq!(best(&["a", "b", "c"]), best(&["c", "a", "b"]));
        assert_ne!(best(&["a", "a", "b"]), best(&["a", "b", "b"]), "each as often");
        assert_ne!(best(&["a", "b"]), best(&["a", "b", "b"]));
        assert_ne!(best(&["a", "b"]), dis_max(words(&["a", "b"]), 0.5));
        let all = |must: &[&str], filter: &[&str]| {
            simplify(BoolNode { must: words(must), filter: words(filter), ..BoolNode::default() })
        };
        assert_eq!(all(&["a", "b"], &["x", "y"]), all(&["b", "a"], &["y", "x", "y"]), "a filter counts once");
        assert_ne!(all(&["a", "b"], &["x"]), all(&["a", "b"], &["x", "y"]));
        assert_ne!(all(&["a", "b"], &["x", "y"]), all(&["a", "b"], &["x"]));
        let three = [&["a", "b"], &["b", "a"], &["a", "b"]].map(|texts| best(texts));
        let sum = simplify(BoolNode { should: three.into(), minimum: 1, ..BoolNode::default() });
        assert_eq!(sum, Node::Boost(3.0, Box::new(best(&["a", "b"]))), "three times as much, and not the sum of three");
    }
}
