//! The documents of the build that is being deployed.

use statehouse_search::Document;
use statehouse_two_builds::documents::Indexed;

#[derive(Document)]
pub(crate) struct Moved {
    #[document(id)]
    id: String,
    #[document(keyword)]
    ward: String,
    #[document(text)]
    title: String,
}

impl Indexed for Moved {
    const CHANGE: &'static str = "moved";

    fn value() -> Self {
        Self { id: "1".into(), ward: "3".into(), title: "Fever".into() }
    }

    fn said(&self) -> String {
        format!("{} in ward {}", self.title, self.ward)
    }
}

#[derive(Document)]
pub(crate) struct Wider {
    #[document(id)]
    id: String,
    uses: u64,
}

impl Indexed for Wider {
    const CHANGE: &'static str = "wider";

    fn value() -> Self {
        Self { id: "1".into(), uses: 5_000_000_000 }
    }

    fn said(&self) -> String {
        self.uses.to_string()
    }
}

#[derive(Document)]
pub(crate) struct Looser {
    #[document(id)]
    id: String,
    #[document(keyword)]
    note: Option<String>,
}

impl Indexed for Looser {
    const CHANGE: &'static str = "looser";

    fn value() -> Self {
        Self { id: "1".into(), note: None }
    }

    fn said(&self) -> String {
        self.note.clone().unwrap_or_else(|| "no note".into())
    }
}

#[derive(Document)]
pub(crate) struct Several {
    #[document(id)]
    id: String,
    #[document(keyword)]
    name: Vec<String>,
}

impl Indexed for Several {
    const CHANGE: &'static str = "several";

    fn value() -> Self {
        Self { id: "1".into(), name: vec!["Ann".into(), "Bea".into()] }
    }

    fn said(&self) -> String {
        self.name.join(" and ")
    }
}

#[derive(Document)]
pub(crate) struct Another {
    #[document(id)]
    id: String,
    #[document(keyword)]
    name: String,
    ward: u64,
}

impl Indexed for Another {
    const CHANGE: &'static str = "another";

    fn value() -> Self {
        Self { id: "1".into(), name: "Ann".into(), ward: 3 }
    }

    fn said(&self) -> String {
        format!("{} in ward {}", self.name, self.ward)
    }
}

#[derive(Document)]
pub(crate) struct Renamed {
    #[document(id)]
    id: String,
    borrowed: u64,
}

impl Indexed for Renamed {
    const CHANGE: &'static str = "renamed";
    const RENAMED: &'static [(&'static str, &'static str)] = &[("lent", "borrowed")];

    fn value() -> Self {
        Self { id: "1".into(), borrowed: 1 }
    }

    fn said(&self) -> String {
        self.borrowed.to_string()
    }
}

#[derive(Document)]
pub(crate) struct Retyped {
    #[document(id)]
    id: String,
    #[document(keyword)]
    number: String,
}

impl Indexed for Retyped {
    const CHANGE: &'static str = "retyped";

    fn value() -> Self {
        Self { id: "1".into(), number: "7".into() }
    }

    fn said(&self) -> String {
        self.number.clone()
    }
}

#[derive(Document)]
pub(crate) struct Reanalyzed {
    #[document(id)]
    id: String,
    #[document(keyword)]
    title: String,
}

impl Indexed for Reanalyzed {
    const CHANGE: &'static str = "reanalyzed";

    fn value() -> Self {
        Self { id: "1".into(), title: "Fever".into() }
    }

    fn said(&self) -> String {
        self.title.clone()
    }
}
