//! `TreeEnsemble`: all trees walked side by side, one level at a time.
//!
//! A place is a node, or behind all nodes a leaf, which leads to itself; after as many steps as
//! the deepest tree has levels every place is a leaf.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{AND, EQ, GE, GT, IS_NAN, LE, LT, NE, OR};
use alula_ops::indexing::GATHER_ELEMENTS;
use alula_ops::reduce::{REDUCE_MAX, REDUCE_MIN, REDUCE_SUM};
use alula_tensor::{DType, Dim, Scalar, Tensor};

use super::compose::Value;
use super::ml::{row, transformed};
use super::{Built, Row, RowCtx, RowError};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "TreeEnsemble",
    &[5],
    &[
        "aggregate_function",
        "leaf_targetids",
        "leaf_weights",
        "membership_values",
        "n_targets",
        "nodes_falseleafs",
        "nodes_falsenodeids",
        "nodes_featureids",
        // How often nodes are visited: a hint for engines.
        "nodes_hitrates",
        "nodes_missing_value_tracks_true",
        "nodes_modes",
        "nodes_splits",
        "nodes_trueleafs",
        "nodes_truenodeids",
        "post_transform",
        "tree_roots",
    ],
    tree_ensemble,
)];

/// The trees as tables by place.
pub(super) struct Forest {
    pub(super) nodes: usize,
    pub(super) leaves: usize,
    pub(super) roots: Vec<i64>,
    pub(super) features: Vec<i64>,
    pub(super) modes: Vec<i64>,
    pub(super) splits: Tensor,
    pub(super) on_true: Vec<i64>,
    pub(super) on_false: Vec<i64>,
    pub(super) on_missing: Vec<i64>,
    /// Members of each place's set.
    pub(super) members: Vec<Vec<f64>>,
    pub(super) levels: usize,
}

fn tensor(ctx: &RowCtx<'_, '_>, name: &str) -> Result<Tensor, RowError> {
    let tensor = ctx.tensor(name)?;
    tensor.ok_or_else(|| RowError::Invalid(format!("attribute {name} is absent")))
}

fn list(ctx: &RowCtx<'_, '_>, name: &str) -> Result<Vec<i64>, RowError> {
    let list = ctx.ints(name);
    list.ok_or_else(|| RowError::Invalid(format!("attribute {name} is absent")))
}

/// Where a node's branch leads.
fn branches(
    ctx: &RowCtx<'_, '_>,
    side: &str,
    (nodes, leaves): (usize, usize),
) -> Result<Vec<i64>, RowError> {
    let ids = list(ctx, &format!("nodes_{side}nodeids"))?;
    let is_leaf = list(ctx, &format!("nodes_{side}leafs"))?;
    let wrong = || RowError::Invalid(format!("nodes_{side}nodeids lead nowhere"));
    if ids.len() != nodes || is_leaf.len() != nodes {
        return Err(wrong());
    }
    let mut places = Vec::with_capacity(nodes + leaves);
    for (id, leaf) in ids.into_iter().zip(is_leaf) {
        let (count, begin) = if leaf != 0 {
            (leaves, nodes)
        } else {
            (nodes, 0)
        };
        if !(0..count as i64).contains(&id) {
            return Err(wrong());
        }
        places.push(id + begin as i64);
    }
    places.extend(nodes as i64..(nodes + leaves) as i64);
    Ok(places)
}

/// Levels of the deepest tree; nodes must not lead back.
fn levels(forest: &Forest) -> Result<usize, RowError> {
    let mut places: Vec<i64> = forest.roots.clone();
    let mut levels = 0;
    loop {
        places.retain(|place| (*place as usize) < forest.nodes);
        if places.is_empty() {
            return Ok(levels);
        }
        if levels == forest.nodes {
            return Err(RowError::Invalid(
                "nodes lead back to themselves".to_owned(),
            ));
        }
        places = places
            .iter()
            .flat_map(|place| {
                [
                    forest.on_true[*place as usize],
                    forest.on_false[*place as usize],
                ]
            })
            .collect();
        places.sort_unstable();
        places.dedup();
        levels += 1;
    }
}

