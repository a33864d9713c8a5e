//! The build that ran before.

use serde::{Deserialize, Serialize};
use statehouse_two_builds::{Versioned, build};

mod documents;

build!(
    Widened, Swapped, Added, Variants, Renamed, Required, Retyped, Flattened;
    Moved, Wider, Looser, Several, Another, Renamed, Retyped, Reanalyzed
);

#[derive(Debug, Serialize, Deserialize)]
struct Widened {
    count: u8,
    share: f32,
}

impl Versioned for Widened {
    const CHANGE: &'static str = "widened";

    fn value() -> Self {
        Self { count: 200, share: 0.5 }
    }

    fn said(&self) -> String {
        format!("{} {}", self.count, self.share)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Swapped {
    on_shelf: u32,
    lent: u32,
}

impl Versioned for Swapped {
    const CHANGE: &'static str = "swapped";

    fn value() -> Self {
        Self { on_shelf: 9, lent: 1 }
    }

    fn said(&self) -> String {
        format!("{} on the shelf, {} lent", self.on_shelf, self.lent)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Added {
    name: String,
}

impl Versioned for Added {
    const CHANGE: &'static str = "added";

    fn value() -> Self {
        Self { name: "Ann".into() }
    }

    fn said(&self) -> String {
        self.name.clone()
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Variants {
    Nurse,
    Doctor(u8),
}

impl Versioned for Variants {
    const CHANGE: &'static str = "variants";

    fn value() -> Self {
        Self::Nurse
    }

    fn said(&self) -> String {
        match self {
            Self::Nurse => "a nurse".into(),
            Self::Doctor(ward) => format!("a doctor of ward {ward}"),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Renamed {
    lent: u32,
}

impl Versioned for Renamed {
    const CHANGE: &'static str = "renamed";

    fn value() -> Self {
        Self { lent: 1 }
    }

    fn said(&self) -> String {
        self.lent.to_string()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Required {
    name: String,
    ward: Option<u8>,
}

impl Versioned for Required {
    const CHANGE: &'static str = "required";

    fn value() -> Self {
        Self { name: "Ann".into(), ward: None }
    }

    fn said(&self) -> String {
        format!("{} {:?}", self.name, self.ward)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Retyped {
    number: u32,
}

impl Versioned for Retyped {
    const CHANGE: &'static str = "retyped";

    fn value() -> Self {
        Self { number: 7 }
    }

    fn said(&self) -> String {
        self.number.to_string()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Common {
    id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Flattened {
    #[serde(flatten)]
    common: Common,
    place: String,
}

impl Versioned for Flattened {
    const CHANGE: &'static str = "flattened";

    fn value() -> Self {
        Self { common: Common { id: 7, note: None }, place: "shelf".into() }
    }

    fn said(&self) -> String {
        format!("{} {:?} {}", self.common.id, self.common.note, self.place)
    }
}
