//! How great the numbers of a kernel can be, as far as that follows from the ranges of integers, of
//! constants and of parameters. What is in reach is finite, so that nothing has to be done for
//! infinities and NaN.

use alula_kernel::{Block, BufferId, Inst, Kernel, Rhs, ValueId};
use alula_tensor::{DType, DTypeClass, ScalarOp};

/// More than a rounding to `f32` adds, relatively.
const ROUNDED: f64 = 1.0 + 1e-6;

pub(super) struct Reach {
    /// The greatest magnitude of each value, infinite where nothing is known.
    most: Vec<f64>,
    /// The magnitude of each constant.
    constants: Vec<Option<f64>>,
}

impl Reach {
    pub(super) fn of_kernel(kernel: &Kernel) -> Reach {
        let of_type = kernel.dtypes.iter().map(|&dtype| range(dtype));
        let mut reach = Reach {
            most: of_type.collect(),
            constants: vec![None; kernel.dtypes.len()],
        };
        kernel.each_constant(&mut |id, value| {
            reach.constants[id.0 as usize] = Some(value.to_f64().abs());
        });
        reach.block(kernel, &kernel.body);
        reach
    }

    /// That of a value.
    pub(super) fn of(&self, value: ValueId) -> f64 {
        self.most[value.0 as usize]
    }

    fn block(&mut self, kernel: &Kernel, block: &Block) {
        for inst in &block.0 {
            match inst {
                Inst::Let { id, rhs } => {
                    let dtype = kernel.dtype(*id);
                    let known = self.made(kernel, dtype, rhs).unwrap_or(f64::INFINITY);
                    let known = if known > f64::from(f32::MAX) {
                        f64::INFINITY
                    } else {
                        known
                    };
                    let of_type = range(dtype);
                    self.most[id.0 as usize] = known.min(of_type);
                }
                Inst::Loop(inner) => self.block(kernel, &inner.body),
                Inst::If { then, .. } => self.block(kernel, then),
                Inst::Store { .. } | Inst::Barrier => {}
            }
        }
    }

    /// The reach of what is computed; `None` if nothing is known. Integers may wrap, so that only
    /// their type says anything.
    fn made(&self, kernel: &Kernel, dtype: DType, rhs: &Rhs) -> Option<f64> {
        match rhs {
            Rhs::Const(literal) => Some(literal.0.to_f64().abs()).filter(|value| !value.is_nan()),
            Rhs::Load {
                buffer: BufferId::Param(position),
                ..
            } => kernel.params.get(*position as usize)?.bound.map(f64::from),
            // What is negative becomes great where it wraps.
            Rhs::Cast(value) if is_unsigned(dtype) && is_signed(kernel.dtype(*value)) => None,
            Rhs::Cast(value) => Some(self.of(*value) * ROUNDED),
            Rhs::Apply { op, operands } if dtype == DType::F32 => {
                let of = |position: usize| self.of(operands[position]);
                let exact = match op {
                    ScalarOp::Neg | ScalarOp::Abs => of(0),
                    ScalarOp::Floor | ScalarOp::Ceil | ScalarOp::Round | ScalarOp::Trunc => {
                        of(0) + 1.0
                    }
                    ScalarOp::Add | ScalarOp::Sub => of(0) + of(1),
                    ScalarOp::Mul => of(0) * of(1),
                    ScalarOp::Div => of(0) / self.constants[operands[1].0 as usize]?,
                    ScalarOp::Fma => of(0) * of(1) + of(2),
                    ScalarOp::Min | ScalarOp::Max => of(0).max(of(1)),
                    ScalarOp::Select => of(1).max(of(2)),
                    _ => return None,
                };
                Some(exact * ROUNDED).filter(|value| !value.is_nan())
            }
            Rhs::Load { .. } | Rhs::Dim(_) | Rhs::Apply { .. } | Rhs::Bitcast(_) => None,
        }
    }
}

fn is_signed(dtype: DType) -> bool {
    dtype.class() == DTypeClass::Signed
}

fn is_unsigned(dtype: DType) -> bool {
    dtype.class() == DTypeClass::Unsigned
}

/// The greatest magnitude of an integer; infinite for floats.
fn range(dtype: DType) -> f64 {
    match dtype.int_range() {
        Some((least, greatest)) => (least.unsigned_abs().max(greatest.unsigned_abs())) as f64,
        None => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use alula_kernel::text::parse_kernel;

    use super::*;

    /// The reach of `%9`, made of a byte `%2`, a word `%3` and a bounded factor `%4`.
    fn reach(made: &str) -> f64 {
        let text = format!(
            "kernel k(a: i8[4] read, b: i32[4] read, f: f32[4] read within 0.5) {{
               grid %0 < 4
               %1: f32 = const -8.0
               %2: i8 = load a[%0]
               %3: i32 = load b[%0]
               %4: f32 = load f[%0]
               %5: f32 = cast %2
               %6: f32 = cast %3
               %7: f32 = mul %6, %4
               %8: f32 = exp %4
               {made}
             }}"
        );
        let kernel = parse_kernel(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Reach::of_kernel(&kernel).of(ValueId(9))
    }

    #[test]
    fn magnitudes_follow_the_arithmetic() {
        for (made, expected) in [
            ("%9: f32 = mul %5, %4", 64.0),
            ("%9: f32 = add %5, %1", 136.0),
            ("%9: f32 = div %5, %1", 16.0),
            ("%9: f32 = round %7", 1_073_741_825.0),
            ("%9: f32 = max %5, %7", 1_073_741_824.0),
            ("%9: i8 = cast %7", 128.0),
            ("%9: i16 = cast %2", 128.0),
            // A byte of -1 wraps.
            ("%9: u16 = cast %2", 65_535.0),
            ("%9: i8 = add %2, %2", 128.0),
        ] {
            let reach = reach(made);
            assert!(
                (expected..=expected * 1.001).contains(&reach),
                "{made}: {reach}"
            );
        }
        for unknown in [
            "%9: f32 = add %5, %8",
            "%9: f32 = div %1, %5",
            "%9: f32 = max %5, %8",
            "%9: f32 = bitcast %3",
        ] {
            assert_eq!(reach(unknown), f64::INFINITY, "{unknown}");
        }
        // Products may leave what is finite.
        let squares = "%10: f32 = mul %7, %7 %11: f32 = mul %10, %10 %9: f32 = mul %11, %11";
        assert_eq!(reach(squares), f64::INFINITY);
    }
}
