//! `LSTM`, `GRU` and `RNN`: the inputs of all steps times their weights, then a scan.

use alula_ir::{Attrs, OpDef, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::arithmetic::{ADD, MUL};
use alula_ops::recurrent::{GRU_SCAN, LSTM_SCAN, RNN_SCAN};
use alula_ops::shape::{SLICE, TRANSPOSE};
use alula_tensor::Dim;

use super::contraction::reshape;
use super::quantization::{dynamic_quantize, integer_product, scaled_sums};
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "LSTM",
        &[1, 7, 14, 22],
        &[
            "activation_alpha",
            "activation_beta",
            "activations",
            "clip",
            "direction",
            "hidden_size",
            "input_forget",
            "layout",
            "output_sequence",
        ],
        lstm,
    ),
    row(
        "GRU",
        &[1, 3, 7, 14, 22],
        &[
            "activation_alpha",
            "activation_beta",
            "activations",
            "clip",
            "direction",
            "hidden_size",
            "layout",
            "linear_before_reset",
            "output_sequence",
        ],
        gru,
    ),
    row(
        "RNN",
        &[1, 7, 14, 22],
        &[
            "activation_alpha",
            "activation_beta",
            "activations",
            "clip",
            "direction",
            "hidden_size",
            "layout",
            "output_sequence",
        ],
        rnn,
    ),
];

/// What the operators share.
pub(super) struct Cells {
    /// Gates of a cell.
    gates: i64,
    directions: i64,
    hidden: Dim,
    /// Batch comes before steps.
    batch_first: bool,
    /// Inputs of the gates, `[T, B, D, G*H]`.
    inputs: ValueId,
    /// Recurrent weights, `[D, G*H, H]`.
    weights: ValueId,
    attrs: Attrs,
}

/// What precedes the scan: `x`, `w`, `r` and the input's part of the bias.
pub(super) struct Sources {
    pub(super) x: ValueId,
    pub(super) w: ValueId,
    pub(super) r: ValueId,
    /// `[D, 2*G*H]`: of the input, then recurrent.
    pub(super) bias: Option<ValueId>,
    /// How weights are quantized, if they are bytes.
    pub(super) quantized: Option<Quantized>,
}

/// Scales and zero points of weights, `[D, G*H]`; no zero point is 0.
#[derive(Clone, Copy)]
pub(super) struct Quantized {
    pub(super) w_scale: ValueId,
    pub(super) w_zero: Option<ValueId>,
    pub(super) r_scale: ValueId,
    pub(super) r_zero: Option<ValueId>,
}

impl Cells {
    pub(super) fn new(
        ctx: &mut RowCtx<'_, '_>,
        sources: &Sources,
        gates: i64,
        defaults: &[&str],
        keep_last_bias: bool,
    ) -> Result<Cells, RowError> {
        let (x_ty, r_ty) = (ctx.ty(sources.x)?, ctx.ty(sources.r)?);
        let w_ty = ctx.ty(sources.w)?;
        if x_ty.rank() != 3 || w_ty.rank() != 3 || r_ty.rank() != 3 {
            return Err(RowError::Invalid(format!(
                "input {x_ty}, weights {w_ty} and {r_ty} must have three axes"
            )));
        }
        let (directions, reverse) = match ctx.str_or("direction", "forward").as_str() {
            "forward" => (1, false),
            "reverse" => (1, true),
            "bidirectional" => (2, false),
            other => {
                return Err(RowError::Invalid(format!(
                    "attribute direction is {other:?}"
                )));
            }
        };
        let hidden = r_ty.shape[2].clone();
        if let Some(size) = ctx.int("hidden_size")
            && hidden.as_const().is_some_and(|hidden| hidden != size)
        {
            return Err(RowError::Invalid(format!(
                "hidden_size is {size}, recurrent weights are {r_ty}"
            )));
        }
        if !w_ty.shape[0].is(directions) {
            return Err(RowError::Invalid(format!(
                "weights {w_ty} are not for {directions} directions"
            )));
        }
        let batch_first = ctx.flag("layout", false);
        let x = match batch_first {
            true => swap_first(ctx, sources.x)?,
            false => sources.x,
        };
        let rows = hidden.clone() * Dim::new(gates);
        let all_rows = rows.clone() * Dim::new(directions);
        let w = reshape(
            ctx,
            sources.w,
            vec![all_rows.clone(), w_ty.shape[2].clone()],
        )?;
        let mut inputs = match sources.quantized {
            Some(quantized) => integer_inputs(ctx, x, w, quantized)?,
            None => {
                let turned = Attrs::new().with("transpose_b", true);
                ctx.push(&MATMUL, &[x, w], turned)?
            }
        };
        if let Some(bias) = sources.bias {
            let sum = input_bias(ctx, bias, gates, &hidden, keep_last_bias)?;
            let sum = reshape(ctx, sum, vec![all_rows])?;
            inputs = ctx.push(&ADD, &[inputs, sum], Attrs::new())?;
        }
        let mut to = ctx.ty(inputs)?.shape;
        to.pop();
        to.extend([Dim::new(directions), rows]);
        let inputs = reshape(ctx, inputs, to)?;
        let attrs = activations(ctx, defaults, directions)?
            .with("clip", ctx.float_or("clip", 0.0))
            .with("reverse", reverse);
        Ok(Cells {
            gates,
            directions,
            hidden,
            batch_first,
            inputs,
            weights: sources.r,
            attrs,
        })
    }

