//! Every operator of the table, changed: another attribute changes the result, in the reference
//! and in compiled code alike, or is refused; operands that do not fit are refused by an error that
//! names the operator. Nothing panics, and no attribute is ignored.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use alula_ir::{Attr, AttrDefault, AttrKind, AttrSpec, Graph, HostValue, OpDef, parse};
use alula_lower::cluster::Strategy;
use alula_ops::{evaluate, registry};
use alula_tensor::{DType, Dim, Symbol, TensorType, ValueType};
use alula_testkit::SplitMix64;
use alula_tests::backends::Devices;
use alula_tests::differential::{Checked, Source, Stage, Target, check, references};
use alula_tests::random::{Case, Draw, draw};
use alula_tests::rebuild::{Change, rebuild};

/// Attributes whose change no result shows, each with the reason.
const INERT: &[(&str, &str, &str)] = &[
    (
        "topk",
        "sorted",
        "without it any order will do, and the sorted one is one",
    ),
    (
        "sequence_empty",
        "rank",
        "what is known of elements to come; with one of another rank, nothing is",
    ),
];

/// Inputs that each changed graph runs on.
const SEEDS: u64 = 5;

/// Stages that must honour what the reference honours.
const STAGES: [Stage; 2] = [
    Stage {
        source: Source::Plain,
        strategy: Strategy::None,
        target: Target::Cpu(1),
    },
    Stage {
        source: Source::Optimized,
        strategy: Strategy::Auto,
        target: Target::Cpu(1),
    },
];

fn examples(op: &OpDef) -> Vec<Graph> {
    let parsed = |text: &&str| parse(text, registry(), &|_| None).expect("examples parse");
    op.examples.iter().map(parsed).collect()
}

/// Inputs of a graph, from a seed; symbols are 3.
fn inputs(graph: &Graph, seed: u64) -> Option<Vec<HostValue>> {
    let mut random = SplitMix64::new(seed);
    let mut input = |id: &alula_ir::ValueId| {
        let ty = graph.ty(*id).as_tensor()?;
        let shape = ty.shape.iter().map(|dim| {
            let extent = dim.eval(&|_: &Symbol| Some(3)).ok()?;
            usize::try_from(extent).ok()
        });
        let shape: Vec<usize> = shape.collect::<Option<_>>()?;
        if ty.dtype == DType::String {
            let count = shape.iter().product();
            let words = (0..count).map(|_| ["a", "b", ""][random.index(3)].to_owned());
            let tensor = alula_tensor::Tensor::from_strings(&shape, words.collect());
            return tensor.ok().map(Into::into);
        }
        let from = match Draw::of(ty.dtype) {
            // Counts, lengths and positions among them.
            Draw::Ints(..) if seed.is_multiple_of(2) => Draw::Ints(0, 1),
            from => from,
        };
        Some(draw(&mut random, ty.dtype, &shape, from).into())
    };
    graph.inputs().iter().map(&mut input).collect()
}

