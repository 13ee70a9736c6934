//! Values weighed by the softmax of products of queries and keys: scaled or not, with up to two
//! masks that are added or one that selects. The scores are not in memory for anyone else, and the
//! operator rounds where its parts do. Exporters guard against rows that are masked whole by a
//! selection of 0 where a weight is NaN (`u`).

use alula_ir::{Attr, Attrs, ValueId};

use crate::axes::axis_of;
use crate::patch::Patch;
use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let rank = patch.ty(found.value("w"))?.rank();
    let Some(Attr::Int(axis)) = found.attr("a") else {
        return Err(Miss::NONE);
    };
    require(
        axis_of(*axis, rank) + 1 == rank,
        "the softmax is along another axis",
    )?;
    let (q, k, v) = (found.value("q"), found.value("k"), found.value("v"));
    let is_weight = |value| patch.graph().as_constant(value).is_some();
    fits(!is_weight(q) && !is_weight(k))?;
    let splat = |name: &str| {
        let value = found.optional(name)?;
        splat_of(patch.graph(), value).map(alula_tensor::Scalar::to_f64)
    };
    let scale = splat("s").unwrap_or(1.0) / splat("d").unwrap_or(1.0);
    require(scale.is_finite(), "the scale is not finite")?;
    let turned = matches!(found.attr("t"), Some(Attr::Bool(true)));
    let mut attrs = Attrs::new()
        .with("scale", scale)
        .with("transpose_k", !turned);
    if let Some(fill) = splat("f") {
        attrs.set("fill", fill);
    }
    let hidden = found.optional("h");
    attrs.set("hides", hidden.is_some());
    attrs.set("guards", found.optional("u").is_some());
    let added = match (found.optional("m"), found.optional("n")) {
        (Some(mask), Some(other)) => Some(patch.apply("add", &[mask, other], Attrs::new())?),
        (mask, _) => mask,
    };
    let mask = added.or(found.optional("c")).or(hidden);
    let operands = [Some(q), Some(k), Some(v), mask];
    Ok(patch.push("attention", &operands, attrs, 1)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_attention",
    "softmax(q k^T * scale + mask) v becomes attention(q, k, v, mask)",
)
.matching(&[
    "matmul(%w=softmax(matmul(?q:float, ?k){transpose_b = ?t}){axis = ?a}, ?v)",
    "matmul(%w=softmax(mul(matmul(?q:float, ?k){transpose_b = ?t}, ?s:splat)){axis = ?a}, ?v)",
    "matmul(%w=softmax(div(matmul(?q:float, ?k){transpose_b = ?t}, ?d:splat)){axis = ?a}, ?v)",
    // A mask that is added.
    "matmul(%w=softmax(add(matmul(?q:float, ?k){transpose_b = ?t}, ?m)){axis = ?a}, ?v)",
    "matmul(%w=softmax(add(mul(matmul(?q:float, ?k){transpose_b = ?t}, ?s:splat), ?m)){axis = ?a}, \
     ?v)",
    "matmul(%w=softmax(add(div(matmul(?q:float, ?k){transpose_b = ?t}, ?d:splat), ?m)){axis = ?a}, \
     ?v)",
    // Two of them: a bias by position, and a window or a padding.
    "matmul(%w=softmax(add(add(matmul(?q:float, ?k){transpose_b = ?t}, ?m), ?n)){axis = ?a}, ?v)",
    "matmul(%w=softmax(add(add(mul(matmul(?q:float, ?k){transpose_b = ?t}, ?s:splat), ?m), ?n))\
     {axis = ?a}, ?v)",
    "matmul(%w=softmax(add(add(div(matmul(?q:float, ?k){transpose_b = ?t}, ?d:splat), ?m), ?n))\
     {axis = ?a}, ?v)",
    // A mask that selects, by what is kept (`c`) or by what is hidden (`h`).
    "matmul(%w=softmax(select(?c, matmul(?q:float, ?k){transpose_b = ?t}, ?f:splat)){axis = ?a}, \
     ?v)",
    "matmul(%w=softmax(select(?c, mul(matmul(?q:float, ?k){transpose_b = ?t}, ?s:splat), ?f:splat))\
     {axis = ?a}, ?v)",
    "matmul(%w=softmax(select(?c, div(matmul(?q:float, ?k){transpose_b = ?t}, ?d:splat), ?f:splat))\
     {axis = ?a}, ?v)",
    "matmul(%w=softmax(select(?h, ?f:splat, matmul(?q:float, ?k){transpose_b = ?t})){axis = ?a}, \
     ?v)",
    "matmul(%w=softmax(select(?h, ?f:splat, mul(matmul(?q:float, ?k){transpose_b = ?t}, ?s:splat)))\
     {axis = ?a}, ?v)",
    "matmul(%w=softmax(select(?h, ?f:splat, div(matmul(?q:float, ?k){transpose_b = ?t}, ?d:splat)))\
     {axis = ?a}, ?v)",
    // With the guard: masks that are added, or that select, where the scale is a part of the
    // operands or of the scores.
    "matmul(select(%u=is_nan(?w), 0, %w=softmax(matmul(?q:float, ?k){transpose_b = ?t})\
     {axis = ?a}), ?v)",
    "matmul(select(%u=is_nan(?w), 0, %w=softmax(mul(matmul(?q:float, ?k){transpose_b = ?t}, \
     ?s:splat)){axis = ?a}), ?v)",
    "matmul(select(%u=is_nan(?w), 0, %w=softmax(add(matmul(?q:float, ?k){transpose_b = ?t}, ?m))\
     {axis = ?a}), ?v)",
    "matmul(select(%u=is_nan(?w), 0, %w=softmax(add(mul(matmul(?q:float, ?k){transpose_b = ?t}, \
     ?s:splat), ?m)){axis = ?a}), ?v)",
    "matmul(select(%u=is_nan(?w), 0, %w=softmax(add(div(matmul(?q:float, ?k){transpose_b = ?t}, \
     ?d:splat), ?m)){axis = ?a}), ?v)",
    "matmul(select(%u=is_nan(?w), 0, %w=softmax(select(?c, matmul(?q:float, ?k){transpose_b = ?t}, \
     ?f:splat)){axis = ?a}), ?v)",
    "matmul(select(%u=is_nan(?w), 0, %w=softmax(select(?c, mul(matmul(?q:float, ?k)\
     {transpose_b = ?t}, ?s:splat), ?f:splat)){axis = ?a}), ?v)",
])
.build(build);
