//! A reduction of a transposed value reduces the axes that they were; what is left is transposed, and
//! is less.

use alula_ir::ValueId;

use crate::axes::{axes_of, ints, permutation};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let order = permutation(patch.graph(), found.node(patch.graph(), "t"));
    let node = patch.graph().node(found.root).clone();
    let reduced = axes_of(node.attrs.ints("axes"), order.len());
    let own: Vec<usize> = reduced.iter().map(|&axis| order[axis]).collect();
    let keepdims = node.attrs.bool("keepdims");
    let attrs = node.attrs.with("axes", ints(&own));
    let made = patch.push_op(node.op, &[Some(found.value("x"))], attrs, 1)?[0];
    if keepdims {
        return patch.transpose(made, &order);
    }
    // Of the axes that are left, each is known by its rank among them.
    let left: Vec<usize> = order
        .into_iter()
        .filter(|axis| !own.contains(axis))
        .collect();
    let rank_of = |axis: usize| left.iter().filter(|other| **other < axis).count();
    let order: Vec<usize> = left.iter().map(|&axis| rank_of(axis)).collect();
    if order.is_sorted() {
        Ok(made)
    } else {
        patch.transpose(made, &order)
    }
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("sink_transpose_past_reduce", "reduce(transpose(x)) becomes transpose(reduce(x))")
    .matching(&["reduce_sum|reduce_mean|reduce_max|reduce_min|reduce_prod|reduce_l2|reduce_sum_square(%t=transpose(?x){..}){..}"])
    .build(build);
