//! Substitution of one definition into another.

use std::collections::BTreeMap;

use alula_ir::ValueId;
use alula_kernel::{
    Affine, Axis, Compute, Contract, ContractOperand, Expr, ExprId, Pool, Substitution, VarId,
};
use alula_tensor::Dim;
use indexmap::IndexMap;

/// A definition with the values that its operands stand for.
pub(super) struct Defined {
    pub(super) compute: Compute,
    pub(super) operands: Vec<ValueId>,
}

/// Puts `producer` in the place of each load of `value` in `consumer`. Equal operands merge.
pub(super) fn inline(
    consumer: &Compute,
    consumer_operands: &[ValueId],
    value: ValueId,
    producer: &Compute,
    producer_operands: &[ValueId],
) -> Defined {
    let mut merged = Merged::default();
    let consumer_map: Vec<Option<u32>> = consumer_operands
        .iter()
        .zip(&consumer.operands)
        .map(|(id, operand)| (*id != value).then(|| merged.add(*id, operand)))
        .collect();
    let producer_map: Vec<u32> = producer_operands
        .iter()
        .zip(&producer.operands)
        .map(|(id, operand)| merged.add(*id, operand))
        .collect();
    let mut compute = Compute::begin(merged.operands, consumer.dtype, &consumer.shape());
    let vars = axis_map(consumer, &mut compute);
    let mut load = |pool: &mut Pool, operand: u32, dtype, index: Vec<ExprId>| match consumer_map
        [operand as usize]
    {
        Some(position) => pool.load(position, dtype, index),
        None => import_at(pool, producer, &producer_map, index),
    };
    let mut with = Substitution {
        vars,
        load: &mut load,
        acc: None,
    };
    let body = compute
        .pool
        .import(&consumer.pool, consumer.body, &mut with);
    let mut compute = compute.finish(body);
    compute.equal.extend_from_slice(&producer.equal);
    compute.equal.extend_from_slice(&consumer.equal);
    Defined {
        compute,
        operands: merged.values,
    }
}

/// The value of `producer` at an index, in another pool.
fn import_at(pool: &mut Pool, producer: &Compute, map: &[u32], index: Vec<ExprId>) -> ExprId {
    let vars = producer
        .axes
        .iter()
        .map(|axis| axis.var)
        .zip(index)
        .collect();
    let mut load = |pool: &mut Pool, operand: u32, dtype, index| {
        pool.load(map[operand as usize], dtype, index)
    };
    pool.import(
        &producer.pool,
        producer.body,
        &mut Substitution {
            vars,
            load: &mut load,
            acc: None,
        },
    )
}

/// The axes of one definition as those of another.
fn axis_map(from: &Compute, to: &mut Compute) -> IndexMap<VarId, ExprId> {
    from.axes
        .iter()
        .map(|axis| axis.var)
        .zip(to.indices())
        .collect()
}

/// Operands of a fused definition, each value once.
#[derive(Default)]
struct Merged {
    values: Vec<ValueId>,
    operands: Vec<alula_kernel::Operand>,
}

impl Merged {
    fn add(&mut self, id: ValueId, operand: &alula_kernel::Operand) -> u32 {
        if let Some(position) = self.values.iter().position(|known| *known == id) {
            return position as u32;
        }
        self.values.push(id);
        self.operands.push(operand.clone());
        self.values.len() as u32 - 1
    }
}

