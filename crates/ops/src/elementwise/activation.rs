//! Activations: small formulas of one operand and constant attributes.

use alula_ir::{
    AttrSpec, Attrs, InferCtx, InferError, Inferred, LowerCtx, LowerError, Lowering, OpDef, Traits,
};
use alula_kernel::{Compute, ExprId, Pool};
use alula_tensor::{DType, DTypeClass, Scalar, ScalarOp};

use super::map_elements;

/// The result has the type of operand 0, which must be of floats.
fn infer_float(ctx: &InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(0, &[DTypeClass::Float])?;
    let ty = ctx.tensor(0)?;
    Ok(vec![Inferred::tensor(ty.dtype, ty.shape.clone())])
}

/// As [`infer_float`], for a formula that divides by alpha.
fn infer_celu(ctx: &InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    if ctx.attrs.float("alpha") == 0.0 {
        return Err(InferError::BadAttr {
            name: "alpha".to_owned(),
            reason: "is 0, and divides".to_owned(),
        });
    }
    infer_float(ctx)
}

/// The result has the type of operand 0, which must be of numbers.
fn infer_number(ctx: &InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(
        0,
        &[DTypeClass::Float, DTypeClass::Signed, DTypeClass::Unsigned],
    )?;
    let ty = ctx.tensor(0)?;
    Ok(vec![Inferred::tensor(ty.dtype, ty.shape.clone())])
}

fn lower(
    ctx: &LowerCtx<'_>,
    formula: fn(&mut Pool, ExprId, DType, &Attrs) -> ExprId,
) -> Result<Vec<Compute>, LowerError> {
    let result = ctx.result(0);
    let mut compute = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let x = compute.load_broadcast(0);
    let value = formula(&mut compute.pool, x, result.dtype.compute(), ctx.attrs);
    Ok(vec![compute.finish(value)])
}

/// A row of one float operand: name, attributes, reference on `f64`, formula.
macro_rules! rows {
    ($($constant:ident $name:literal $summary:literal $infer:ident [$($attr:expr),*]
       $reference:expr, $formula:expr, $example:literal;)*) => {
        $(
            #[doc = $summary]
            pub static $constant: OpDef = OpDef {
                name: $name,
                summary: $summary,
                operands: &["x"],
                attrs: &[$($attr),*],
                traits: Traits {
                    commutative: false,
                    random: false,
                    elementwise: true,
                    control_flow: false,
                },
                infer: |ctx| $infer(ctx),
                eval: |ctx| {
                    let reference: fn(f64, &Attrs) -> f64 = $reference;
                    let dtype = ctx.tensor(0)?.dtype();
                    map_elements(ctx, dtype, |x| Scalar::Float(reference(x[0].to_f64(), ctx.attrs)))
                },
                lowering: Lowering::Compute(|ctx| lower(ctx, $formula)),
                examples: &[$example],
            };
        )*
        /// The family's rows.
        pub const ROWS: &[&OpDef] = &[$(&$constant),*];
    };
}

/// `1 / (1 + e^-x)`.
fn sigmoid(pool: &mut Pool, x: ExprId, dtype: DType) -> ExprId {
    let negative = pool.unary(ScalarOp::Neg, x);
    let power = pool.unary(ScalarOp::Exp, negative);
    let one = pool.float(dtype, 1.0);
    let below = pool.add(one, power);
    pool.div(one, below)
}

fn clamp(pool: &mut Pool, x: ExprId, dtype: DType, low: f64, high: f64) -> ExprId {
    let (low, high) = (pool.float(dtype, low), pool.float(dtype, high));
    let above = pool.apply(ScalarOp::Max, &[x, low]);
    pool.apply(ScalarOp::Min, &[above, high])
}

/// `log(1 + e^x)` as `max(x, 0) + log1p(e^-|x|)`, which does not overflow.
fn softplus(pool: &mut Pool, x: ExprId, dtype: DType) -> ExprId {
    let zero = pool.float(dtype, 0.0);
    let positive = pool.apply(ScalarOp::Max, &[x, zero]);
    let magnitude = pool.unary(ScalarOp::Abs, x);
    let negative = pool.unary(ScalarOp::Neg, magnitude);
    let power = pool.unary(ScalarOp::Exp, negative);
    let rest = pool.unary(ScalarOp::Log1p, power);
    pool.add(positive, rest)
}

