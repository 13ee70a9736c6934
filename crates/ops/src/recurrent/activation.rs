//! Activations of gates: by name, with two parameters.

use alula_ir::{AttrKind, AttrSpec, Attrs, InferError};
use alula_kernel::ValueId;
use alula_tensor::{DType, Scalar, ScalarOp};

use crate::loops::Loops;

/// Names of activations, all of the first direction and then all of the second.
pub(super) const ACTIVATIONS: AttrSpec = AttrSpec::required(
    "activations",
    AttrKind::Strs,
    "one for each kind of gate and direction",
);

/// First parameters.
pub(super) const ALPHAS: AttrSpec = AttrSpec::required(
    "alphas",
    AttrKind::Floats,
    "first parameter of each activation",
);

/// Second parameters.
pub(super) const BETAS: AttrSpec = AttrSpec::required(
    "betas",
    AttrKind::Floats,
    "second parameter of each activation",
);

/// Bound of what goes into activations.
pub(super) const CLIP: AttrSpec = AttrSpec::float(
    "clip",
    0.0,
    "inputs of activations are limited to -clip..clip; 0: not",
);

/// What formulas are written in: instructions of a kernel, or operators of a graph.
pub(super) trait Formulas {
    /// A value that a formula has computed.
    type Value: Copy;

    /// A number of the dtype of another value.
    fn number(&mut self, like: Self::Value, value: f64) -> Self::Value;

    /// A scalar operator, for each element.
    fn apply(&mut self, op: ScalarOp, operands: &[Self::Value]) -> Self::Value;
}

impl Formulas for Loops {
    type Value = ValueId;

    fn number(&mut self, like: ValueId, value: f64) -> ValueId {
        let dtype = self.dtype(like);
        self.constant(dtype, Scalar::Float(value))
    }

    fn apply(&mut self, op: ScalarOp, operands: &[ValueId]) -> ValueId {
        Loops::apply(self, op, operands)
    }
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Activation {
    Relu,
    Tanh,
    Sigmoid,
    /// `alpha * x + beta`.
    Affine(f64, f64),
    /// `x`, or `alpha * x` below 0.
    LeakyRelu(f64),
    /// `x` above `alpha`, else 0.
    ThresholdedRelu(f64),
    /// `alpha * tanh(beta * x)`.
    ScaledTanh(f64, f64),
    /// `alpha * x + beta` within 0..1.
    HardSigmoid(f64, f64),
    /// `x`, or `alpha * (e^x - 1)` below 0.
    Elu(f64),
    Softsign,
    Softplus,
}

impl Activation {
    fn new(name: &str, alpha: f64, beta: f64) -> Option<Activation> {
        Some(match name {
            "relu" => Activation::Relu,
            "tanh" => Activation::Tanh,
            "sigmoid" => Activation::Sigmoid,
            "affine" => Activation::Affine(alpha, beta),
            "leaky_relu" => Activation::LeakyRelu(alpha),
            "thresholded_relu" => Activation::ThresholdedRelu(alpha),
            "scaled_tanh" => Activation::ScaledTanh(alpha, beta),
            "hard_sigmoid" => Activation::HardSigmoid(alpha, beta),
            "elu" => Activation::Elu(alpha),
            "softsign" => Activation::Softsign,
            "softplus" => Activation::Softplus,
            _ => return None,
        })
    }