/// Other values of an attribute.
fn variants(spec: &AttrSpec, value: Option<&Attr>) -> Vec<Attr> {
    const WORDS: &[&str] = &[
        "none",
        "add",
        "mul",
        "max",
        "min",
        "constant",
        "edge",
        "reflect",
        "wrap",
        "nearest",
        "linear",
        "cubic",
        "half_pixel",
        "half_pixel_symmetric",
        "asymmetric",
        "align_corners",
        "pytorch_half_pixel",
        "tf_crop_and_resize",
        "floor",
        "ceil",
        "round_prefer_floor",
        "round_prefer_ceil",
        "no such word",
    ];
    let dim_changes = |dims: &[Dim]| -> Vec<Vec<Dim>> {
        let mut all = vec![dims.iter().rev().cloned().collect(), Vec::new()];
        for (k, dim) in dims.iter().enumerate() {
            for by in [1, -1, 2] {
                let mut other = dims.to_vec();
                other[k] = dim.clone() + Dim::new(by);
                all.push(other);
            }
        }
        all
    };
    let given: Vec<Attr> = match (spec.kind, value) {
        (AttrKind::Bool, Some(Attr::Bool(value))) => vec![Attr::Bool(!value)],
        (AttrKind::Bool, _) => vec![Attr::Bool(true), Attr::Bool(false)],
        (AttrKind::Int, value) => {
            let own = match value {
                Some(Attr::Int(value)) => *value,
                _ => 0,
            };
            [0, 1, 2, 3, -1, own + 1, own - 1, own * 2, own / 2]
                .into_iter()
                .map(Attr::Int)
                .collect()
        }
        (AttrKind::Float, value) => {
            let own = match value {
                Some(Attr::Float(value)) => *value,
                _ => 0.0,
            };
            [own * 2.0 + 0.3, own - 0.4, 0.0, 1.0, 0.9]
                .map(Attr::Float)
                .to_vec()
        }
        (AttrKind::Str, _) => WORDS
            .iter()
            .map(|word| Attr::Str((*word).to_owned()))
            .collect(),
        (AttrKind::DType, _) => DType::ALL.into_iter().map(Attr::DType).collect(),
        (AttrKind::Ints, value) => {
            let own: Vec<Dim> = match value {
                Some(Attr::Ints(all)) => all.iter().copied().map(Dim::new).collect(),
                _ => Vec::new(),
            };
            let mut all: Vec<Vec<i64>> = dim_changes(&own)
                .into_iter()
                .map(|dims| dims.iter().filter_map(Dim::as_const).collect())
                .collect();
            all.extend([vec![2], vec![2, 2], vec![0], vec![2, 1]]);
            all.into_iter().map(Attr::Ints).collect()
        }
        (AttrKind::Dims, value) => {
            let own = match value {
                Some(Attr::Dims(all)) => all.clone(),
                _ => Vec::new(),
            };
            let mut all = dim_changes(&own);
            all.extend([vec![Dim::new(1); 2], vec![Dim::new(1); 4]]);
            all.into_iter().map(Attr::Dims).collect()
        }
        (AttrKind::Floats, value) => {
            let own = match value {
                Some(Attr::Floats(all)) => all.clone(),
                _ => Vec::new(),
            };
            let scaled = own.iter().map(|x| x * 1.5 + 0.25).collect();
            let shorter = own.iter().skip(1).copied().collect();
            vec![
                Attr::Floats(scaled),
                Attr::Floats(shorter),
                Attr::Floats(vec![0.3; 4]),
            ]
        }
        (AttrKind::Strs, value) => {
            let own = match value {
                Some(Attr::Strs(all)) => all.clone(),
                _ => Vec::new(),
            };
            let with = |word: &str| Attr::Strs(vec![word.to_owned(); own.len().max(1)]);
            vec![
                with("relu"),
                with("tanh"),
                with("sigmoid"),
                with("no such word"),
            ]
        }
        (AttrKind::Graph, Some(Attr::Graph(graph))) => {
            // The sub-graph gives back what it takes.
            let mut other = (**graph).clone();
            let names: Vec<String> = other.outputs().iter().map(|(n, _)| n.clone()).collect();
            let same = |name: &String, k: usize| {
                let (_, id) = graph.outputs()[k].clone();
                let fits = graph
                    .inputs()
                    .iter()
                    .rev()
                    .find(|i| graph.ty(**i) == graph.ty(id));
                (name.clone(), fits.copied().unwrap_or(id))
            };
            let outputs: Vec<_> = names.iter().enumerate().map(|(k, n)| same(n, k)).collect();
            other.clear_outputs();
            for (name, id) in outputs {
                other.output(name, id);
            }
            vec![Attr::Graph(Box::new(other)), Attr::Graph(Box::default())]
        }
        (AttrKind::Graph | AttrKind::Tensor, _) => Vec::new(),
    };
    given
        .into_iter()
        .filter(|other| Some(other) != value)
        .collect()
}

/// What a change of an attribute came to, over all examples.
#[derive(Debug, Default)]
struct Seen {
    changed: usize,
    refused: usize,
    same: usize,
}

