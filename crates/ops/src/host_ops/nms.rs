//! `non_max_suppression`: boxes without those that overlap a better one.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, Lowering, OpDef,
};
use alula_program::HostFn;
use alula_tensor::{DType, DTypeClass, Dim, Scalar};

use crate::movement::agree_except;
use crate::shape::PLAIN;

/// Per batch and class, boxes in order of score, without those that overlap a chosen one.
pub static NON_MAX_SUPPRESSION: OpDef = OpDef {
    name: "non_max_suppression",
    summary: "i64[count, 3] of (batch, class, box): per class at most max_output boxes, greatest \
              score first, each with score > score_threshold and overlap <= iou_threshold",
    operands: &[
        "boxes",
        "scores",
        "max_output?",
        "iou_threshold?",
        "score_threshold?",
    ],
    attrs: &[AttrSpec::bool(
        "center_point_box",
        false,
        "boxes are (x, y, width, height), else two corners (y, x, y, x) in any order",
    )],
    traits: PLAIN,
    infer,
    eval,
    lowering: Lowering::Host(|ctx| {
        let center_point_box = ctx.attrs.bool("center_point_box");
        Ok(HostFn::NonMaxSuppression { center_point_box })
    }),
    examples: &[
        "graph @e(%b: f32[1, 5, 4], %s: f32[1, 2, 5]) {
           %m = const i64[] [3] %i = const f32[] [0.5] %t = const f32[] [-1.0]
           %y = non_max_suppression %b, %s, %m, %i, %t return y: %y }",
        "graph @e(%b: f32[2, N, 4], %s: f32[2, 1, N]) {
           %m = const i64[1] [2]
           %y = non_max_suppression %b, %s, %m {center_point_box = true} return y: %y }",
        "graph @e(%b: f32[1, 5, 4], %s: f32[1, 1, 5]) {
           %y = non_max_suppression %b, %s return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(0, &[DTypeClass::Float])?;
    ctx.expect_same_dtype(0, 1)?;
    let (boxes, scores) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let four = boxes.rank() == 3 && boxes.shape[2].as_const().is_none_or(|n| n == 4);
    if !four || scores.rank() != 3 {
        return Err(InferError::Mismatch(format!(
            "boxes {boxes} and scores {scores} are not [batch, n, 4] and [batch, class, n]"
        )));
    }
    agree_except(&boxes.shape[..1], &scores.shape[..1], None)?;
    agree_except(&boxes.shape[1..2], &scores.shape[2..], None)?;
    for position in 2..ctx.len() {
        if ctx.has(position) && !ctx.tensor(position)?.num_elements().is(1) {
            let ty = ctx.tensor(position)?;
            return Err(InferError::Mismatch(format!(
                "operand {position} is {ty}, not a number"
            )));
        }
    }
    let count = ctx.fresh_extent(0, 0);
    Ok(vec![Inferred::tensor(DType::I64, vec![count, Dim::new(3)])])
}

/// Least and greatest corner: `[y0, x0, y1, x1]`.
fn corners(given: [f64; 4], center: bool) -> [f64; 4] {
    let [a, b, c, d] = given;
    if center {
        let (half_width, half_height) = (c / 2.0, d / 2.0);
        [
            b - half_height,
            a - half_width,
            b + half_height,
            a + half_width,
        ]
    } else {
        [a.min(c), b.min(d), a.max(c), b.max(d)]
    }
}

/// Area of the intersection over that of the union; 0 where a box has no area.
fn overlap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let area = |r: &[f64; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    let side = |k: usize| (a[k + 2].min(b[k + 2]) - a[k].max(b[k])).max(0.0);
    let common = side(0) * side(1);
    if area(a) <= 0.0 || area(b) <= 0.0 || common <= 0.0 {
        return 0.0;
    }
    common / (area(a) + area(b) - common)
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (boxes, scores) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let number = |k: usize| ctx.optional(k).and_then(|t| t.get(0)).map(Scalar::to_f64);
    let most = number(2).unwrap_or(0.0).max(0.0) as usize;
    let iou_threshold = number(3).unwrap_or(0.0);
    let score_threshold = number(4);
    let (batches, classes, n) = (scores.shape()[0], scores.shape()[1], scores.shape()[2]);
    if boxes.shape() != [batches, n, 4] {
        return Err(EvalError::Value(format!(
            "boxes {} for scores {}",
            boxes.ty(),
            scores.ty()
        )));
    }
    let (corner, score) = (boxes.to_f64s(), scores.to_f64s());
    let center = ctx.attrs.bool("center_point_box");
    let mut results = Vec::new();
    for batch in 0..batches {
        let of = |k: usize| {
            let at = (batch * n + k) * 4;
            corners(
                [corner[at], corner[at + 1], corner[at + 2], corner[at + 3]],
                center,
            )
        };
        let all: Vec<[f64; 4]> = (0..n).map(of).collect();
        for class in 0..classes {
            let own = &score[(batch * classes + class) * n..][..n];
            let mut candidates: Vec<usize> = (0..n)
                .filter(|&k| score_threshold.is_none_or(|least| own[k] > least))
                .collect();
            candidates.sort_by(|&a, &b| own[b].total_cmp(&own[a]));
            let mut chosen: Vec<usize> = Vec::new();
            for k in candidates {
                if chosen.len() >= most {
                    break;
                }
                if chosen
                    .iter()
                    .all(|&c| overlap(&all[c], &all[k]) <= iou_threshold)
                {
                    chosen.push(k);
                    results.extend([batch, class, k].map(|v| Scalar::Int(v as i128)));
                }
            }
        }
    }
    Ok(vec![ctx.result(
        DType::I64,
        &[results.len() / 3, 3],
        &results,
    )?])
}