impl Forest {
    fn read(ctx: &RowCtx<'_, '_>, leaves: usize) -> Result<Forest, RowError> {
        let mut features = list(ctx, "nodes_featureids")?;
        let nodes = features.len();
        let mut modes = tensor(ctx, "nodes_modes")?.to_i64s().unwrap_or_default();
        let splits = tensor(ctx, "nodes_splits")?;
        let roots = list(ctx, "tree_roots")?;
        let missing = ctx.ints("nodes_missing_value_tracks_true");
        let mut on_missing = missing.unwrap_or_else(|| vec![0; nodes]);
        let fits = modes.len() == nodes && splits.len() == nodes && on_missing.len() == nodes;
        let in_nodes = |id: &i64| (0..nodes as i64).contains(id);
        if !fits || roots.is_empty() || !roots.iter().all(in_nodes) {
            return Err(RowError::Invalid(format!(
                "lists of {nodes} nodes differ in length"
            )));
        }
        if features.iter().any(|feature| *feature < 0) || modes.iter().any(|m| !(0..=6).contains(m))
        {
            return Err(RowError::Invalid(
                "a feature or mode that there is not".to_owned(),
            ));
        }
        let all = match ctx.tensor("membership_values")? {
            Some(values) => values.to_f64s(),
            None => Vec::new(),
        };
        let mut sets = all.split(|value| value.is_nan());
        let mut members = vec![Vec::new(); nodes + leaves];
        for (place, mode) in modes.iter().enumerate() {
            if *mode == 6 {
                let set = sets.next();
                let set = set.ok_or_else(|| RowError::Invalid("sets are missing".to_owned()))?;
                members[place] = set.to_vec();
            }
        }
        let mut values: Vec<Scalar> = splits.to_scalars();
        values.resize(nodes + leaves, Scalar::Float(0.0));
        let splits = Tensor::from_scalars(splits.dtype(), &[nodes + leaves], &values);
        features.resize(nodes + leaves, 0);
        modes.resize(nodes + leaves, 0);
        on_missing.resize(nodes + leaves, 0);
        let mut forest = Forest {
            nodes,
            leaves,
            roots,
            features,
            modes,
            splits: splits.map_err(|error| RowError::Invalid(error.to_string()))?,
            on_true: branches(ctx, "true", (nodes, leaves))?,
            on_false: branches(ctx, "false", (nodes, leaves))?,
            on_missing,
            members,
            levels: 0,
        };
        forest.check()?;
        Ok(forest)
    }

    /// Counts the levels, which ends unless nodes lead back.
    pub(super) fn check(&mut self) -> Result<(), RowError> {
        if self.roots.is_empty() || self.features.iter().any(|feature| *feature < 0) {
            return Err(RowError::Invalid(
                "there is no tree, or a feature before the first".to_owned(),
            ));
        }
        self.levels = levels(self)?;
        Ok(())
    }

