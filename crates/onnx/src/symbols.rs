//! Names of symbolic dims: the model's spelling, and ours.
//!
//! Our text knows letters, digits and `_` only. Different spellings get different names, and an
//! extent that the model spells as an expression of dims that are extents by themselves is that
//! expression.

use std::collections::{BTreeMap, BTreeSet};

use alula_tensor::{Dim, Symbol};

use crate::proto::tensor_shape_proto::dimension::Value as DimValue;
use crate::proto::type_proto::Value;
use crate::proto::{TypeProto, ValueInfoProto};

/// Dims fixed by the user, by the model's spelling or ours.
pub(crate) type FixedDims = BTreeMap<String, i64>;

/// The symbolic dims of a model's inputs.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// What each spelling stands for.
    spelled: BTreeMap<String, Dim>,
    /// What each axis without a spelling stands for, by input and axis.
    unnamed: BTreeMap<(String, usize), Dim>,
}

impl Symbols {
    /// Names the dims of a model's inputs.
    ///
    /// # Errors
    /// The reason, when a dim is fixed that there is none of.
    pub(crate) fn of(inputs: &[ValueInfoProto], fixed: &FixedDims) -> Result<Symbols, String> {
        let (mut spellings, mut unnamed) = (Vec::new(), Vec::new());
        for info in inputs {
            let Some(ty) = &info.r#type else { continue };
            for (axis, value) in dims(ty).into_iter().enumerate() {
                match value {
                    Some(DimValue::DimParam(param)) if !param.is_empty() => {
                        spellings.push(param.as_str());
                    }
                    Some(DimValue::DimValue(extent)) if *extent >= 0 => {}
                    _ => unnamed.push((info.name(), axis)),
                }
            }
        }
        // Spellings that are names as they are keep them.
        let (plain, others): (Vec<_>, Vec<_>) = spellings
            .iter()
            .partition(|&&spelling| legal(spelling) == spelling);
        let mut names = Names::default();
        for spelling in plain.into_iter().chain(others) {
            names.of_spelling(spelling);
        }
        let mut symbols = Symbols::default();
        let mut meant = BTreeSet::new();
        for &spelling in &spellings {
            let dim = match expression(spelling, &spellings) {
                Some(dim) => dim.substitute(&|symbol| {
                    let (spelling, name) = names.0.get_key_value(symbol.name())?;
                    Some(named(&[spelling.as_str(), name.as_str()], fixed, &mut None))
                }),
                None => {
                    let name = names.of_spelling(spelling);
                    named(&[spelling, &name], fixed, &mut Some(&mut meant))
                }
            };
            symbols.spelled.insert(spelling.to_owned(), dim);
        }
        for (input, axis) in unnamed {
            let name = names.fresh(&format!("{input}_{axis}"));
            let dim = named(&[name.as_str()], fixed, &mut Some(&mut meant));
            symbols.unnamed.insert((input.to_owned(), axis), dim);
        }
        match fixed.keys().find(|name| !meant.contains(*name)) {
            None => Ok(symbols),
            Some(name) => Err(symbols.unknown(name, &names)),
        }
    }

    fn unknown(&self, name: &str, names: &Names) -> String {
        if self.spelled.contains_key(name) {
            return format!("dim {name:?} is made of others: fix those");
        }
        let mut known: Vec<String> = names.0.keys().map(|name| format!("{name:?}")).collect();
        known.extend(self.unnamed.values().filter_map(|dim| {
            let symbol = dim.as_symbol()?;
            Some(format!("{:?}", symbol.name()))
        }));
        match known.as_slice() {
            [] => format!("there is no dim {name:?}: the inputs have no symbolic dims"),
            known => format!(
                "there is no dim {name:?}: those of the inputs are {}",
                known.join(", ")
            ),
        }
    }

    /// The dim that an extent of an input is.
    pub(crate) fn dim(&self, input: &str, axis: usize, extent: Option<&DimValue>) -> Dim {
        let known = match extent {
            Some(DimValue::DimValue(extent)) if *extent >= 0 => return Dim::new(*extent),
            Some(DimValue::DimParam(param)) if !param.is_empty() => self.spelled.get(param),
            _ => self.unnamed.get(&(input.to_owned(), axis)),
        };
        known.cloned().expect("every dim of the inputs was named")
    }
}