    /// A first state, in the scan's order of axes.
    fn state(
        &self,
        ctx: &mut RowCtx<'_, '_>,
        value: Option<ValueId>,
    ) -> Result<Option<ValueId>, RowError> {
        match value {
            Some(value) if self.batch_first => swap_first(ctx, value).map(Some),
            other => Ok(other),
        }
    }

    /// Runs the scan and gives its results the layout asked for.
    fn run(
        &self,
        ctx: &mut RowCtx<'_, '_>,
        op: &'static OpDef,
        others: &[Option<ValueId>],
        attrs: Attrs,
    ) -> Built {
        let mut operands = vec![Some(self.inputs), Some(self.weights)];
        operands.extend(others);
        let mut results = ctx.push_all(op, &operands, attrs)?;
        if self.batch_first {
            let perm = Attrs::new().with("perm", vec![2_i64, 0, 1, 3]);
            results[0] = ctx.push(&TRANSPOSE, &[results[0]], perm)?;
            for result in &mut results[1..] {
                *result = swap_first(ctx, *result)?;
            }
        }
        Ok(results)
    }
}

/// The inputs, quantized by the range of them all, times bytes `[D*G*H, I]`.
fn integer_inputs(
    ctx: &mut RowCtx<'_, '_>,
    x: ValueId,
    w: ValueId,
    quantized: Quantized,
) -> Result<ValueId, RowError> {
    let [x, x_scale, x_zero] = dynamic_quantize(ctx, x)?;
    let rows = ctx.ty(w)?.shape[0].clone();
    let turned = Attrs::new().with("perm", vec![1_i64, 0]);
    let w = ctx.push(&TRANSPOSE, &[w], turned)?;
    let w_zero = match quantized.w_zero {
        Some(zero) => Some(reshape(ctx, zero, vec![rows.clone()])?),
        None => None,
    };
    let sums = integer_product(ctx, x, w, Some(x_zero), w_zero)?;
    let w_scale = reshape(ctx, quantized.w_scale, vec![rows])?;
    let scale = ctx.push(&MUL, &[x_scale, w_scale], Attrs::new())?;
    scaled_sums(ctx, sums, scale)
}

fn swap_first(ctx: &mut RowCtx<'_, '_>, value: ValueId) -> Result<ValueId, RowError> {
    ctx.push(
        &TRANSPOSE,
        &[value],
        Attrs::new().with("perm", vec![1_i64, 0, 2]),
    )
}

/// Elements `from..to` of axis 1.
fn columns(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    from: Dim,
    to: Dim,
) -> Result<ValueId, RowError> {
    let attrs = Attrs::new()
        .with("axes", vec![1_i64])
        .with("starts", vec![from])
        .with("ends", vec![to]);
    ctx.push(&SLICE, &[value], attrs)
}

/// The sum of both parts of the bias, `[D, G*H]`; with `keep_last_bias` the recurrent part of the
/// last gate is left out.
fn input_bias(
    ctx: &mut RowCtx<'_, '_>,
    bias: ValueId,
    gates: i64,
    hidden: &Dim,
    keep_last_bias: bool,
) -> Result<ValueId, RowError> {
    let rows = hidden.clone() * Dim::new(gates);
    let end = rows.clone() * Dim::new(2);
    let first = columns(ctx, bias, Dim::new(0), rows.clone())?;
    if !keep_last_bias {
        let second = columns(ctx, bias, rows, end)?;
        return ctx.push(&ADD, &[first, second], Attrs::new());
    }
    let early = hidden.clone() * Dim::new(gates - 1);
    let first_early = columns(ctx, bias, Dim::new(0), early.clone())?;
    let first_last = columns(ctx, bias, early.clone(), rows.clone())?;
    let second_early = columns(ctx, bias, rows.clone(), rows + early)?;
    let sum = ctx.push(&ADD, &[first_early, second_early], Attrs::new())?;
    let axis = Attrs::new().with("axis", 1_i64);
    ctx.push(&alula_ops::shape::CONCAT, &[sum, first_last], axis)
}