    /// The leaf of each tree, `[rows, trees]`, to which a row of features leads.
    pub(super) fn walk(&self, ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Value {
        if let Some(most) = self.features[..self.nodes].iter().max() {
            let most = ctx.list(&[*most]);
            ctx.demand_within(most, x, 1)?;
        }
        let rows = ctx.ty(x)?.shape[0].clone();
        let roots = ctx.list(&self.roots);
        let mut places = ctx.expand(roots, vec![rows, Dim::from(self.roots.len())])?;
        let (on_true, on_false) = (ctx.list(&self.on_true), ctx.list(&self.on_false));
        for _ in 0..self.levels {
            let holds = self.decide(ctx, x, places)?;
            let (yes, no) = (
                ctx.gather(on_true, places, 0)?,
                ctx.gather(on_false, places, 0)?,
            );
            places = ctx.select(holds, yes, no)?;
        }
        ctx.plus(places, -(self.nodes as f64))
    }

    /// Whether each row takes the true branch at its places.
    fn decide(&self, ctx: &mut RowCtx<'_, '_>, x: ValueId, places: ValueId) -> Value {
        let table = |ctx: &mut RowCtx<'_, '_>, values: &[i64]| {
            let values = ctx.list(values);
            ctx.gather(values, places, 0)
        };
        let features = table(ctx, &self.features)?;
        let attrs = Attrs::new().with("axis", 1_i64);
        let value = ctx.push(&GATHER_ELEMENTS, &[x, features], attrs)?;
        let splits = ctx.constant(self.splits.clone());
        let splits = ctx.gather(splits, places, 0)?;
        let dtype = ctx.ty(x)?.dtype;
        let splits = ctx.cast(splits, dtype)?;
        let modes = table(ctx, &self.modes)?;
        let mut holds: Option<ValueId> = None;
        for mode in 0..=6_i64 {
            if !self.modes[..self.nodes].contains(&mode) {
                continue;
            }
            let own = match mode {
                6 => self.is_member(ctx, value, places)?,
                _ => {
                    let op = [&LE, &LT, &GE, &GT, &EQ, &NE][mode as usize];
                    ctx.op(op, &[value, splits])?
                }
            };
            holds = Some(match holds {
                Some(holds) => {
                    let this = ctx.number(modes, mode as f64)?;
                    let is_this = ctx.op(&EQ, &[modes, this])?;
                    ctx.select(is_this, own, holds)?
                }
                None => own,
            });
        }
        let mut holds = holds.ok_or_else(|| RowError::Invalid("there are no nodes".to_owned()))?;
        if self.on_missing.iter().any(|tracks| *tracks != 0) {
            let tracks = table(ctx, &self.on_missing)?;
            let tracks = ctx.cast(tracks, DType::Bool)?;
            let is_missing = ctx.op(&IS_NAN, &[value])?;
            let follows = ctx.op(&AND, &[tracks, is_missing])?;
            holds = ctx.op(&OR, &[holds, follows])?;
        }
        Ok(holds)
    }

    fn is_member(&self, ctx: &mut RowCtx<'_, '_>, value: ValueId, places: ValueId) -> Value {
        let width = self.members.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let mut all = Vec::new();
        for set in &self.members {
            // Nothing is equal to a NaN.
            let padded = set.iter().copied().chain(std::iter::repeat(f64::NAN));
            all.extend(padded.take(width).map(Scalar::Float));
        }
        let dtype = ctx.ty(value)?.dtype;
        let table = Tensor::from_scalars(dtype, &[self.nodes + self.leaves, width], &all);
        let table = table.map_err(|error| RowError::Invalid(error.to_string()))?;
        let table = ctx.constant(table);
        let sets = ctx.gather(table, places, 0)?;
        let value = ctx.unsqueeze(value, 2)?;
        let same = ctx.op(&EQ, &[sets, value])?;
        ctx.reduce(&REDUCE_MAX, same, vec![2], false)
    }
}

fn tree_ensemble(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let (weights, targets) = (tensor(ctx, "leaf_weights")?, list(ctx, "leaf_targetids")?);
    let count = ctx.int_or("n_targets", 1);
    let in_targets = |target: &i64| (0..count).contains(target);
    if ty.rank() != 2 || weights.len() != targets.len() || !targets.iter().all(in_targets) {
        return Err(RowError::Invalid(format!(
            "{} leaves of {count} targets for {ty}",
            targets.len()
        )));
    }
    let forest = Forest::read(ctx, targets.len())?;
    let leaves = forest.walk(ctx, x)?;
    let weights = weights.reshape(&[targets.len()]);
    let weights = weights.map_err(|error| RowError::Invalid(error.to_string()))?;
    let (weights, targets) = (ctx.constant(weights), ctx.list(&targets));
    let (weights, targets) = (
        ctx.gather(weights, leaves, 0)?,
        ctx.gather(targets, leaves, 0)?,
    );
    let weights = ctx.cast(weights, ty.dtype)?;
    // `[rows, trees, targets]`: what each tree says of each target.
    let (weights, targets) = (ctx.unsqueeze(weights, 2)?, ctx.unsqueeze(targets, 2)?);
    let numbers = ctx.list(&(0..count).collect::<Vec<i64>>());
    let is_own = ctx.op(&EQ, &[targets, numbers])?;
    let zero = ctx.scalar(ty.dtype, 0.0)?;
    let combined = match ctx.int_or("aggregate_function", 1) {
        function @ (0 | 1) => {
            let own = ctx.select(is_own, weights, zero)?;
            let sum = ctx.reduce(&REDUCE_SUM, own, vec![1], false)?;
            let share = if function == 0 {
                1.0 / forest.roots.len() as f64
            } else {
                1.0
            };
            ctx.times(sum, share)?
        }
        function @ (2 | 3) => {
            let (op, least) = match function {
                2 => (&REDUCE_MIN, f64::INFINITY),
                _ => (&REDUCE_MAX, f64::NEG_INFINITY),
            };
            let least = ctx.scalar(ty.dtype, least)?;
            let own = ctx.select(is_own, weights, least)?;
            let best = ctx.reduce(op, own, vec![1], false)?;
            let has_own = ctx.reduce(&REDUCE_MAX, is_own, vec![1], false)?;
            ctx.select(has_own, best, zero)?
        }
        other => return Err(RowError::Invalid(format!("aggregate_function is {other}"))),
    };
    let word = usize::try_from(ctx.int_or("post_transform", 0)).unwrap_or(usize::MAX);
    Ok(vec![transformed(ctx, combined, word)?])
}
