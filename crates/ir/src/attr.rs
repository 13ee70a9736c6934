//! Attributes of nodes: what is fixed when a graph is made.

use std::collections::BTreeMap;

use alula_tensor::{DType, Dim, Tensor};

use crate::Graph;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Str(String),
    /// A dtype.
    DType(DType),
    /// Integers.
    Ints(Vec<i64>),
    /// Floats.
    Floats(Vec<f64>),
    /// Strings.
    Strs(Vec<String>),
    /// Dims, which may be symbolic.
    Dims(Vec<Dim>),
    /// A constant tensor.
    Tensor(Tensor),
    /// A sub-graph. Everything that it uses from outside is passed as an operand.
    Graph(Box<Graph>),
}

/// The kind of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each variant is described by the `Attr` of the same name"
)]
pub enum AttrKind {
    Bool,
    Int,
    Float,
    Str,
    DType,
    Ints,
    Floats,
    Strs,
    Dims,
    Tensor,
    Graph,
}

/// What an absent attribute means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttrDefault {
    /// It must be present.
    Required,
    /// Absence has a meaning of its own, stated in the attribute's doc.
    Absent,
    /// `false` or `true`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Str(&'static str),
    /// Integers.
    Ints(&'static [i64]),
}

/// An attribute that an operator takes.
#[derive(Clone, Copy, Debug)]
pub struct AttrSpec {
    /// The name in text.
    pub name: &'static str,
    /// The kind of value.
    pub kind: AttrKind,
    /// What absence means.
    pub default: AttrDefault,
    /// One line on the meaning.
    pub doc: &'static str,
}

impl AttrSpec {
    /// An attribute that must be present.
    pub const fn required(name: &'static str, kind: AttrKind, doc: &'static str) -> AttrSpec {
        AttrSpec {
            name,
            kind,
            default: AttrDefault::Required,
            doc,
        }
    }

    /// An attribute that may be absent, which has a meaning of its own.
    pub const fn optional(name: &'static str, kind: AttrKind, doc: &'static str) -> AttrSpec {
        AttrSpec {
            name,
            kind,
            default: AttrDefault::Absent,
            doc,
        }
    }

    /// An integer with a default.
    pub const fn int(name: &'static str, default: i64, doc: &'static str) -> AttrSpec {
        AttrSpec {
            name,
            kind: AttrKind::Int,
            default: AttrDefault::Int(default),
            doc,
        }
    }

    /// A float with a default.
    pub const fn float(name: &'static str, default: f64, doc: &'static str) -> AttrSpec {
        AttrSpec {
            name,
            kind: AttrKind::Float,
            default: AttrDefault::Float(default),
            doc,
        }
    }

    /// A truth value with a default.
    pub const fn bool(name: &'static str, default: bool, doc: &'static str) -> AttrSpec {
        AttrSpec {
            name,
            kind: AttrKind::Bool,
            default: AttrDefault::Bool(default),
            doc,
        }
    }

    /// A string with a default.
    pub const fn str(name: &'static str, default: &'static str, doc: &'static str) -> AttrSpec {
        AttrSpec {
            name,
            kind: AttrKind::Str,
            default: AttrDefault::Str(default),
            doc,
        }
    }

    /// Integers that must be present.
    pub const fn ints(name: &'static str, doc: &'static str) -> AttrSpec {
        AttrSpec::required(name, AttrKind::Ints, doc)
    }

    /// The value that absence stands for, if it is a value.
    pub fn default_value(&self) -> Option<Attr> {
        match self.default {
            AttrDefault::Required | AttrDefault::Absent => None,
            AttrDefault::Bool(value) => Some(Attr::Bool(value)),
            AttrDefault::Int(value) => Some(Attr::Int(value)),
            AttrDefault::Float(value) => Some(Attr::Float(value)),
            AttrDefault::Str(value) => Some(Attr::Str(value.to_owned())),
            AttrDefault::Ints(value) => Some(Attr::Ints(value.to_vec())),
        }
    }
}

impl Attr {
    /// The kind of the value.
    pub const fn kind(&self) -> AttrKind {
        match self {
            Attr::Bool(_) => AttrKind::Bool,
            Attr::Int(_) => AttrKind::Int,
            Attr::Float(_) => AttrKind::Float,
            Attr::Str(_) => AttrKind::Str,
            Attr::DType(_) => AttrKind::DType,
            Attr::Ints(_) => AttrKind::Ints,
            Attr::Floats(_) => AttrKind::Floats,
            Attr::Strs(_) => AttrKind::Strs,
            Attr::Dims(_) => AttrKind::Dims,
            Attr::Tensor(_) => AttrKind::Tensor,
            Attr::Graph(_) => AttrKind::Graph,
        }
    }
}

impl From<&[i64]> for Attr {
    fn from(values: &[i64]) -> Attr {
        Attr::Ints(values.to_vec())
    }
}

macro_rules! from_value {
    ($($rust:ty => $kind:ident),* $(,)?) => {
        $(impl From<$rust> for Attr {
            fn from(value: $rust) -> Attr { Attr::$kind(value) }
        })*
    };
}

from_value! {
    bool => Bool, i64 => Int, f64 => Float, String => Str, DType => DType, Vec<i64> => Ints,
    Vec<f64> => Floats, Vec<String> => Strs, Vec<Dim> => Dims, Tensor => Tensor,
}

/// The attributes of a node, by name.
///
/// Reading accessors panic when the attribute is absent or of another kind: [`Graph::push`] has
/// checked every node against its [`crate::OpDef`], so that is a bug of the operator's row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attrs(BTreeMap<String, Attr>);

impl Attrs {
    /// No attributes.
    pub fn new() -> Attrs {
        Attrs::default()
    }

    /// The attributes with one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Attr>) -> Attrs {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds or replaces an attribute.
    pub fn set(&mut self, name: &str, value: impl Into<Attr>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Removes an attribute.
    pub fn remove(&mut self, name: &str) -> Option<Attr> {
        self.0.remove(name)
    }

    /// The attribute, if present.
    pub fn get(&self, name: &str) -> Option<&Attr> {
        self.0.get(name)
    }

    /// The attribute for changing, if present.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Attr> {
        self.0.get_mut(name)
    }

    /// Whether the attribute is present.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// All attributes in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attr)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident -> $out:ty { $pattern:pat => $value:expr })*) => {
        impl Attrs {
            $($(#[$doc])*
            #[track_caller]
            pub fn $name(&self, name: &str) -> $out {
                match self.get(name) {
                    Some($pattern) => $value,
                    other => panic!("attribute {name} is {other:?}, not {}", stringify!($name)),
                }
            })*
        }
    };
}

accessors! {
    /// A truth value.
    bool -> bool { Attr::Bool(value) => *value }
    /// An integer.
    int -> i64 { Attr::Int(value) => *value }
    /// A float.
    float -> f64 { Attr::Float(value) => *value }
    /// A string.
    str -> &str { Attr::Str(value) => value }
    /// A dtype.
    dtype -> DType { Attr::DType(value) => *value }
    /// Integers.
    ints -> &[i64] { Attr::Ints(value) => value }
    /// Floats.
    floats -> &[f64] { Attr::Floats(value) => value }
    /// Strings.
    strs -> &[String] { Attr::Strs(value) => value }
    /// Dims.
    dims -> &[Dim] { Attr::Dims(value) => value }
    /// A tensor.
    tensor -> &Tensor { Attr::Tensor(value) => value }
    /// A sub-graph.
    graph -> &Graph { Attr::Graph(value) => value }
}