    /// The value at `x`: the reference.
    pub(super) fn eval(self, x: f64) -> f64 {
        match self {
            Activation::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Affine(a, b) => a * x + b,
            Activation::LeakyRelu(a) => {
                if x < 0.0 {
                    a * x
                } else {
                    x
                }
            }
            Activation::ThresholdedRelu(a) => {
                if x > a {
                    x
                } else {
                    0.0
                }
            }
            Activation::ScaledTanh(a, b) => a * (b * x).tanh(),
            Activation::HardSigmoid(a, b) => (a * x + b).clamp(0.0, 1.0),
            Activation::Elu(a) => {
                if x < 0.0 {
                    a * x.exp_m1()
                } else {
                    x
                }
            }
            Activation::Softsign => x / (1.0 + x.abs()),
            Activation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }

    /// The value at `x` as a formula.
    fn emit<F: Formulas>(self, f: &mut F, x: F::Value) -> F::Value {
        let line = |f: &mut F, a: f64, b: f64| {
            let (a, b) = (f.number(x, a), f.number(x, b));
            let scaled = f.apply(ScalarOp::Mul, &[a, x]);
            f.apply(ScalarOp::Add, &[scaled, b])
        };
        match self {
            Activation::Relu => {
                let zero = f.number(x, 0.0);
                f.apply(ScalarOp::Max, &[x, zero])
            }
            Activation::Tanh => f.apply(ScalarOp::Tanh, &[x]),
            Activation::Sigmoid => {
                let negative = f.apply(ScalarOp::Neg, &[x]);
                let power = f.apply(ScalarOp::Exp, &[negative]);
                let one = f.number(x, 1.0);
                let below = f.apply(ScalarOp::Add, &[one, power]);
                f.apply(ScalarOp::Div, &[one, below])
            }
            Activation::Affine(a, b) => line(f, a, b),
            Activation::LeakyRelu(a) => {
                let (zero, a) = (f.number(x, 0.0), f.number(x, a));
                let scaled = f.apply(ScalarOp::Mul, &[a, x]);
                let below = f.apply(ScalarOp::Lt, &[x, zero]);
                f.apply(ScalarOp::Select, &[below, scaled, x])
            }
            Activation::ThresholdedRelu(a) => {
                let (zero, a) = (f.number(x, 0.0), f.number(x, a));
                let above = f.apply(ScalarOp::Gt, &[x, a]);
                f.apply(ScalarOp::Select, &[above, x, zero])
            }
            Activation::ScaledTanh(a, b) => {
                let (a, b) = (f.number(x, a), f.number(x, b));
                let inner = f.apply(ScalarOp::Mul, &[b, x]);
                let bent = f.apply(ScalarOp::Tanh, &[inner]);
                f.apply(ScalarOp::Mul, &[a, bent])
            }
            Activation::HardSigmoid(a, b) => {
                let value = line(f, a, b);
                let (zero, one) = (f.number(x, 0.0), f.number(x, 1.0));
                let above = f.apply(ScalarOp::Max, &[value, zero]);
                f.apply(ScalarOp::Min, &[above, one])
            }
            Activation::Elu(a) => {
                let (zero, a) = (f.number(x, 0.0), f.number(x, a));
                let power = f.apply(ScalarOp::Expm1, &[x]);
                let scaled = f.apply(ScalarOp::Mul, &[a, power]);
                let below = f.apply(ScalarOp::Lt, &[x, zero]);
                f.apply(ScalarOp::Select, &[below, scaled, x])
            }
            Activation::Softsign => {
                let one = f.number(x, 1.0);
                let magnitude = f.apply(ScalarOp::Abs, &[x]);
                let below = f.apply(ScalarOp::Add, &[one, magnitude]);
                f.apply(ScalarOp::Div, &[x, below])
            }
            Activation::Softplus => {
                let zero = f.number(x, 0.0);
                let positive = f.apply(ScalarOp::Max, &[x, zero]);
                let magnitude = f.apply(ScalarOp::Abs, &[x]);
                let negative = f.apply(ScalarOp::Neg, &[magnitude]);
                let power = f.apply(ScalarOp::Exp, &[negative]);
                let rest = f.apply(ScalarOp::Log1p, &[power]);
                f.apply(ScalarOp::Add, &[positive, rest])
            }
        }
    }
}

/// The activations of a scan: `kinds` for each direction.
#[derive(Clone, Debug)]
pub(super) struct Activations {
    list: Vec<Activation>,
    kinds: usize,
    clip: f64,
}

impl Activations {
    /// Reads the attributes of a scan with `kinds` kinds of gates.
    pub(super) fn new(attrs: &Attrs, kinds: usize) -> Result<Activations, InferError> {
        let (names, alphas, betas) = (
            attrs.strs("activations"),
            attrs.floats("alphas"),
            attrs.floats("betas"),
        );
        let bad = |reason: String| InferError::BadAttr {
            name: "activations".to_owned(),
            reason,
        };
        let count = names.len();
        if (count != kinds && count != 2 * kinds) || alphas.len() != count || betas.len() != count {
            return Err(bad(format!(
                "{names:?} with {} alphas and {} betas: {kinds} of each are needed per direction",
                alphas.len(),
                betas.len()
            )));
        }
        let list = names
            .iter()
            .zip(alphas)
            .zip(betas)
            .map(|((name, alpha), beta)| {
                Activation::new(name, *alpha, *beta)
                    .ok_or_else(|| bad(format!("{name:?} is no activation")))
            });
        Ok(Activations {
            list: list.collect::<Result<_, _>>()?,
            kinds,
            clip: attrs.float("clip"),
        })
    }

