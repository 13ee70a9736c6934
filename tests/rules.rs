//! Every rewrite rule on the cases of its test file, `rules/<set>/<rule>.ir`.
//!
//! A case is a graph; its expectation says how often the rule was applied, why it was not where it
//! nearly was, and what the graph became. Besides, every result must verify, print and parse back,
//! and compute what the case computes: on generated inputs with all symbolic dims 1, then 3, then
//! each another, and for exact rules on edge values, too. A rule without a case that it changes
//! and one that it leaves alone fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use alula_ir::{Graph, HostValue, parse};
use alula_ops::{evaluate, registry};
use alula_opt::{Numerics, Options, all_rules, apply_rule, sets};
use alula_tensor::{DType, DTypeClass, Scalar, Symbol, Tensor};
use alula_testkit::filetest::{self, TestFile};
use alula_testkit::random::SplitMix64;
use alula_testkit::tolerance::{Class, Report, compare};
use alula_testkit::values::{Domain, floats, integers};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let mut trials = filetest::trials(&folder, stage);
    // While expectations are written, there is nothing to look for in them.
    let is_bless = std::env::var_os("BLESS").is_some();
    for (set, rules) in sets().filter(|_| !is_bless) {
        for rule in rules {
            let path = folder.join(set).join(format!("{}.ir", rule.name));
            trials.push(Trial::test(
                format!("{set}/{}::has_both_kinds", rule.name),
                move || Ok(has_both_kinds(&path)?),
            ));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A rule has a case that it changes and one that it leaves alone.
fn has_both_kinds(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file = TestFile::parse(&text).map_err(|error| error.to_string())?;
    let outputs: Vec<String> = file
        .cases
        .into_iter()
        .filter_map(|case| case.expected?.ok())
        .collect();
    let leaves_alone = |output: &&String| output.starts_with("; not applied");
    if !outputs.iter().any(|output| leaves_alone(&output)) {
        return Err("no case is left alone".to_owned());
    }
    if outputs.iter().all(|output| leaves_alone(&output)) {
        return Err("no case is changed".to_owned());
    }
    Ok(())
}

/// Applies the rule that the file names, checks the result, and describes it.
fn stage(stage: &str, input: &str) -> Result<String, String> {
    let name = stage
        .strip_prefix("rule ")
        .ok_or("the stage of these files is `rule NAME`")?;
    let rule = all_rules().find(|rule| rule.name == name);
    let rule = rule.ok_or_else(|| format!("there is no rule {name}"))?;
    let before = parse(input, registry(), &|_| None).map_err(|error| error.to_string())?;
    let mut after = before.clone();
    let options = Options {
        verify: true,
        allow_approximate: true,
        ..Options::default()
    };
    let report = apply_rule(&mut after, name, &options).map_err(|error| error.to_string())?;
    if report.is_incomplete {
        return Err("the rule is applied without end".to_owned());
    }
    let text = after.to_string();
    let again = parse(&text, registry(), &|_| None).map_err(|error| format!("{error}\n{text}"))?;
    if again.to_string() != text {
        return Err(format!(
            "the result does not print as it parses:\n{text}{again}"
        ));
    }
    check_values(&before, &after, rule.numerics).map_err(|reason| format!("{reason}\n{text}"))?;
    let mut described = match report.total_fires() {
        0 => "; not applied\n".to_owned(),
        1 => "; applied once\n".to_owned(),
        times => format!("; applied {times} times\n"),
    };
    for miss in &report.near_misses {
        described.push_str(&format!("; not at {}: {}\n", miss.node, miss.reason));
    }
    Ok(described + &text)
}

/// Both graphs give the same outputs.
fn check_values(before: &Graph, after: &Graph, numerics: Numerics) -> Result<(), String> {
    let symbols: BTreeSet<Symbol> = before
        .inputs()
        .iter()
        .filter_map(|id| before.ty(*id).as_tensor())
        .flat_map(|ty| {
            let mut found = BTreeSet::new();
            ty.shape
                .iter()
                .for_each(|dim| dim.collect_symbols(&mut found));
            found
        })
        .collect();
    let mut ran = 0;
    for binding in 0..3_i64 {
        let extents: BTreeMap<Symbol, i64> = symbols
            .iter()
            .enumerate()
            .map(|(k, symbol)| (symbol.clone(), [1, 3, 2 + k as i64][binding as usize]))
            .collect();
        for domain in [Domain::Ordinary, Domain::Positive, Domain::Edges] {
            if domain == Domain::Edges && numerics != Numerics::Exact {
                continue;
            }
            let mut random = SplitMix64::new(7 + binding as u64);
            let inputs = inputs(before, &extents, domain, &mut random)?;
            // Extents may contradict the graph; then it says so before and after.
            let Ok(expected) = evaluate(before, inputs.clone()) else {
                continue;
            };
            let actual = evaluate(after, inputs).map_err(|error| error.to_string())?;
            for (k, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
                compare_values(expected, actual, numerics)
                    .map_err(|reason| format!("output {k} with {extents:?}: {reason}"))?;
            }
            ran += 1;
        }
    }
    if ran == 0 {
        Err("the case evaluates with no extents".to_owned())
    } else {
        Ok(())
    }
}

fn inputs(
    graph: &Graph,
    extents: &BTreeMap<Symbol, i64>,
    domain: Domain,
    random: &mut SplitMix64,
) -> Result<Vec<HostValue>, String> {
    graph
        .inputs()
        .iter()
        .map(|id| {
            let ty = graph.ty(*id).as_tensor().ok_or("inputs are tensors")?;
            let bind = |symbol: &Symbol| extents.get(symbol).copied();
            let shape: Vec<usize> = ty
                .shape
                .iter()
                .map(|dim| dim.eval(&bind).map(|extent| extent as usize))
                .collect::<Result<_, _>>()
                .map_err(|error| error.to_string())?;
            let tensor = tensor(ty.dtype, &shape, domain, random);
            Ok(tensor.map_err(|error| error.to_string())?.into())
        })
        .collect()
}

fn tensor(
    dtype: DType,
    shape: &[usize],
    domain: Domain,
    random: &mut SplitMix64,
) -> Result<Tensor, alula_tensor::TensorError> {
    let count = shape.iter().product();
    let edges = domain == Domain::Edges;
    let values: Vec<Scalar> = match dtype.class() {
        DTypeClass::Float => floats(random, count, domain, dtype)
            .into_iter()
            .map(Scalar::Float)
            .collect(),
        DTypeClass::Bool => (0..count)
            .map(|_| Scalar::Int(random.below(2).into()))
            .collect(),
        DTypeClass::Signed | DTypeClass::Unsigned | DTypeClass::String => {
            let is_signed = dtype.class() == DTypeClass::Signed;
            let values = integers(random, count, dtype.bits(), is_signed, edges);
            values.into_iter().map(Scalar::Int).collect()
        }
    };
    Tensor::from_scalars(dtype, shape, &values)
}

fn compare_values(
    expected: &HostValue,
    actual: &HostValue,
    numerics: Numerics,
) -> Result<(), String> {
    let (Some(expected), Some(actual)) = (expected.as_tensor(), actual.as_tensor()) else {
        return if expected == actual {
            Ok(())
        } else {
            Err("values differ".to_owned())
        };
    };
    if expected.ty() != actual.ty() {
        return Err(format!("{} became {}", expected.ty(), actual.ty()));
    }
    if !expected.dtype().is_float() {
        let is_same = expected.bytes() == actual.bytes() && expected.strings() == actual.strings();
        return if is_same {
            Ok(())
        } else {
            Err("elements differ".to_owned())
        };
    }
    let class = match numerics {
        Numerics::Exact => Class::Exact,
        Numerics::Rounding => Class::Normalization,
        Numerics::Approximate => Class::Model,
    };
    let report: Report = compare(
        &expected.to_f64s(),
        &actual.to_f64s(),
        class,
        expected.dtype(),
    );
    if report.is_ok() {
        Ok(())
    } else {
        Err(report.to_string())
    }
}