/// Makes `consumer` part of the epilogue of a contraction whose result `value` it loads at its own
/// position, or with axes in another order of which the innermost one stays. `None` if it loads it
/// elsewhere, or holds folds.
pub(super) fn into_epilogue(
    contract: &Contract,
    contract_operands: &[ValueId],
    consumer: &Compute,
    consumer_operands: &[ValueId],
    value: ValueId,
) -> Option<(Contract, Vec<ValueId>)> {
    let position = consumer_operands.iter().position(|id| *id == value)? as u32;
    let order = order(contract, consumer, position)?;
    let old = &contract.epilogue;
    let mut merged = Merged::default();
    let old_map: Vec<u32> = contract_operands
        .iter()
        .zip(&old.operands)
        .map(|(id, operand)| merged.add(*id, operand))
        .collect();
    let new_map: Vec<Option<u32>> = consumer_operands
        .iter()
        .zip(&consumer.operands)
        .map(|(id, operand)| (*id != value).then(|| merged.add(*id, operand)))
        .collect();
    // Variables of the contraction's axes keep their numbers: copy the pool, then extend it.
    let mut pool = old.pool.clone();
    let axes = consumer.axes.iter().zip(&order).map(|(axis, from)| Axis {
        var: old.axes[*from].var,
        extent: axis.extent.clone(),
    });
    let axes: Vec<Axis> = axes.collect();
    let out = order.iter().map(|from| contract.out[*from].clone());
    let out = out.collect();
    let old_vars: IndexMap<VarId, ExprId> = (0..pool.num_vars() as u32)
        .map(|var| (VarId(var), pool.var_expr(VarId(var))))
        .collect();
    let mut load = |pool: &mut Pool, operand: u32, dtype, index| {
        pool.load(old_map[operand as usize], dtype, index)
    };
    let mut with = Substitution {
        vars: old_vars,
        load: &mut load,
        acc: None,
    };
    let inner = pool.import(&old.pool, old.body, &mut with);
    let vars: IndexMap<VarId, ExprId> = consumer
        .axes
        .iter()
        .zip(&axes)
        .map(|(from, to)| (from.var, pool.var_expr(to.var)))
        .collect();
    let mut load = |pool: &mut Pool, operand: u32, dtype, index: Vec<ExprId>| match new_map
        [operand as usize]
    {
        Some(position) => pool.load(position, dtype, index),
        None => inner,
    };
    let body = pool.import(
        &consumer.pool,
        consumer.body,
        &mut Substitution {
            vars,
            load: &mut load,
            acc: None,
        },
    );
    let epilogue = Compute {
        operands: merged.operands,
        axes,
        dtype: consumer.dtype,
        pool,
        body,
        equal: [old.equal.as_slice(), &consumer.equal].concat(),
    };
    let remap = |side: &ContractOperand| ContractOperand {
        operand: old_map[side.operand as usize],
        zero_point: side.zero_point.map(|position| old_map[position as usize]),
        ..side.clone()
    };
    let fused = Contract {
        axes: contract.axes.clone(),
        a: remap(&contract.a),
        b: remap(&contract.b),
        acc: contract.acc,
        out,
        epilogue,
    };
    Some((fused, merged.values))
}

/// For each axis of `consumer` the axis of the contraction's result that it is, the same at each
/// load of it. All axes of the result are there: one that went, though it has one position, would
/// take a variable of the contraction with it.
fn order(contract: &Contract, consumer: &Compute, position: u32) -> Option<Vec<usize>> {
    let old = contract.epilogue.shape();
    if old.len() != consumer.axes.len() {
        return None;
    }
    let mut order: Option<Vec<usize>> = None;
    for (_, expr) in reachable(&consumer.pool, consumer.body) {
        match expr {
            Expr::Fold { .. } => return None,
            Expr::Load { operand, index } if *operand == position => {
                let here = order_of(&old, consumer, index)?;
                if order.as_ref().is_some_and(|known| *known != here) {
                    return None;
                }
                order = Some(here);
            }
            _ => {}
        }
    }
    order
}

/// The order at one load.
fn order_of(old: &[Dim], consumer: &Compute, index: &[ExprId]) -> Option<Vec<usize>> {
    let mut order = vec![None; consumer.axes.len()];
    let mut innermost = None;
    for (from, (extent, &id)) in old.iter().zip(index).enumerate() {
        let index = consumer.pool.as_affine(id)?;
        if extent.is(1) {
            if index != Affine::constant(0_i64) {
                return None;
            }
            continue;
        }
        let same = |axis: &Axis| axis.extent == *extent && index == Affine::var(axis.var);
        let to = consumer.axes.iter().position(same)?;
        order[to] = Some(from);
        innermost = Some(to);
    }
    let last = consumer.axes.iter().rposition(|axis| !axis.extent.is(1));
    if last != innermost {
        return None;
    }
    // Axes of one position stand for one another, in order; any other must be one of the result's.
    let mut units = (0..old.len()).filter(|&from| old[from].is(1));
    let axes = consumer.axes.iter().zip(order);
    let axes = axes.map(|(axis, from)| match axis.extent.is(1) {
        true => units.next(),
        false => from,
    });
    axes.collect()
}