/// Names and parameters of activations. Parameters are given for the activations that take any,
/// in order; others have their defaults.
fn activations(
    ctx: &RowCtx<'_, '_>,
    defaults: &[&str],
    directions: i64,
) -> Result<Attrs, RowError> {
    let wanted = defaults.len() * directions as usize;
    let names = ctx.strs("activations").unwrap_or_else(|| {
        let names = defaults.iter().cycle().take(wanted);
        names.map(|name| (*name).to_owned()).collect()
    });
    if names.len() != wanted {
        return Err(RowError::Invalid(format!(
            "activations {names:?}, needs {wanted}"
        )));
    }
    let mut given_alphas = ctx
        .floats("activation_alpha")
        .unwrap_or_default()
        .into_iter();
    let mut given_betas = ctx
        .floats("activation_beta")
        .unwrap_or_default()
        .into_iter();
    let (mut known, mut alphas, mut betas) = (Vec::new(), Vec::new(), Vec::new());
    for name in &names {
        let (own, alpha, beta) = match name.to_ascii_lowercase().as_str() {
            "relu" => ("relu", None, None),
            "tanh" => ("tanh", None, None),
            "sigmoid" => ("sigmoid", None, None),
            "softsign" => ("softsign", None, None),
            "softplus" => ("softplus", None, None),
            "affine" => ("affine", Some(1.0), Some(0.0)),
            "leakyrelu" => ("leaky_relu", Some(0.01), None),
            "thresholdedrelu" => ("thresholded_relu", Some(1.0), None),
            "scaledtanh" => ("scaled_tanh", Some(1.0), Some(1.0)),
            "hardsigmoid" => ("hard_sigmoid", Some(0.2), Some(0.5)),
            "elu" => ("elu", Some(1.0), None),
            _ => return Err(RowError::Unsupported(format!("activation {name:?}"))),
        };
        known.push(own.to_owned());
        let pick = |default: Option<f64>, given: &mut dyn Iterator<Item = f64>| match default {
            Some(default) => given.next().unwrap_or(default),
            None => 0.0,
        };
        alphas.push(pick(alpha, &mut given_alphas));
        betas.push(pick(beta, &mut given_betas));
    }
    Ok(Attrs::new()
        .with("activations", known)
        .with("alphas", alphas)
        .with("betas", betas))
}

/// Operands `x`, `w`, `r`, `bias` of a node.
fn sources(ctx: &RowCtx<'_, '_>) -> Result<Sources, RowError> {
    Ok(Sources {
        x: ctx.input(0)?,
        w: ctx.input(1)?,
        r: ctx.input(2)?,
        bias: ctx.optional(3),
        quantized: None,
    })
}

fn lstm(ctx: &mut RowCtx<'_, '_>) -> Built {
    let sources = sources(ctx)?;
    lstm_of(ctx, &sources)
}

/// An LSTM with weights as ONNX lays them out, which may be quantized.
pub(super) fn lstm_of(ctx: &mut RowCtx<'_, '_>, sources: &Sources) -> Built {
    let cells = Cells::new(ctx, sources, 4, &["Sigmoid", "Tanh", "Tanh"], false)?;
    let first = cells.state(ctx, ctx.optional(5))?;
    let first_cell = cells.state(ctx, ctx.optional(6))?;
    let attrs = cells
        .attrs
        .clone()
        .with("input_forget", ctx.flag("input_forget", false));
    let mut others = vec![first, ctx.optional(4), first_cell, ctx.optional(7)];
    if let Some(quantized) = sources.quantized {
        others.extend([Some(quantized.r_scale), quantized.r_zero]);
    }
    cells.run(ctx, &LSTM_SCAN, &others, attrs)
}

fn gru(ctx: &mut RowCtx<'_, '_>) -> Built {
    let linear = ctx.flag("linear_before_reset", false);
    let sources = sources(ctx)?;
    let cells = Cells::new(ctx, &sources, 3, &["Sigmoid", "Tanh"], linear)?;
    let first = cells.state(ctx, ctx.optional(5))?;
    let recurrent_bias = match sources.bias {
        Some(bias) if linear => {
            let from = cells.hidden.clone() * Dim::new(2 * cells.gates - 1);
            let to = cells.hidden.clone() * Dim::new(2 * cells.gates);
            let last = columns(ctx, bias, from, to)?;
            Some(reshape(
                ctx,
                last,
                vec![Dim::new(cells.directions), cells.hidden.clone()],
            )?)
        }
        _ => None,
    };
    let attrs = cells.attrs.clone().with("linear_before_reset", linear);
    cells.run(
        ctx,
        &GRU_SCAN,
        &[first, ctx.optional(4), recurrent_bias],
        attrs,
    )
}

fn rnn(ctx: &mut RowCtx<'_, '_>) -> Built {
    let sources = sources(ctx)?;
    let cells = Cells::new(ctx, &sources, 1, &["Tanh"], false)?;
    let first = cells.state(ctx, ctx.optional(5))?;
    let attrs = cells.attrs.clone();
    cells.run(ctx, &RNN_SCAN, &[first, ctx.optional(4)], attrs)
}
