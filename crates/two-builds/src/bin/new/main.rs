//! The build that is being deployed.

use serde::{Deserialize, Serialize};
use statehouse_two_builds::{Versioned, build};

mod documents;

build!(
    Widened, Swapped, Added, Variants, Renamed, Required, Retyped, Flattened;
    Moved, Wider, Looser, Several, Another, Renamed, Retyped, Reanalyzed
);

#[derive(Debug, Serialize, Deserialize)]
struct Widened {
    count: u64,
    share: f64,
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
    lent: u32,
    on_shelf: u32,
}

impl Versioned for Swapped {
    const CHANGE: &'static str = "swapped";

    fn value() -> Self {
        Self { lent: 1, on_shelf: 9 }
    }

    fn said(&self) -> String {
        format!("{} on the shelf, {} lent", self.on_shelf, self.lent)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Added {
    #[serde(default)]
    wards: Vec<u8>,
    #[serde(default)]
    title: Option<String>,
    name: String,
}

impl Versioned for Added {
    const CHANGE: &'static str = "added";

    fn value() -> Self {
        Self { wards: vec![1, 2], title: Some("Dr".into()), name: "Ann".into() }
    }

    fn said(&self) -> String {
        self.name.clone()
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Variants {
    Admin,
    Doctor(u8),
    Nurse,
}

impl Versioned for Variants {
    const CHANGE: &'static str = "variants";

    fn value() -> Self {
        Self::Nurse
    }

    fn said(&self) -> String {
        match self {
            Self::Admin => "an administrator".into(),
            Self::Doctor(ward) => format!("a doctor of ward {ward}"),
            Self::Nurse => "a nurse".into(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Renamed {
    borrowed: u32,
}

impl Versioned for Renamed {
    const CHANGE: &'static str = "renamed";

    fn value() -> Self {
        Self { borrowed: 1 }
    }

    fn said(&self) -> String {
        self.borrowed.to_string()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Required {
    name: String,
    ward: u8,
    floor: u8,
}

impl Versioned for Required {
    const CHANGE: &'static str = "required";

    fn value() -> Self {
        Self { name: "Ann".into(), ward: 3, floor: 1 }
    }

    fn said(&self) -> String {
        // The old build has it as an option, and no floor.
        format!("{} {:?}", self.name, Some(self.ward))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Retyped {
    number: String,
}

impl Versioned for Retyped {
    const CHANGE: &'static str = "retyped";

    fn value() -> Self {
        Self { number: "7".into() }
    }

    fn said(&self) -> String {
        self.number.clone()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Common {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    id: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Flattened {
    place: String,
    #[serde(flatten)]
    common: Common,
}

impl Versioned for Flattened {
    const CHANGE: &'static str = "flattened";

    fn value() -> Self {
        Self { place: "shelf".into(), common: Common { note: None, id: 7 } }
    }

    fn said(&self) -> String {
        format!("{} {:?} {}", self.common.id, self.common.note, self.place)
    }
}