/// Makes a move that feeds side `a` or `b` of a contraction part of its index map. `None` if the
/// producer is more than one load at an affine index.
pub(super) fn into_contract(
    contract: &Contract,
    contract_operands: &[ValueId],
    value: ValueId,
    producer: &Compute,
    producer_operands: &[ValueId],
) -> Option<(Contract, Vec<ValueId>)> {
    let position = contract_operands.iter().position(|id| *id == value)? as u32;
    let is_side = |side: &ContractOperand| side.operand == position;
    let used_elsewhere = reachable(&contract.epilogue.pool, contract.epilogue.body)
        .any(|(_, expr)| matches!(expr, Expr::Load { operand, .. } if *operand == position))
        || contract.a.zero_point == Some(position)
        || contract.b.zero_point == Some(position);
    if used_elsewhere || is_side(&contract.a) == is_side(&contract.b) {
        return None;
    }
    let Expr::Load { operand, index } = &producer.pool.node(producer.body).expr else {
        return None;
    };
    let side = if is_side(&contract.a) {
        &contract.a
    } else {
        &contract.b
    };
    if !side.padded.is_empty() {
        return None;
    }
    let source = *operand as usize;
    let mut new_index = Vec::with_capacity(index.len());
    for &id in index {
        let affine = producer.pool.as_affine(id)?;
        let mut sum = Affine::constant(affine.offset.clone());
        for (var, coefficient) in &affine.terms {
            let axis = producer.axes.iter().position(|axis| axis.var == *var)?;
            sum = sum.plus(&side.index[axis].clone().times(coefficient));
        }
        new_index.push(sum);
    }
    let mut fused = contract.clone();
    let mut operands = contract_operands.to_vec();
    // The slot of the moved value is taken over by what it was moved from.
    operands[position as usize] = producer_operands[source];
    fused.epilogue.operands[position as usize] = producer.operands[source].clone();
    let target = if is_side(&contract.a) {
        &mut fused.a
    } else {
        &mut fused.b
    };
    target.index = new_index;
    fused.epilogue.equal.extend(producer.equal.iter().cloned());
    Some((fused, operands))
}

/// Every expression that `root` is made of, with its id.
pub(crate) fn reachable(pool: &Pool, root: ExprId) -> impl Iterator<Item = (ExprId, &Expr)> {
    let mut seen = vec![false; root.0 as usize + 1];
    seen[root.0 as usize] = true;
    for id in (0..=root.0).rev() {
        if seen[id as usize] {
            pool.for_each_operand(ExprId(id), |operand| seen[operand.0 as usize] = true);
        }
    }
    (0..=root.0)
        .filter(move |&id| seen[id as usize])
        .map(|id| (ExprId(id), &pool.node(ExprId(id)).expr))
}

/// The variables that each reachable expression depends on.
pub(crate) fn dependencies(
    pool: &Pool,
    root: ExprId,
) -> BTreeMap<ExprId, std::collections::BTreeSet<VarId>> {
    let mut found: BTreeMap<ExprId, std::collections::BTreeSet<VarId>> = BTreeMap::new();
    for (id, expr) in reachable(pool, root) {
        let mut vars = std::collections::BTreeSet::new();
        pool.for_each_operand(id, |operand| vars.extend(found[&operand].iter().copied()));
        match expr {
            Expr::Var(var) => {
                vars.insert(*var);
            }
            Expr::Fold { vars: bound, .. } => vars.retain(|var| !bound.contains(var)),
            _ => {}
        }
        found.insert(id, vars);
    }
    found
}