/// NaN-propagating clamp of a reference.
fn clamp64(x: f64, low: f64, high: f64) -> f64 {
    if x.is_nan() { x } else { x.max(low).min(high) }
}

const SELU_ALPHA: f64 = 1.673_263_192_176_818_8;
const SELU_GAMMA: f64 = 1.050_701_022_148_132_3;

rows! {
    RELU "relu" "`max(x, 0)`; NaN stays" infer_number []
        |x, _| if x < 0.0 { 0.0 } else { x },
        |pool, x, dtype, _| {
            let zero = pool.constant(dtype, Scalar::Int(0));
            pool.apply(ScalarOp::Max, &[x, zero])
        },
        "graph @e(%x: f32[2, 3]) { %y = relu %x return y: %y }";
    SIGMOID "sigmoid" "`1 / (1 + e^-x)`" infer_float []
        |x, _| 1.0 / (1.0 + (-x).exp()),
        |pool, x, dtype, _| sigmoid(pool, x, dtype),
        "graph @e(%x: f32[2, 3]) { %y = sigmoid %x return y: %y }";
    SILU "silu" "`x * sigmoid(alpha * x)`" infer_float
        [AttrSpec::float("alpha", 1.0, "slope inside the sigmoid")]
        |x, a| x / (1.0 + (-a.float("alpha") * x).exp()),
        |pool, x, dtype, attrs| {
            let alpha = pool.float(dtype, attrs.float("alpha"));
            let inner = if attrs.float("alpha") == 1.0 { x } else { pool.mul(alpha, x) };
            let gate = sigmoid(pool, inner, dtype);
            pool.mul(x, gate)
        },
        "graph @e(%x: f32[2, 3]) { %y = silu %x {alpha = 1.702} return y: %y }";
    GELU "gelu" "`x/2 * (1 + erf(x / sqrt 2))`, or its tanh approximation" infer_float
        [AttrSpec::bool("tanh", false, "`x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))`")]
        |x, a| if a.bool("tanh") {
            let cubic = x + 0.044_715 * x * x * x;
            x / (1.0 + (-2.0 * (2.0 / std::f64::consts::PI).sqrt() * cubic).exp())
        } else {
            let scaled = Scalar::Float(-x / std::f64::consts::SQRT_2);
            0.5 * x * ScalarOp::Erfc.eval(DType::F64, &[scaled]).to_f64()
        },
        // Neither form adds to 1 what is nearly -1, as the definitions do.
        |pool, x, dtype, attrs| if attrs.bool("tanh") {
            let square = pool.mul(x, x);
            let cube = pool.mul(square, x);
            let factor = pool.float(dtype, 0.044_715);
            let small = pool.mul(factor, cube);
            let sum = pool.add(x, small);
            let scale = pool.float(dtype, (8.0 / std::f64::consts::PI).sqrt());
            let scaled = pool.mul(scale, sum);
            let gate = sigmoid(pool, scaled, dtype);
            pool.mul(x, gate)
        } else {
            let scale = pool.float(dtype, -std::f64::consts::FRAC_1_SQRT_2);
            let scaled = pool.mul(x, scale);
            let gate = pool.unary(ScalarOp::Erfc, scaled);
            let half = pool.float(dtype, 0.5);
            let halved = pool.mul(x, half);
            pool.mul(halved, gate)
        },
        "graph @e(%x: f32[2, 3]) { %a = gelu %x %y = gelu %a {tanh = true} return y: %y }";
    LEAKY_RELU "leaky_relu" "`x` where it is not negative, else `alpha * x`" infer_float
        [AttrSpec::float("alpha", 0.01, "slope below zero")]
        |x, a| if x < 0.0 { a.float("alpha") * x } else { x },
        |pool, x, dtype, attrs| {
            let zero = pool.float(dtype, 0.0);
            let alpha = pool.float(dtype, attrs.float("alpha"));
            let below = pool.apply(ScalarOp::Lt, &[x, zero]);
            let scaled = pool.mul(alpha, x);
            pool.select(below, scaled, x)
        },
        "graph @e(%x: f32[2, 3]) { %y = leaky_relu %x {alpha = 0.2} return y: %y }";
    ELU "elu" "`x` above zero, else `alpha * (e^x - 1)`" infer_float
        [AttrSpec::float("alpha", 1.0, "scale below zero")]
        |x, a| if x < 0.0 { a.float("alpha") * x.exp_m1() } else { x },
        |pool, x, dtype, attrs| {
            let zero = pool.float(dtype, 0.0);
            let alpha = pool.float(dtype, attrs.float("alpha"));
            let below = pool.apply(ScalarOp::Lt, &[x, zero]);
            let power = pool.unary(ScalarOp::Expm1, x);
            let scaled = pool.mul(alpha, power);
            pool.select(below, scaled, x)
        },
        "graph @e(%x: f32[2, 3]) { %y = elu %x {alpha = 2.0} return y: %y }";
    SELU "selu" "`gamma * (x above zero, else alpha * (e^x - 1))`" infer_float
        [AttrSpec::float("alpha", SELU_ALPHA, "scale below zero"),
         AttrSpec::float("gamma", SELU_GAMMA, "scale everywhere")]
        |x, a| a.float("gamma") * if x > 0.0 { x } else { a.float("alpha") * x.exp_m1() },
        |pool, x, dtype, attrs| {
            let zero = pool.float(dtype, 0.0);
            let (alpha, gamma) = (attrs.float("alpha"), attrs.float("gamma"));
            let (alpha, gamma) = (pool.float(dtype, alpha), pool.float(dtype, gamma));
            let above = pool.apply(ScalarOp::Gt, &[x, zero]);
            let power = pool.unary(ScalarOp::Expm1, x);
            let scaled = pool.mul(alpha, power);
            let value = pool.select(above, x, scaled);
            pool.mul(gamma, value)
        },
        "graph @e(%x: f32[2, 3]) { %y = selu %x return y: %y }";
    HARD_SIGMOID "hard_sigmoid" "`alpha * x + beta` clamped to 0..1" infer_float
        [AttrSpec::float("alpha", 0.2, "slope"), AttrSpec::float("beta", 0.5, "offset")]
        |x, a| clamp64(a.float("alpha") * x + a.float("beta"), 0.0, 1.0),
        |pool, x, dtype, attrs| {
            let (alpha, beta) = (attrs.float("alpha"), attrs.float("beta"));
            let (alpha, beta) = (pool.float(dtype, alpha), pool.float(dtype, beta));
            let scaled = pool.mul(alpha, x);
            let line = pool.add(scaled, beta);
            clamp(pool, line, dtype, 0.0, 1.0)
        },
        "graph @e(%x: f32[2, 3]) { %y = hard_sigmoid %x return y: %y }";
    HARD_SWISH "hard_swish" "`x * clamp(x/6 + 1/2, 0, 1)`" infer_float []
        |x, _| x * clamp64(x / 6.0 + 0.5, 0.0, 1.0),
        |pool, x, dtype, _| {
            // No product with 1/6, which is no float: its error has one sign for all elements.
            let (three, six) = (pool.float(dtype, 3.0), pool.float(dtype, 6.0));
            let line = pool.add(x, three);
            let clamped = clamp(pool, line, dtype, 0.0, 6.0);
            let gate = pool.div(clamped, six);
            pool.mul(x, gate)
        },
        "graph @e(%x: f32[2, 3]) { %y = hard_swish %x return y: %y }";
    SOFTPLUS "softplus" "`log(1 + e^x)`" infer_float []
        |x, _| if x > 40.0 { x } else { x.exp().ln_1p() },
        |pool, x, dtype, _| softplus(pool, x, dtype),
        "graph @e(%x: f32[2, 3]) { %y = softplus %x return y: %y }";
    SOFTSIGN "softsign" "`x / (1 + |x|)`" infer_float []
        |x, _| x / (1.0 + x.abs()),
        |pool, x, dtype, _| {
            let magnitude = pool.unary(ScalarOp::Abs, x);
            let one = pool.float(dtype, 1.0);
            let below = pool.add(one, magnitude);
            pool.div(x, below)
        },
        "graph @e(%x: f32[2, 3]) { %y = softsign %x return y: %y }";
    MISH "mish" "`x * tanh(softplus(x))`" infer_float []
        |x, _| x * (if x > 40.0 { x } else { x.exp().ln_1p() }).tanh(),
        |pool, x, dtype, _| {
            let plus = softplus(pool, x, dtype);
            let gate = pool.unary(ScalarOp::Tanh, plus);
            pool.mul(x, gate)
        },
        "graph @e(%x: f32[2, 3]) { %y = mish %x return y: %y }";
    CELU "celu" "`max(x, 0) + min(0, alpha * (e^(x / alpha) - 1))`, alpha not 0" infer_celu
        [AttrSpec::float("alpha", 1.0, "scale below zero")]
        |x, a| {
            // Of the two terms, one is 0 whatever the sign of alpha.
            let alpha = a.float("alpha");
            if x > 0.0 { x } else { alpha * (x / alpha).exp_m1() }
        },
        |pool, x, dtype, attrs| {
            let (zero, alpha) = (pool.float(dtype, 0.0), pool.float(dtype, attrs.float("alpha")));
            let positive = pool.apply(ScalarOp::Max, &[x, zero]);
            let ratio = pool.div(x, alpha);
            let power = pool.unary(ScalarOp::Expm1, ratio);
            let scaled = pool.mul(alpha, power);
            let negative = pool.apply(ScalarOp::Min, &[scaled, zero]);
            pool.add(positive, negative)
        },
        "graph @e(%x: f32[2, 3]) { %y = celu %x {alpha = 2.0} return y: %y }";
    THRESHOLDED_RELU "thresholded_relu" "`x` above alpha, else 0" infer_float
        [AttrSpec::float("alpha", 1.0, "threshold")]
        |x, a| if x > a.float("alpha") { x } else { 0.0 },
        |pool, x, dtype, attrs| {
            let (zero, alpha) = (pool.float(dtype, 0.0), pool.float(dtype, attrs.float("alpha")));
            let above = pool.apply(ScalarOp::Gt, &[x, alpha]);
            pool.select(above, x, zero)
        },
        "graph @e(%x: f32[2, 3]) { %y = thresholded_relu %x {alpha = 0.5} return y: %y }";
    SHRINK "shrink" "`x + bias` below -lambd, `x - bias` above lambd, else 0" infer_number
        [AttrSpec::float("bias", 0.0, "distance moved towards zero"),
         AttrSpec::float("lambd", 0.5, "bound of what becomes zero")]
        |x, a| if x < -a.float("lambd") {
            x + a.float("bias")
        } else if x > a.float("lambd") {
            x - a.float("bias")
        } else {
            0.0
        },
        |pool, x, dtype, attrs| {
            // Integers are compared and moved as floats.
            let real = if dtype.is_float() { dtype } else { DType::F64 };
            let x = pool.cast(x, real);
            let (zero, bias) = (pool.float(real, 0.0), pool.float(real, attrs.float("bias")));
            let lambd = attrs.float("lambd");
            let (low, high) = (pool.float(real, -lambd), pool.float(real, lambd));
            let (up, down) = (pool.add(x, bias), pool.sub(x, bias));
            let is_above = pool.apply(ScalarOp::Gt, &[x, high]);
            let is_below = pool.apply(ScalarOp::Lt, &[x, low]);
            let value = pool.select(is_above, down, zero);
            let value = pool.select(is_below, up, value);
            pool.cast(value, dtype)
        },
        "graph @e(%x: f32[2, 3]) { %y = shrink %x {bias = 0.25} return y: %y }";
}
