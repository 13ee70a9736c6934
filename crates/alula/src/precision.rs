//! How exact contractions are.

use std::fmt;
use std::str::FromStr;

/// What contractions of `f32` may cost in exactness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// As exact as `f32` arithmetic.
    #[default]
    Highest,
    /// Three products of halves: relative errors of some 1e-6.
    High,
    /// Products of 16-bit floats.
    Medium,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Precision; 3] = [Precision::Highest, Precision::High, Precision::Medium];

    /// What contractions on a target are if this is asked for, and why they are not this.
    pub const fn on(self, _: crate::Target) -> (Precision, Option<&'static str>) {
        match self {
            Precision::Highest => (Precision::Highest, None),
            Precision::High | Precision::Medium => {
                let reason = "no kernel of any target gives up exactness for speed yet";
                (Precision::Highest, Some(reason))
            }
        }
    }

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::Highest => "highest",
            Precision::High => "high",
            Precision::Medium => "medium",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Precision, String> {
        let found = Precision::ALL.into_iter().find(|p| p.name() == text);
        found.ok_or_else(|| {
            let names = Precision::ALL.map(Precision::name).join(", ");
            format!("no precision is named {text:?}; there are {names}")
        })
    }
}
