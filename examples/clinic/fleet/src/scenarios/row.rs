//! What came of a scenario: figures, each with the bound that it must keep.

use std::fmt;

use serde_json::{Value, json};

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "figures are printed, and nobody else decides by them")]
pub enum Bound {
    /// Exactly this.
    Is(f64),
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Nothing: it is told and decides nothing.
    Told,
}

/// One measured number.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Figure {
    /// What was counted or measured, with its unit.
    pub name: &'static str,
    /// The number.
    pub value: f64,
    /// What it must be.
    pub bound: Bound,
    /// What is behind it, told if it is not what it must be.
    pub detail: String,
}

/// What came of one scenario.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// Such as `S1`.
    pub id: &'static str,
    /// What happens.
    pub title: &'static str,
    /// What must hold.
    pub criterion: &'static str,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Why it could not be measured to the end.
    pub failure: Option<String>,
}

impl Bound {
    /// Whether a number keeps it.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Is(expected) => value == expected,
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Told => true,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(expected) => write!(f, "= {expected}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::Told => Ok(()),
        }
    }
}

impl Figure {
    pub(super) fn new(name: &'static str, value: f64, bound: Bound) -> Self {
        Self { name, value, bound, detail: String::new() }
    }

    /// One that must be exactly so many.
    pub(super) fn is(name: &'static str, count: usize, expected: usize) -> Self {
        Self::new(name, number(count), Bound::Is(number(expected)))
    }

    pub(super) fn at_least(name: &'static str, count: usize, least: usize) -> Self {
        Self::new(name, number(count), Bound::AtLeast(number(least)))
    }

    pub(super) fn told(name: &'static str, count: usize) -> Self {
        Self::new(name, number(count), Bound::Told)
    }

    /// With what is behind it, if there is anything: the first few.
    pub(super) fn because<T: AsRef<str>>(self, behind: &[T]) -> Self {
        let detail: Vec<_> = behind.iter().take(5).map(AsRef::as_ref).collect();
        Self { detail: detail.join(" | "), ..self }
    }

    fn holds(&self) -> bool {
        self.bound.holds(self.value)
    }
}

/// Counts here are far below 2³².
pub(super) fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = (self.value * 100.0).round() / 100.0;
        write!(f, "{} {value}", self.name)?;
        match self.bound {
            Bound::Told => Ok(()),
            bound if self.holds() => write!(f, " ({bound})"),
            bound if self.detail.is_empty() => write!(f, " (must be {bound})"),
            bound => write!(f, " (must be {bound}): {}", self.detail),
        }
    }
}

impl Row {
    /// Whether it was measured to the end, and every figure keeps its bound.
    #[must_use]
    pub fn passed(&self) -> bool {
        let decided = self.figures.iter().any(|figure| figure.bound != Bound::Told);
        decided && self.failure.is_none() && self.figures.iter().all(Figure::holds)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures: Vec<_> = self.figures.iter().map(|figure| {
            json!({ "name": figure.name, "value": figure.value, "bound": figure.bound.to_string(), "holds": figure.holds(), "detail": figure.detail })
        }).collect();
        json!({
            "id": self.id, "title": self.title, "criterion": self.criterion,
            "figures": figures, "failure": self.failure, "passed": self.passed(),
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passed() { "passed" } else { "FAILED" };
        write!(f, "{:5} {word}  {}", self.id, self.title)?;
        for figure in &self.figures {
            write!(f, "\n      {figure}")?;
        }
        self.failure.iter().try_for_each(|failure| write!(f, "\n      {failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(figures: Vec<Figure>, failure: Option<&str>) -> Row {
        Row { id: "S0", title: "", criterion: "", figures, failure: failure.map(str::to_owned) }
    }

    #[test]
    fn it_passes_only_if_something_was_measured_and_all_of_it_holds() {
        let (good, bad) = (Figure::is("lost", 0, 0), Figure::is("lost", 1, 0));
        assert!(row(vec![good.clone(), Figure::told("requests", 7)], None).passed());
        assert!(!row(vec![good.clone(), bad.clone()], None).passed());
        assert!(!row(vec![good], Some("no answer")).passed());
        assert!(!row(vec![Figure::told("requests", 7)], None).passed(), "nothing decides");
        assert!(!row(Vec::new(), None).passed());
        assert!(row(vec![bad], None).to_string().contains("lost 1 (must be = 0)"));
        for (bound, yes, no) in [(Bound::AtMost(2.0), 2.0, 2.1), (Bound::AtLeast(2.0), 2.0, 1.9)] {
            assert!(bound.holds(yes) && !bound.holds(no) && !bound.holds(f64::NAN), "{bound}");
        }
    }
}
