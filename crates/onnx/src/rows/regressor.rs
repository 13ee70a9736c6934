//! `TreeEnsembleRegressor`, which `TreeEnsemble` replaces: nodes go by their tree and a number in
//! it, leaves are nodes, and a leaf may speak of several targets. `TreeEnsembleClassifier` reads
//! its trees here, too.

use std::collections::BTreeMap;

use alula_ops::elementwise::choice::SELECT;
use alula_ops::reduce::{REDUCE_MAX, REDUCE_MIN, REDUCE_SUM};
use alula_tensor::{DType, Dim, Scalar, Tensor};

use super::compose::{Value, one_of};
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

pub(super) fn invalid(reason: impl Into<String>) -> RowError {
    RowError::Invalid(reason.into())
}

/// The numbers of each tree's and node's place: inner nodes come first.
pub(super) type Places = BTreeMap<(i64, i64), i64>;

/// A list of integers, as long as there are nodes.
pub(super) fn ints(ctx: &RowCtx<'_, '_>, name: &str, count: usize) -> Result<Vec<i64>, RowError> {
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
pub(super) fn floats(ctx: &RowCtx<'_, '_>, name: &str) -> Result<(DType, Vec<f64>), RowError> {
    match ctx.tensor(&format!("{name}_as_tensor"))? {
        Some(tensor) => Ok((tensor.dtype(), tensor.to_f64s())),
        None => Ok((DType::F32, ctx.floats(name).unwrap_or_default())),
    }
}

/// The trees, and the place of each node.
pub(super) fn forest(ctx: &RowCtx<'_, '_>) -> Result<(Forest, Places), RowError> {
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

/// What each leaf says of each of `count` targets or classes, and whether it says anything.
pub(super) fn said(
    ctx: &RowCtx<'_, '_>,
    what: &str,
    (forest, places): &(Forest, Places),
    count: usize,
) -> Result<(Vec<f64>, Vec<bool>), RowError> {
    let targets = ctx.ints(&format!("{what}_ids")).unwrap_or_default();
    let trees = ints(ctx, &format!("{what}_treeids"), targets.len())?;
    let numbers = ints(ctx, &format!("{what}_nodeids"), targets.len())?;
    let (_, weights) = floats(ctx, &format!("{what}_weights"))?;
    if weights.len() != targets.len() {
        return Err(invalid(format!(
            "{} weights of {} ids",
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
            return Err(invalid(format!("a weight is of no leaf or of no {what}")));
        };
        table[leaf * count + target] += weights[at];
        says[leaf * count + target] = true;
    }
    Ok((table, says))
}

/// The operand as rows of features, of which a single axis is one.
pub(super) fn rows_of(ctx: &mut RowCtx<'_, '_>, dtype: DType) -> Value {
    let x = ctx.input(0)?;
    let x = ctx.cast(x, dtype)?;
    let ty = ctx.ty(x)?;
    match ty.rank() {
        1 => ctx.unsqueeze(x, 0),
        2 => Ok(x),
        _ => Err(invalid(format!("features {ty}"))),
    }
}

/// As [`rows_of`], f64 if the operand is: what trees compare with their splits.
pub(super) fn rows_of_trees(ctx: &mut RowCtx<'_, '_>) -> Value {
    let x = ctx.input(0)?;
    match ctx.ty(x)?.dtype {
        DType::F64 => rows_of(ctx, DType::F64),
        _ => rows_of(ctx, DType::F32),
    }
}

fn tree_ensemble_regressor(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = rows_of_trees(ctx)?;
    let dtype = ctx.ty(x)?.dtype;
    let count = usize::try_from(ctx.int_or("n_targets", 1)).unwrap_or(0);
    let read = forest(ctx)?;
    let (weights, says) = said(ctx, "target", &read, count)?;
    let (forest, _) = read;
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
