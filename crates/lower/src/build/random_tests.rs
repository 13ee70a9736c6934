//! Random definitions, built with every policy and compared with their evaluation.

use alula_kernel::interpret::{evaluate, run_tensors};
use alula_kernel::text::Printed;
use alula_kernel::{Compute, ExprId, FoldOp, Operand, VarId, verify};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp, Storage, Symbol, Tensor};

use super::{ParamSpec, Policy, build_for};
use crate::legalize::{Caps, legalize};
use crate::schedule::schedule_rows;

/// A small generator of random numbers (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())].clone()
    }
}

fn extent(random: &mut Random) -> Dim {
    match random.below(9) {
        0 | 1 => Dim::named("N"),
        2 => Dim::named("N") + Dim::new(2),
        3 => Dim::new(1),
        _ => Dim::new(random.pick(&[2_i64, 3, 4, 7, 16, 33, 70])),
    }
}

struct Generator {
    random: Random,
    compute: Compute,
    /// Variables that may be used, with expressions made so far that need no others.
    vars: Vec<VarId>,
    made: Vec<ExprId>,
}

impl Generator {
    fn definition(seed: u64) -> Compute {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(seed));
        random.below(2);
        let rank = random.below(4);
        let shape: Vec<Dim> = (0..rank).map(|_| extent(&mut random)).collect();
        let dtype = random.pick(&[DType::F32, DType::F32, DType::F16, DType::F64]);
        let compute = Compute::begin(Vec::new(), dtype, &shape);
        let vars = compute.axes.iter().map(|axis| axis.var).collect();
        let mut generator = Generator {
            random,
            compute,
            vars,
            made: Vec::new(),
        };
        let depth = 2 + generator.random.below(3);
        let value = generator.value(depth);
        generator.compute.finish(value)
    }

    /// A random `f32` value over the variables in scope.
    fn value(&mut self, depth: usize) -> ExprId {
        let value = match self.random.below(14) {
            _ if depth == 0 => self.load(),
            0 => self.load(),
            1 => {
                let a = self.value(depth - 1);
                let a = self.compute.pool.unary(ScalarOp::Tanh, a);
                self.compute.pool.unary(ScalarOp::Exp, a)
            }
            2 => {
                let a = self.value(depth - 1);
                let op = self.random.pick(&[ScalarOp::Abs, ScalarOp::Neg]);
                self.compute.pool.unary(op, a)
            }
            3 => {
                // Compared values are exact: rounding must not decide.
                let (a, b) = (self.load(), self.load());
                let (c, d) = (self.value(depth - 1), self.value(depth - 1));
                let less = self.compute.pool.apply(ScalarOp::Lt, &[a, b]);
                self.compute.pool.select(less, c, d)
            }
            4 if !self.made.is_empty() => {
                let made = self.made.clone();
                self.random.pick(&made)
            }
            5 => {
                let index = self.index();
                self.compute.pool.cast(index, DType::F32)
            }
            6..=8 => self.fold(depth - 1),
            9 | 10 if !self.vars.is_empty() => self.normalized(),
            _ => {
                let (a, b) = (self.value(depth - 1), self.value(depth - 1));
                let op = self.random.pick(&[
                    ScalarOp::Add,
                    ScalarOp::Sub,
                    ScalarOp::Mul,
                    ScalarOp::Max,
                    ScalarOp::Min,
                ]);
                self.compute.pool.apply(op, &[a, b])
            }
        };
        self.made.push(value);
        value
    }

    /// An integer made of variables.
    fn index(&mut self) -> ExprId {
        match self.vars.len() {
            0 => self.compute.pool.int(1),
            n => {
                let var = self.vars[self.random.below(n)];
                self.compute.pool.var_expr(var)
            }
        }
    }

    /// An expensive value over the sum of the same along an axis, as in a softmax.
    fn normalized(&mut self) -> ExprId {
        let vars = self.vars.clone();
        let pool = &mut self.compute.pool;
        let along = self.random.below(vars.len());
        let shape: Vec<Dim> = vars.iter().map(|&var| pool.extent(var).clone()).collect();
        let k = pool.var(shape[along].clone());
        let own: Vec<ExprId> = vars.iter().map(|&var| pool.var_expr(var)).collect();
        let mut each = own.clone();
        each[along] = pool.var_expr(k);
        self.compute.operands.push(Operand {
            dtype: DType::F32,
            shape,
        });
        let operand = self.compute.operands.len() - 1;
        let mut power = |index: Vec<ExprId>| {
            let value = self.compute.load(operand, index);
            self.compute.pool.unary(ScalarOp::Exp, value)
        };
        let (own, each) = (power(own), power(each));
        let sum = self.compute.pool.fold(FoldOp::Add, vec![k], each);
        self.compute.pool.div(own, sum)
    }

    fn fold(&mut self, depth: usize) -> ExprId {
        let (scope, made) = (self.vars.clone(), self.made.clone());
        let vars: Vec<VarId> = (0..1 + self.random.below(2))
            .map(|_| {
                let extent = extent(&mut self.random);
                self.compute.pool.var(extent)
            })
            .collect();
        // A fold often does not depend on the innermost axes: that is what hoisting is for.
        if self.random.below(2) == 0 {
            self.vars.truncate(self.random.below(self.vars.len() + 1));
            self.made.clear();
        }
        self.vars.extend(&vars);
        let body = self.value(depth);
        (self.vars, self.made) = (scope, made);
        let op = self.random.pick(&[FoldOp::Add, FoldOp::Max, FoldOp::Min]);
        self.compute.pool.fold(op, vars, body)
    }

    /// A load from a new operand, its axes over some of the variables: straight, broadcast,
    /// with offset and stride, turned around, split or padded.
    fn load(&mut self) -> ExprId {
        let mut vars: Vec<VarId> = self.vars.clone();
        vars.retain(|_| self.random.below(4) > 0);
        if vars.len() > 1 && self.random.below(4) == 0 {
            let (a, b) = (self.random.below(vars.len()), self.random.below(vars.len()));
            vars.swap(a, b);
        }
        let (mut shape, mut index, mut is_padded) = (Vec::new(), Vec::new(), false);
        for var in vars {
            let pool = &mut self.compute.pool;
            let (extent, at) = (pool.extent(var).clone(), pool.var_expr(var));
            match self.random.below(10) {
                0 => {
                    let (two, one) = (pool.int(2), pool.int(1));
                    let doubled = pool.mul(at, two);
                    index.push(pool.add(doubled, one));
                    shape.push(extent * Dim::new(2) + Dim::new(1));
                }
                1 => {
                    let last = pool.dim(extent.clone() - Dim::new(1));
                    index.push(pool.sub(last, at));
                    shape.push(extent);
                }
                2 => {
                    let three = pool.int(3);
                    index.push(pool.apply(ScalarOp::FloorDiv, &[at, three]));
                    shape.push(extent.clone());
                    index.push(pool.apply(ScalarOp::FloorMod, &[at, three]));
                    shape.push(Dim::new(3));
                }
                3 => {
                    let one = pool.int(1);
                    index.push(pool.sub(at, one));
                    shape.push(extent);
                    is_padded = true;
                }
                _ => {
                    index.push(at);
                    shape.push(extent);
                }
            }
        }
        let dtypes = [DType::F32, DType::F32, DType::F32, DType::F16, DType::I32];
        let dtype = self.random.pick(&dtypes);
        self.compute.operands.push(Operand {
            dtype,
            shape: shape.clone(),
        });
        let operand = self.compute.operands.len() - 1;
        let guarded: Vec<usize> = if is_padded {
            (0..shape.len()).collect()
        } else {
            Vec::new()
        };
        let zero = self.compute.pool.constant(dtype.compute(), Scalar::Int(0));
        let value = self.compute.load_padded(operand, index, &guarded, zero);
        self.compute.pool.cast(value, DType::F32)
    }
}

