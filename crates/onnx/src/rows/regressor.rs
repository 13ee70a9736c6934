//! `TreeEnsembleRegressor`, which `TreeEnsemble` replaces: nodes go by their tree and a number in
//! it, leaves are nodes, and a leaf may speak of several targets.

use std::collections::BTreeMap;

use alula_ops::elementwise::choice::SELECT;
use alula_ops::reduce::{REDUCE_MAX, REDUCE_MIN, REDUCE_SUM};
use alula_tensor::{DType, Dim, Scalar, Tensor};

use super::compose::one_of;
use super::ml::{post_transform, row};
use super::trees::Forest;
use super::{Built, Row, RowCtx, RowError};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "TreeEnsembleRegressor",
    &[1, 3],
    &[
        "aggregate_function",
        "base_values",
        "base_values_as_tensor",
        "n_targets",
        "nodes_falsenodeids",
        "nodes_featureids",
        // How often nodes are visited: hints for engines.
        "nodes_hitrates",
        "nodes_hitrates_as_tensor",
        "nodes_missing_value_tracks_true",
        "nodes_modes",
        "nodes_nodeids",
        "nodes_treeids",
        "nodes_truenodeids",
        "nodes_values",
        "nodes_values_as_tensor",
        "post_transform",
        "target_ids",
        "target_nodeids",
        "target_treeids",
        "target_weights",
        "target_weights_as_tensor",
    ],
    tree_ensemble_regressor,
)];

const MODES: [&str; 7] = [
    "BRANCH_LEQ",
    "BRANCH_LT",
    "BRANCH_GTE",
    "BRANCH_GT",
    "BRANCH_EQ",
    "BRANCH_NEQ",
    "LEAF",
];
const LEAF: i64 = 6;

fn invalid(reason: impl Into<String>) -> RowError {
    RowError::Invalid(reason.into())
}

/// A list of integers, as long as there are nodes.
fn ints(ctx: &RowCtx<'_, '_>, name: &str, count: usize) -> Result<Vec<i64>, RowError> {
    let list = ctx.ints(name).unwrap_or_default();
    match list.len() == count {
        true => Ok(list),
        false => Err(invalid(format!(
            "attribute {name} has {} elements, not {count}",
            list.len()
        ))),
    }
}

/// A list of floats, which newer versions may have as a tensor.
fn floats(ctx: &RowCtx<'_, '_>, name: &str) -> Result<(DType, Vec<f64>), RowError> {
    match ctx.tensor(&format!("{name}_as_tensor"))? {
        Some(tensor) => Ok((tensor.dtype(), tensor.to_f64s())),
        None => Ok((DType::F32, ctx.floats(name).unwrap_or_default())),
    }
}

/// The trees, and the place of each node by its tree and number: inner nodes come first.
fn forest(ctx: &RowCtx<'_, '_>) -> Result<(Forest, BTreeMap<(i64, i64), i64>), RowError> {
    let trees = ctx.ints("nodes_treeids").unwrap_or_default();
    let all = trees.len();
    let list = |name: &str| ints(ctx, name, all);
    let numbers = list("nodes_nodeids")?;
    let (yes, no) = (list("nodes_truenodeids")?, list("nodes_falsenodeids")?);
    let features = list("nodes_featureids")?;
    let missing = match ctx.has_attr("nodes_missing_value_tracks_true") {
        true => list("nodes_missing_value_tracks_true")?,
        false => vec![0; all],
    };
    let (dtype, splits) = floats(ctx, "nodes_values")?;
    let words = ctx.strs("nodes_modes").unwrap_or_default();
    if words.len() != all || splits.len() != all || all == 0 {
        return Err(invalid(format!("lists of {all} nodes differ in length")));
    }
    let modes = words.iter().map(|word| one_of("nodes_modes", word, &MODES));
    let modes: Vec<i64> = modes
        .map(|mode| mode.map(|mode| mode as i64))
        .collect::<Result<_, _>>()?;
    let (inner, leaves): (Vec<usize>, Vec<usize>) = (0..all).partition(|at| modes[*at] != LEAF);
    let mut places = BTreeMap::new();
    for (place, at) in inner.iter().chain(&leaves).enumerate() {
        let node = (trees[*at], numbers[*at]);
        if places.insert(node, place as i64).is_some() {
            return Err(invalid(format!("two nodes {node:?}")));
        }
    }
    let branch = |ids: &[i64]| -> Result<Vec<i64>, RowError> {
        let led = inner.iter().map(|at| {
            let place = places.get(&(trees[*at], ids[*at])).copied();
            place.ok_or_else(|| invalid("nodes lead nowhere"))
        });
        let own = inner.len()..all;
        led.chain(own.map(|place| Ok(place as i64))).collect()
    };
    let (on_true, on_false) = (branch(&yes)?, branch(&no)?);
    // A tree begins with the node to which none leads.
    let led = |place: &i64| {
        let inner = 0..inner.len();
        inner
            .into_iter()
            .any(|at| on_true[at] == *place || on_false[at] == *place)
    };
    let begin = (0..all).map(|at| places[&(trees[at], numbers[at])]);
    let roots: Vec<i64> = begin.filter(|place| !led(place)).collect();
    let of_inner = |list: &[i64]| -> Vec<i64> {
        let inner = inner.iter().map(|at| list[*at]);
        inner.chain(leaves.iter().map(|_| 0)).collect()
    };
    let splits: Vec<Scalar> = inner
        .iter()
        .map(|at| splits[*at])
        .chain(leaves.iter().map(|_| 0.0))
        .map(Scalar::Float)
        .collect();
    let splits = Tensor::from_scalars(dtype, &[all], &splits);
    let mut forest = Forest {
        nodes: inner.len(),
        leaves: leaves.len(),
        roots,
        features: of_inner(&features),
        modes: of_inner(&modes),
        splits: splits.map_err(|error| invalid(error.to_string()))?,
        on_true,
        on_false,
        on_missing: of_inner(&missing),
        members: vec![Vec::new(); all],
        levels: 0,
    };
    forest.check()?;
    Ok((forest, places))
}

