//! The documents of the build that ran before.

use statehouse_search::Document;
use statehouse_two_builds::documents::Indexed;

#[derive(Document)]
pub(crate) struct Moved {
    #[document(id)]
    id: String,
    #[document(text)]
    title: String,
    #[document(keyword)]
    ward: String,
}

impl Indexed for Moved {
    const CHANGE: &'static str = "moved";

    fn value() -> Self {
        Self { id: "1".into(), title: "Fever".into(), ward: "3".into() }
    }

    fn said(&self) -> String {
        format!("{} in ward {}", self.title, self.ward)
    }
}

#[derive(Document)]
pub(crate) struct Wider {
    #[document(id)]
    id: String,
    uses: u32,
}

impl Indexed for Wider {
    const CHANGE: &'static str = "wider";

    fn value() -> Self {
        Self { id: "1".into(), uses: 7 }
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
    note: String,
}

impl Indexed for Looser {
    const CHANGE: &'static str = "looser";

    fn value() -> Self {
        Self { id: "1".into(), note: "x".into() }
    }

    fn said(&self) -> String {
        self.note.clone()
    }
}

#[derive(Document)]
pub(crate) struct Several {
    #[document(id)]
    id: String,
    #[document(keyword)]
    name: String,
}

impl Indexed for Several {
    const CHANGE: &'static str = "several";

    fn value() -> Self {
        Self { id: "1".into(), name: "Ann".into() }
    }

    fn said(&self) -> String {
        self.name.clone()
    }
}

#[derive(Document)]
pub(crate) struct Another {
    #[document(id)]
    id: String,
    #[document(keyword)]
    name: String,
}

impl Indexed for Another {
    const CHANGE: &'static str = "another";

    fn value() -> Self {
        Self { id: "1".into(), name: "Ann".into() }
    }

    fn said(&self) -> String {
        self.name.clone()
    }
}

#[derive(Document)]
pub(crate) struct Renamed {
    #[document(id)]
    id: String,
    lent: u64,
}

impl Indexed for Renamed {
    const CHANGE: &'static str = "renamed";

    fn value() -> Self {
        Self { id: "1".into(), lent: 1 }
    }

    fn said(&self) -> String {
        self.lent.to_string()
    }
}

#[derive(Document)]
pub(crate) struct Retyped {
    #[document(id)]
    id: String,
    number: u64,
}

impl Indexed for Retyped {
    const CHANGE: &'static str = "retyped";

    fn value() -> Self {
        Self { id: "1".into(), number: 7 }
    }

    fn said(&self) -> String {
        self.number.to_string()
    }
}

#[derive(Document)]
pub(crate) struct Reanalyzed {
    #[document(id)]
    id: String,
    #[document(text)]
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
