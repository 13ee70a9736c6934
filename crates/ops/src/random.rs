//! Random numbers: seeded, and the same for one seed on every machine.

use alula_ir::{
    AttrKind, AttrSpec, Attrs, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred,
    Lowering, OpDef, Traits,
};
use alula_program::HostFn;
use alula_tensor::{Dim, Scalar};

/// The family's rows.
pub const ROWS: &[&OpDef] = &[&RANDOM_NORMAL, &RANDOM_UNIFORM];

const RANDOM: Traits = Traits {
    random: true,
    ..Traits::NONE
};

const SHAPE: AttrSpec = AttrSpec::required("shape", AttrKind::Dims, "extents of the result");
const SEED: AttrSpec = AttrSpec::required("seed", AttrKind::Int, "where the numbers start");
const DTYPE: AttrSpec = AttrSpec::required("dtype", AttrKind::DType, "a float type");

/// Normal numbers with a mean and a standard deviation.
pub static RANDOM_NORMAL: OpDef = OpDef {
    name: "random_normal",
    summary: "normal random numbers: mean + scale * z",
    operands: &[],
    attrs: &[
        SHAPE,
        SEED,
        DTYPE,
        AttrSpec::float("mean", 0.0, "mean"),
        AttrSpec::float("scale", 1.0, "standard deviation"),
    ],
    traits: RANDOM,
    infer,
    eval: |ctx| {
        let (mean, scale) = (ctx.attrs.float("mean"), ctx.attrs.float("scale"));
        eval(ctx, |generator| {
            // Box and Muller; the logarithm's argument is never 0.
            let radius = (-2.0 * (1.0 - generator.unit()).ln()).sqrt();
            let angle = std::f64::consts::TAU * generator.unit();
            mean + scale * radius * angle.cos()
        })
    },
    lowering: Lowering::Host(|ctx| {
        Ok(HostFn::RandomNormal {
            mean: ctx.attrs.float("mean"),
            scale: ctx.attrs.float("scale"),
            seed: seed(ctx.attrs),
            dtype: ctx.attrs.dtype("dtype"),
        })
    }),
    examples: &[
        "graph @e() { %y = random_normal {shape = [2, 3], seed = 7, dtype = f32} return y: %y }",
        "graph @e(%x: f64[N, 2]) {
           %r = random_normal {shape = [N, 1], seed = -1, dtype = f64, mean = 3.0, scale = 0.5}
           %y = add %x, %r return y: %y }",
    ],
};

/// Numbers spread evenly from `low` to below `high`.
pub static RANDOM_UNIFORM: OpDef = OpDef {
    name: "random_uniform",
    summary: "uniform random numbers: low + (high - low) * u, u in 0..1",
    operands: &[],
    attrs: &[
        SHAPE,
        SEED,
        DTYPE,
        AttrSpec::float("low", 0.0, "least"),
        AttrSpec::float("high", 1.0, "bound"),
    ],
    traits: RANDOM,
    infer,
    eval: |ctx| {
        let (low, high) = (ctx.attrs.float("low"), ctx.attrs.float("high"));
        eval(ctx, |generator| low + (high - low) * generator.unit())
    },
    lowering: Lowering::Host(|ctx| {
        Ok(HostFn::RandomUniform {
            low: ctx.attrs.float("low"),
            high: ctx.attrs.float("high"),
            seed: seed(ctx.attrs),
            dtype: ctx.attrs.dtype("dtype"),
        })
    }),
    examples: &[
        "graph @e() { %y = random_uniform {shape = [4], seed = 7, dtype = f16} return y: %y }",
        "graph @e() {
           %y = random_uniform {shape = [0, 2], seed = 0, dtype = f32, low = -1.0}
           return y: %y }",
    ],
};

fn seed(attrs: &Attrs) -> u64 {
    attrs.int("seed").cast_unsigned()
}

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.attrs.dtype("dtype");
    if !dtype.is_float() {
        return Err(InferError::BadAttr {
            name: "dtype".to_owned(),
            reason: format!("is {dtype}, must be a float type"),
        });
    }
    Ok(vec![Inferred::tensor(
        dtype,
        ctx.attrs.dims("shape").to_vec(),
    )])
}

/// A counter put through the finaliser of splitmix64 (Steele, Lea and Flood, 2014).
struct Generator(u64);

impl Generator {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn eval(
    ctx: &EvalCtx<'_>,
    mut draw: impl FnMut(&mut Generator) -> f64,
) -> Result<Vec<HostValue>, EvalError> {
    let known = |dim: &Dim| {
        dim.as_const()
            .and_then(|extent| usize::try_from(extent).ok())
    };
    let shape: Option<Vec<usize>> = ctx.attrs.dims("shape").iter().map(known).collect();
    let shape = shape.ok_or_else(|| EvalError::Value("the shape is not known".to_owned()))?;
    let dtype = ctx.attrs.dtype("dtype");
    let count = ctx.zeros(dtype, &shape)?.len();
    let mut generator = Generator(seed(ctx.attrs));
    let values: Vec<Scalar> = (0..count)
        .map(|_| Scalar::Float(draw(&mut generator)))
        .collect();
    Ok(vec![ctx.result(dtype, &shape, &values)?])
}