/// What each leaf says of each target, and whether it says anything.
fn said(
    ctx: &RowCtx<'_, '_>,
    forest: &Forest,
    places: &BTreeMap<(i64, i64), i64>,
    count: usize,
) -> Result<(Vec<f64>, Vec<bool>), RowError> {
    let targets = ctx.ints("target_ids").unwrap_or_default();
    let trees = ints(ctx, "target_treeids", targets.len())?;
    let numbers = ints(ctx, "target_nodeids", targets.len())?;
    let (_, weights) = floats(ctx, "target_weights")?;
    if weights.len() != targets.len() {
        return Err(invalid(format!(
            "{} weights of {} targets",
            weights.len(),
            targets.len()
        )));
    }
    let mut table = vec![0.0; forest.leaves * count];
    let mut says = vec![false; table.len()];
    for (at, target) in targets.iter().enumerate() {
        let place = places.get(&(trees[at], numbers[at])).copied();
        let leaf = place.and_then(|place| usize::try_from(place).ok()?.checked_sub(forest.nodes));
        let target = usize::try_from(*target)
            .ok()
            .filter(|target| *target < count);
        let (Some(leaf), Some(target)) = (leaf, target) else {
            return Err(invalid("a weight is of no leaf or of no target"));
        };
        table[leaf * count + target] += weights[at];
        says[leaf * count + target] = true;
    }
    Ok((table, says))
}

fn tree_ensemble_regressor(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let dtype = match ctx.ty(x)?.dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let mut x = ctx.cast(x, dtype)?;
    let ty = ctx.ty(x)?;
    match ty.rank() {
        1 => x = ctx.unsqueeze(x, 0)?,
        2 => {}
        _ => return Err(invalid(format!("features {ty}"))),
    }
    let count = usize::try_from(ctx.int_or("n_targets", 1)).unwrap_or(0);
    let (forest, places) = forest(ctx)?;
    let (weights, says) = said(ctx, &forest, &places, count)?;
    let leaves = forest.walk(ctx, x)?;
    let shape = [forest.leaves, count];
    let weights: Vec<Scalar> = weights.into_iter().map(Scalar::Float).collect();
    let weights = Tensor::from_scalars(dtype, &shape, &weights);
    let weights = ctx.constant(weights.map_err(|error| invalid(error.to_string()))?);
    // `[rows, trees, targets]`.
    let own = ctx.gather(weights, leaves, 0)?;
    let function = ctx.str_or("aggregate_function", "SUM");
    let words = ["SUM", "AVERAGE", "MIN", "MAX"];
    let mut y = match one_of("aggregate_function", &function, &words)? {
        function @ (0 | 1) => {
            let sum = ctx.reduce(&REDUCE_SUM, own, vec![1], false)?;
            let trees = forest.roots.len() as f64;
            ctx.times(sum, if function == 1 { 1.0 / trees } else { 1.0 })?
        }
        function => {
            let (op, least) = match function {
                2 => (&REDUCE_MIN, f64::INFINITY),
                _ => (&REDUCE_MAX, f64::NEG_INFINITY),
            };
            let says = Tensor::from_bools(&shape, &says);
            let says = ctx.constant(says.map_err(|error| invalid(error.to_string()))?);
            let says = ctx.gather(says, leaves, 0)?;
            let (least, zero) = (ctx.number(own, least)?, ctx.number(own, 0.0)?);
            let own = ctx.op(&SELECT, &[says, own, least])?;
            let best = ctx.reduce(op, own, vec![1], false)?;
            let is_said = ctx.reduce(&REDUCE_MAX, says, vec![1], false)?;
            ctx.select(is_said, best, zero)?
        }
    };
    let (_, base) = floats(ctx, "base_values")?;
    if !base.is_empty() {
        if base.len() != count {
            return Err(invalid(format!("{} base values", base.len())));
        }
        let base: Vec<Scalar> = base.into_iter().map(Scalar::Float).collect();
        let base = Tensor::from_scalars(dtype, &[count], &base);
        let base = ctx.constant(base.map_err(|error| invalid(error.to_string()))?);
        y = ctx.add(y, base)?;
    }
    let y = ctx.cast(y, DType::F32)?;
    let rows = ctx.ty(x)?.shape[0].clone();
    let y = ctx.view(y, vec![rows, Dim::from(count)])?;
    Ok(vec![post_transform(ctx, y)?])
}