/// The extents of a tensor type, or of what a sequence or an optional holds.
fn dims(ty: &TypeProto) -> Vec<Option<&DimValue>> {
    match &ty.value {
        Some(Value::TensorType(tensor)) => {
            let shape = tensor.shape.iter().flat_map(|shape| &shape.dim);
            shape.map(|dim| dim.value.as_ref()).collect()
        }
        Some(Value::SequenceType(sequence)) => {
            sequence.elem_type.as_deref().map(dims).unwrap_or_default()
        }
        Some(Value::OptionalType(optional)) => {
            optional.elem_type.as_deref().map(dims).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// The symbol of these names, or what one of them is fixed to.
fn named(names: &[&str], fixed: &FixedDims, meant: &mut Option<&mut BTreeSet<String>>) -> Dim {
    for name in names {
        if let Some(extent) = fixed.get(*name) {
            if let Some(meant) = meant {
                meant.insert((*name).to_owned());
            }
            return Dim::new(*extent);
        }
    }
    Dim::symbol(Symbol::new(names.last().expect("a symbol has a name")))
}

/// What a spelling computes from other spellings, each of which is the extent of some axis.
fn expression(spelling: &str, spellings: &[&str]) -> Option<Dim> {
    let dim: Dim = spelling.parse().ok()?;
    let mut symbols = BTreeSet::new();
    dim.collect_symbols(&mut symbols);
    let is_compound = dim.as_symbol().is_none();
    let are_extents = symbols
        .iter()
        .all(|symbol| spellings.contains(&symbol.name()));
    (is_compound && !symbols.is_empty() && are_extents).then_some(dim)
}

/// Our names, by spelling; no two are the same.
#[derive(Default)]
struct Names(BTreeMap<String, String>, BTreeSet<String>);

impl Names {
    fn of_spelling(&mut self, spelling: &str) -> String {
        if let Some(name) = self.0.get(spelling) {
            return name.clone();
        }
        let name = self.fresh(spelling);
        self.0.insert(spelling.to_owned(), name.clone());
        name
    }

    /// A name like this one that nothing has yet.
    fn fresh(&mut self, like: &str) -> String {
        let clean = legal(like);
        let mut name = clean.clone();
        let mut number = 2;
        while !self.1.insert(name.clone()) {
            name = format!("{clean}_{number}");
            number += 1;
        }
        name
    }
}

/// A name in our text: letters, digits and `_`, not beginning with a digit.
fn legal(param: &str) -> String {
    let clean: String = param
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    match clean.as_str() {
        "floordiv" | "mod" | "max" | "min" => format!("_{clean}"),
        "acc" => format!("_{clean}"),
        _ if clean.starts_with(|c: char| c.is_ascii_digit()) => format!("_{clean}"),
        // Variables and lines of definitions.
        _ if clean.strip_prefix(['i', 'e']).is_some_and(is_number) => format!("_{clean}"),
        _ => clean,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{TensorShapeProto, tensor_shape_proto, type_proto};

    /// Inputs `x0`, `x1` and so on; an empty spelling is an extent without one.
    fn inputs(shapes: &[&[&str]]) -> Vec<ValueInfoProto> {
        let dim = |spelling: &&str| tensor_shape_proto::Dimension {
            value: Some(DimValue::DimParam((*spelling).to_owned())),
            ..tensor_shape_proto::Dimension::default()
        };
        let input = |(position, shape): (usize, &&[&str])| ValueInfoProto {
            name: Some(format!("x{position}")),
            r#type: Some(TypeProto {
                value: Some(Value::TensorType(type_proto::Tensor {
                    elem_type: Some(1),
                    shape: Some(TensorShapeProto {
                        dim: shape.iter().map(dim).collect(),
                    }),
                })),
                ..TypeProto::default()
            }),
            ..ValueInfoProto::default()
        };
        shapes.iter().enumerate().map(input).collect()
    }

    /// The dims of all inputs, in order.
    fn check(shapes: &[&[&str]], fixed: &[(&str, i64)], expected: Result<&[&str], &str>) {
        let inputs = inputs(shapes);
        let fixed = fixed
            .iter()
            .map(|(name, extent)| ((*name).to_owned(), *extent));
        let symbols = Symbols::of(&inputs, &fixed.collect());
        let texts = symbols.map(|symbols| {
            let mut texts = Vec::new();
            for info in &inputs {
                let ty = info.r#type.as_ref().expect("inputs have types");
                for (axis, value) in dims(ty).into_iter().enumerate() {
                    texts.push(symbols.dim(info.name(), axis, value).to_string());
                }
            }
            texts
        });
        let expected = expected.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(texts, expected.map_err(ToOwned::to_owned));
    }

    #[test]
    fn different_spellings_are_different_symbols() {
        check(&[&["n.x", "n_x"]], &[], Ok(&["n_x_2", "n_x"]));
        check(&[&["", "x0_0"]], &[], Ok(&["x0_0_2", "x0_0"]));
        check(&[&["a b", "a b", "a.b"]], &[], Ok(&["a_b", "a_b", "a_b_2"]));
        check(&[&["2d", "max", "$e0"]], &[], Ok(&["_2d", "_max", "_e0"]));
        check(&[&["i0", "e", "acc"]], &[], Ok(&["_i0", "e", "_acc"]));
    }

    #[test]
    fn expressions_of_extents_are_expressions() {
        let shapes: &[&[&str]] = &[&["past"], &["s.q"], &["past + s.q", "2*past"]];
        check(shapes, &[], Ok(&["past", "s_q", "s_q + past", "2*past"]));
        check(shapes, &[("past", 3)], Ok(&["3", "s_q", "s_q + 3", "6"]));
        check(
            shapes,
            &[("s_q", 3)],
            Ok(&["past", "3", "past + 3", "2*past"]),
        );
        let reason = "dim \"past + s.q\" is made of others: fix those";
        check(shapes, &[("past + s.q", 3)], Err(reason));
    }

    #[test]
    fn expressions_of_what_is_no_extent_are_names() {
        check(&[&["past + seq"]], &[], Ok(&["past___seq"]));
        check(&[&["past + seq"]], &[("past + seq", 3)], Ok(&["3"]));
        check(
            &[&["batch-size", "batch"]],
            &[],
            Ok(&["batch_size", "batch"]),
        );
    }

    #[test]
    fn unknown_names_are_refused() {
        check(&[&["n.x"]], &[("n.x", 3)], Ok(&["3"]));
        check(&[&["n.x"]], &[("n_x", 3)], Ok(&["3"]));
        check(&[&[""]], &[("x0_0", 3)], Ok(&["3"]));
        let reason = "there is no dim \"m\": those of the inputs are \"n.x\", \"x0_1\"";
        check(&[&["n.x", ""]], &[("m", 3)], Err(reason));
        let reason = "there is no dim \"m\": the inputs have no symbolic dims";
        check(&[], &[("m", 3)], Err(reason));
    }
}