#[test]
fn no_attribute_is_ignored() {
    let devices = Devices::open();
    let (mut wrong, mut compiled) = (Vec::new(), 0);
    for op in registry().iter().filter(|op| !op.traits.random) {
        for spec in op.attrs {
            let mut seen = Seen::default();
            for graph in examples(op) {
                let outcome = change_attr(&graph, op, spec, &devices, &mut seen);
                match outcome {
                    Ok(ran) => compiled += ran,
                    Err(why) => wrong.push(why),
                }
            }
            // What is refused has not been ignored; some changes say the same, as an axis counted
            // from the end does.
            let has_effect = seen.changed > 0 || seen.refused > seen.same;
            let inert = INERT
                .iter()
                .any(|(o, a, _)| *o == op.name && *a == spec.name);
            if inert == has_effect {
                let list = if inert {
                    "is listed as inert"
                } else {
                    "changes nothing"
                };
                wrong.push(format!(
                    "{}: attribute {} {list}: {seen:?}",
                    op.name, spec.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        compiled > 300,
        "only {compiled} changed graphs were compiled"
    );
}

/// Changes an attribute in all ways; the number of changed graphs that were compiled.
fn change_attr(
    graph: &Graph,
    op: &'static OpDef,
    spec: &AttrSpec,
    devices: &Devices,
    seen: &mut Seen,
) -> Result<usize, String> {
    let own = graph
        .nodes()
        .into_iter()
        .map(|id| graph.node(id))
        .find(|node| node.op == op);
    let own = own.expect("an example uses its operator");
    let mut compiled = 0;
    for value in variants(spec, own.attrs.get(spec.name)) {
        let place = format!("{} {{{} = {value:?}}}", op.name, spec.name);
        let change = |node: &alula_ir::Node, mut attrs: alula_ir::Attrs| {
            if node.op == op {
                attrs.set(spec.name, value.clone());
            }
            attrs
        };
        let other = catch_unwind(AssertUnwindSafe(|| {
            let change = Change {
                attrs: Some(&change),
                ..Change::default()
            };
            rebuild(graph, &change)
        }));
        let other = match other.map_err(|_| format!("{place}: inference panics"))? {
            Ok(other) if !other.outputs().is_empty() => other,
            Ok(_) => continue,
            Err(error) => {
                seen.refused += 1;
                names(&error.to_string(), graph, &place)?;
                continue;
            }
        };
        let mut has_changed = false;
        for seed in 1..=SEEDS {
            let (Some(feed), Some(own_feed)) = (inputs(&other, seed), inputs(graph, seed)) else {
                continue;
            };
            let before = evaluate(graph, own_feed).map_err(|error| format!("{place}: {error}"))?;
            let after = catch_unwind(AssertUnwindSafe(|| evaluate(&other, feed.clone())));
            match after.map_err(|_| format!("{place}: the reference panics"))? {
                Ok(after) if same(&before, &after) => seen.same += 1,
                Ok(_) => {
                    seen.changed += 1;
                    has_changed = true;
                }
                Err(error) => {
                    seen.refused += 1;
                    names(&error.to_string(), graph, &place)?;
                }
            }
        }
        if has_changed && let Some(feed) = inputs(&other, 1) {
            compiled += agree(&other, feed, devices, &place)?;
        }
    }
    Ok(compiled)
}

/// Whether outputs are the same, NaN being equal to NaN.
fn same(a: &[HostValue], b: &[HostValue]) -> bool {
    let one = |a: &HostValue, b: &HostValue| match (a.as_tensor(), b.as_tensor()) {
        (Some(a), Some(b)) => {
            a.ty() == b.ty() && a.bytes() == b.bytes() && {
                a.dtype() != DType::String || a.strings() == b.strings()
            }
        }
        _ => a == b,
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| one(a, b))
}

/// An error must name an operator of the graph.
fn names(error: &str, graph: &Graph, place: &str) -> Result<(), String> {
    let mut nodes = graph.nodes().into_iter();
    match nodes.any(|id| error.contains(graph.node(id).op.name)) {
        true => Ok(()),
        false => Err(format!("{place}: the error names no operator: {error}")),
    }
}

/// Compiled code gives what the reference gives, or the graph is refused by name.
fn agree(
    graph: &Graph,
    feed: Vec<HostValue>,
    devices: &Devices,
    place: &str,
) -> Result<usize, String> {
    let case = Case {
        graph: graph.clone(),
        feeds: vec![feed],
    };
    let expected = references(&case);
    for stage in STAGES {
        match check(&case, &expected, stage, devices) {
            Ok(Checked::Right(_)) => {}
            Ok(other) => return Err(format!("{place}: {other:?}")),
            // A symbol that was taken to be a known extent, and is not: every run checks that.
            Err(failure) if failure.kind == "run" && failure.message.contains("to be equal") => {}
            Err(failure) if failure.kind == "lower" || failure.kind == "compile" => {
                if !failure.message.contains("not supported") {
                    return Err(format!("{place}: {}", failure.message));
                }
            }
            Err(failure) => {
                let text = case.graph.to_string();
                return Err(format!(
                    "{place}: {}: {}\n{text}",
                    failure.kind, failure.message
                ));
            }
        }
    }
    Ok(1)
}

#[test]
fn attributes_that_are_missing_unknown_or_of_another_kind_are_refused() {
    let mut wrong = Vec::new();
    for op in registry().iter() {
        let graph = &examples(op)[0];
        let mut refuse = |what: &str, change: &dyn Fn(&mut alula_ir::Attrs)| {
            let change = |node: &alula_ir::Node, mut attrs: alula_ir::Attrs| {
                if node.op == op {
                    change(&mut attrs);
                }
                attrs
            };
            let change = Change {
                attrs: Some(&change),
                ..Change::default()
            };
            match rebuild(graph, &change) {
                Ok(_) => wrong.push(format!("{}: {what} is taken", op.name)),
                Err(error) if !error.to_string().contains(op.name) => {
                    wrong.push(format!("{}: {what}: {error}", op.name));
                }
                Err(_) => {}
            }
        };
        refuse("an unknown attribute", &|attrs| {
            attrs.set("no_such_attribute", 1_i64);
        });
        for spec in op.attrs {
            let name = spec.name;
            if spec.default == AttrDefault::Required {
                refuse(&format!("a missing {name}"), &|attrs| {
                    attrs.remove(name);
                });
            }
            if spec.kind != AttrKind::Floats {
                refuse(&format!("a {name} of floats"), &|attrs| {
                    attrs.set(name, vec![0.5, 2.0]);
                });
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn too_few_and_too_many_operands_are_refused() {
    let mut wrong = Vec::new();
    for op in registry().iter() {
        let (least, most) = op.arity();
        for graph in examples(op) {
            let mut refuse = |what: &str, count: usize| {
                let change = |node: &alula_ir::Node, mut operands: Vec<_>| {
                    if node.op == op {
                        let first = operands.first().copied().flatten();
                        let any = first.or_else(|| graph.inputs().first().copied());
                        operands.resize(count, any);
                    }
                    operands
                };
                let change = Change {
                    operands: Some(&change),
                    ..Change::default()
                };
                match rebuild(&graph, &change) {
                    Ok(_) => wrong.push(format!("{}: {what} operands are taken", op.name)),
                    Err(error) if !error.to_string().contains(op.name) => {
                        wrong.push(format!("{}: {what} operands: {error}", op.name));
                    }
                    Err(_) => {}
                }
            };
            if least > 0 {
                refuse("too few", least - 1);
            }
            if let Some(most) = most
                && !graph.inputs().is_empty()
            {
                refuse("too many", most + 1);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every input of every example as another dtype and with other ranks: a result that compiled code
/// agrees with, or an error that names an operator of the graph.
#[test]
fn operands_of_other_types_are_computed_or_refused() {
    let devices = Devices::open();
    let mut wrong = Vec::new();
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    for op in registry().iter().filter(|op| !op.traits.random) {
        for graph in examples(op) {
            for position in 0..graph.inputs().len() {
                for number in 0..RETYPINGS {
                    let place = format!("{}, input {position}, retyping {number}", op.name);
                    let retype = |at: usize, ty: &ValueType| match (at == position, ty) {
                        (true, ValueType::Tensor(ty)) => retyped(ty, number).into(),
                        _ => ty.clone(),
                    };
                    let change = Change {
                        input: Some(&retype),
                        ..Change::default()
                    };
                    match catch_unwind(AssertUnwindSafe(|| {
                        retry(&graph, &change, &devices, &place)
                    })) {
                        Ok(Ok(ran)) => *taken.entry(op.name).or_default() += ran,
                        Ok(Err(why)) => wrong.push(why),
                        Err(_) => wrong.push(format!("{place}: panics")),
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        taken.len() > 60,
        "only {} operators took another type",
        taken.len()
    );
}

const RETYPINGS: usize = 10;

fn retyped(ty: &TensorType, number: usize) -> TensorType {
    const DTYPES: [DType; 6] = [
        DType::Bool,
        DType::I64,
        DType::F32,
        DType::U8,
        DType::F16,
        DType::String,
    ];
    let mut other = ty.clone();
    match number {
        0..6 => other.dtype = DTYPES[number],
        6 => other.shape.insert(0, Dim::new(2)),
        7 => other.shape.clear(),
        8 => {
            other.shape.pop();
        }
        _ => {
            let known = other
                .shape
                .iter_mut()
                .filter(|dim| dim.as_const().is_some());
            known.for_each(|dim| *dim = dim.clone() + Dim::new(1));
        }
    }
    other
}

fn retry(
    graph: &Graph,
    change: &Change<'_>,
    devices: &Devices,
    place: &str,
) -> Result<usize, String> {
    let is_named = |error: &str| names(error, graph, place).map(|()| 0);
    let other = match rebuild(graph, change) {
        Ok(other) => other,
        Err(error) => return is_named(&error.to_string()),
    };
    other
        .verify()
        .map_err(|errors| format!("{place}: {errors:?}"))?;
    let Some(feed) = inputs(&other, 1) else {
        return Ok(0);
    };
    if let Err(error) = evaluate(&other, feed.clone()) {
        return is_named(&error.to_string());
    }
    agree(&other, feed, devices, place)
}