fn tensor(random: &mut Random, operand: &Operand, bind: &dyn Fn(&Symbol) -> Option<i64>) -> Tensor {
    let shape: Vec<usize> = operand
        .shape
        .iter()
        .map(|dim| dim.eval(bind).expect("N is bound") as usize)
        .collect();
    let count: usize = shape.iter().product();
    let values: Vec<Scalar> = (0..count)
        .map(|_| Scalar::Float(random.below(33) as f64 / 16.0 - 1.0))
        .map(|value| {
            if operand.dtype.is_float() {
                value
            } else {
                Scalar::Int(1)
            }
        })
        .collect();
    Tensor::from_scalars(operand.dtype, &shape, &values).expect("small")
}

/// What a machine with plain arithmetic has.
fn caps() -> Caps {
    let plain = |dtype: DType| dtype.class() != DTypeClass::Float || dtype.bits() >= 32;
    Caps {
        op: |op, _| {
            !matches!(
                op,
                ScalarOp::Exp | ScalarOp::Tanh | ScalarOp::Max | ScalarOp::Min
            )
        },
        cast: |from, to| [from, to].iter().all(|d| !d.is_float() || d.bits() >= 32),
        storage: plain,
        lanes: true,
        unrolled: true,
    }
}

fn check(seed: u64) {
    let compute = Generator::definition(seed);
    let params: Vec<ParamSpec> = (0..compute.operands.len())
        .map(|position| ParamSpec::row_major(format!("x{position}")))
        .chain([ParamSpec::row_major("out")])
        .collect();
    for n in [5, 1, 0] {
        let bind = |_: &Symbol| Some(n);
        let work: u128 = (0..compute.pool.num_vars())
            .map(|var| {
                compute
                    .pool
                    .extent(VarId(var as u32))
                    .eval(&bind)
                    .expect("N is bound")
            })
            .map(|extent| extent.max(1) as u128)
            .product();
        if work > 300_000 {
            continue;
        }
        let mut random = Random(seed);
        let operands: Vec<Tensor> = compute
            .operands
            .iter()
            .map(|operand| tensor(&mut random, operand, &bind))
            .collect();
        let operands: Vec<&Tensor> = operands.iter().collect();
        let text = Printed(&compute);
        let expected =
            evaluate(&compute, &operands, &bind).unwrap_or_else(|e| panic!("{seed}: {e}\n{text}"));
        if let Some(kernel) = schedule_rows("random", &compute, &params, 4) {
            verify(&kernel).unwrap_or_else(|e| panic!("{seed} rows: {e:?}\n{text}{kernel}"));
            let actual = run_tensors(&kernel, &operands, expected.shape(), &bind)
                .unwrap_or_else(|e| panic!("{seed} rows N={n}: {e}\n{text}{kernel}"));
            compare(
                &actual,
                &expected,
                &format!("{seed} rows N={n}\n{text}{kernel}"),
            );
        }
        for (policy, legal, work) in [
            (Policy::Naive, false, 1),
            (Policy::Cpu { lanes: 4 }, false, 200),
            (Policy::Cpu { lanes: 8 }, true, 16_384),
            (Policy::Gpu { lanes: 64 }, false, 1),
        ] {
            let mut kernel = build_for("random", &compute, &params, policy, work);
            if legal {
                legalize(&mut kernel, &caps()).unwrap_or_else(|error| panic!("{seed}: {error}"));
            }
            verify(&kernel).unwrap_or_else(|e| panic!("{seed} {policy:?}: {e:?}\n{text}{kernel}"));
            let actual = run_tensors(&kernel, &operands, expected.shape(), &bind)
                .unwrap_or_else(|e| panic!("{seed} {policy:?} N={n}: {e}\n{text}{kernel}"));
            // A legalized result of a narrow float is carried as an integer.
            let bytes = Storage::copy_from(actual.bytes());
            let actual = Tensor::from_storage(compute.dtype, expected.shape(), bytes)
                .expect("a carrier has the same size");
            let what = format!("{seed} {policy:?} N={n}\n{text}{kernel}");
            compare(&actual, &expected, &what);
        }
    }
}

fn compare(actual: &Tensor, expected: &Tensor, what: &str) {
    for (k, (a, e)) in actual.to_f64s().iter().zip(expected.to_f64s()).enumerate() {
        let same = *a == e || a.is_nan() && e.is_nan();
        let bound = match expected.dtype() {
            DType::F16 => 2e-3,
            _ => 1e-4,
        };
        let close = (a - e).abs() <= bound * (1.0 + e.abs());
        assert!(same || close, "[{k}]: {a} is not {e}: {what}");
    }
}

#[test]
fn random_definitions_keep_their_meaning() {
    let seeds = match std::env::var("ALULA_SEEDS") {
        Ok(range) => range.parse().expect("ALULA_SEEDS is a number"),
        Err(_) => 300,
    };
    for seed in 0..seeds {
        check(seed);
    }
}