    /// Number of directions that the activations are for.
    pub(super) fn directions(&self) -> usize {
        self.list.len() / self.kinds
    }

    fn of(&self, direction: usize, kind: usize) -> Activation {
        self.list[direction.min(self.directions() - 1) * self.kinds + kind]
    }

    /// The gate's value in the reference, input limited.
    pub(super) fn eval(&self, direction: usize, kind: usize, x: f64) -> f64 {
        let limited = if self.clip > 0.0 {
            x.clamp(-self.clip, self.clip)
        } else {
            x
        };
        self.of(direction, kind).eval(limited)
    }

    /// As [`Activations::eval`] without the limit.
    pub(super) fn eval_unlimited(&self, direction: usize, kind: usize, x: f64) -> f64 {
        self.of(direction, kind).eval(x)
    }

    /// The gate's value in a kernel, input limited; `direction` is an `i64` value.
    pub(super) fn emit(
        &self,
        l: &mut Loops,
        direction: ValueId,
        kind: usize,
        x: ValueId,
    ) -> ValueId {
        let limited = self.limited(l, x);
        self.emit_unlimited(l, direction, kind, limited)
    }

    /// As [`Activations::emit`] without the limit.
    pub(super) fn emit_unlimited(
        &self,
        l: &mut Loops,
        direction: ValueId,
        kind: usize,
        x: ValueId,
    ) -> ValueId {
        let (first, second) = (self.of(0, kind), self.of(1, kind));
        let value = first.emit(l, x);
        if first == second {
            return value;
        }
        let other = second.emit(l, x);
        let zero = l.constant(DType::I64, Scalar::Int(0));
        let is_first = l.apply(ScalarOp::Eq, &[direction, zero]);
        l.apply(ScalarOp::Select, &[is_first, value, other])
    }

    /// The gate's value in a known direction as a formula, input limited.
    pub(super) fn emit_in<F: Formulas>(
        &self,
        f: &mut F,
        direction: usize,
        kind: usize,
        x: F::Value,
    ) -> F::Value {
        let limited = self.limited(f, x);
        self.emit_unlimited_in(f, direction, kind, limited)
    }

    /// As [`Activations::emit_in`] without the limit.
    pub(super) fn emit_unlimited_in<F: Formulas>(
        &self,
        f: &mut F,
        direction: usize,
        kind: usize,
        x: F::Value,
    ) -> F::Value {
        self.of(direction, kind).emit(f, x)
    }

    fn limited<F: Formulas>(&self, f: &mut F, x: F::Value) -> F::Value {
        if self.clip <= 0.0 {
            return x;
        }
        let (low, high) = (f.number(x, -self.clip), f.number(x, self.clip));
        let above = f.apply(ScalarOp::Max, &[x, low]);
        f.apply(ScalarOp::Min, &[above, high])
    }
}
