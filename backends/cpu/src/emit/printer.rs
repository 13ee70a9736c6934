//! The state of printing one kernel, and how values are looked at: as one scalar, as lanes.

use alula_kernel::{Kernel, ValueId};
use alula_tensor::{DType, Symbol};
use cranelift_codegen::ir::{InstBuilder, StackSlot, Value, types};
use cranelift_frontend::FunctionBuilder;

use super::EmitError;
use super::kinds::Kinds;
use super::lanes::{extract, pack, ramp, step};
use super::looks::Looks;
use super::ops::{constant, splat};
use super::repr::{Form, QUAD, Repr};
use super::wide::Wide;

/// A value while lanes are printed. In scalar code everything is uniform.
#[derive(Clone, Debug)]
pub(super) enum Val {
    /// The same in every lane.
    Uniform(Value),
    /// `base + lane * stride`, an `i64`; `base` is that of the group's first lane.
    Affine { base: Value, stride: Stride },
    /// The parts of each quad, in order.
    Lanes(Vec<Value>),
}

/// The step of an affine value from lane to lane.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stride {
    Const(i64),
    Value(Value),
}

/// What is known while one kernel is printed.
pub(super) struct Printer<'k, 'f> {
    pub(super) b: FunctionBuilder<'f>,
    pub(super) kernel: &'k Kernel,
    pub(super) values: Vec<Option<Val>>,
    /// Pointers of the parameters.
    pub(super) params: Vec<Value>,
    pub(super) locals: Vec<StackSlot>,
    pub(super) symbols: Vec<Value>,
    /// How often loops look whether the run is over.
    pub(super) looks: Looks,
    /// Where they look.
    pub(super) flag: Option<Value>,
    /// Kinds within the vector loop that is being printed.
    pub(super) kinds: Kinds<'k>,
    /// Quads of the group that is being printed; 0 in scalar code.
    pub(super) quads: usize,
    /// Wide loops that were printed, if the machine has them.
    pub(super) wide: Option<Wide>,
}

impl<'k> Printer<'k, '_> {
    pub(super) fn malformed(&self, what: impl Into<String>) -> EmitError {
        EmitError::Malformed {
            kernel: self.kernel.name.clone(),
            what: what.into(),
        }
    }

    pub(super) fn unsupported(&self, what: impl Into<String>) -> EmitError {
        EmitError::Unsupported {
            kernel: self.kernel.name.clone(),
            what: what.into(),
        }
    }

    /// The dtype of a value.
    pub(super) fn dtype(&self, id: ValueId) -> Result<DType, EmitError> {
        let dtype = self.kernel.dtypes.get(id.0 as usize);
        dtype
            .copied()
            .ok_or_else(|| self.malformed(format!("value {} has no dtype", id.0)))
    }

    /// The register class of a dtype.
    pub(super) fn repr(&self, dtype: DType) -> Result<Repr, EmitError> {
        Repr::of(dtype).ok_or_else(|| self.unsupported(format!("values of {dtype}")))
    }

    /// What a value is.
    pub(super) fn get(&self, id: ValueId) -> Result<Val, EmitError> {
        let value = self.values.get(id.0 as usize).and_then(Clone::clone);
        value.ok_or_else(|| self.malformed(format!("value {} is used before it is set", id.0)))
    }

    pub(super) fn set(&mut self, id: ValueId, value: Val) -> Result<(), EmitError> {
        match self.values.get_mut(id.0 as usize) {
            Some(slot) => {
                *slot = Some(value);
                Ok(())
            }
            None => Err(self.malformed(format!("value {} has no dtype", id.0))),
        }
    }

    /// A value that is the same in every lane.
    pub(super) fn uniform(&self, id: ValueId) -> Result<Value, EmitError> {
        match self.get(id)? {
            Val::Uniform(value) => Ok(value),
            Val::Affine { .. } | Val::Lanes(_) => {
                Err(self.malformed(format!("value {} must not differ between lanes", id.0)))
            }
        }
    }

    /// A scalar for each lane of the group.
    pub(super) fn scalars(&mut self, id: ValueId) -> Result<Vec<Value>, EmitError> {
        let repr = self.repr(self.dtype(id)?)?;
        let lanes = self.quads * QUAD as usize;
        Ok(match self.get(id)? {
            Val::Uniform(value) => vec![value; lanes],
            Val::Affine { base, stride } => {
                let stride = self.stride(stride);
                (0..lanes as i64)
                    .map(|lane| step(&mut self.b, base, stride, lane))
                    .collect()
            }
            Val::Lanes(parts) => parts
                .chunks(repr.parts())
                .flat_map(|quad| (0..QUAD as u8).map(move |lane| (quad, lane)))
                .map(|(quad, lane)| extract(&mut self.b, repr, quad, lane))
                .collect(),
        })
    }

    /// The parts of every quad of the group.
    pub(super) fn lanes(&mut self, id: ValueId) -> Result<Vec<Value>, EmitError> {
        let repr = self.repr(self.dtype(id)?)?;
        match self.get(id)? {
            Val::Lanes(parts) => Ok(parts),
            Val::Uniform(value) => {
                let part = splat(&mut self.b, Form::Vector, repr, value);
                Ok(vec![part; self.quads * repr.parts()])
            }
            Val::Affine {
                base,
                stride: Stride::Const(stride),
            } => {
                let first = self.b.ins().splat(types::I64X2, base);
                let pairs = self.quads as i64 * 2;
                let parts = (0..pairs).map(|pair| {
                    let offsets = ramp(&mut self.b, pair * 2, stride);
                    self.b.ins().iadd(first, offsets)
                });
                Ok(parts.collect())
            }
            Val::Affine {
                stride: Stride::Value(_),
                ..
            } => {
                let scalars = self.scalars(id)?;
                Ok(self.pack(repr, &scalars))
            }
        }
    }

    /// Scalars of all lanes as parts of every quad.
    pub(super) fn pack(&mut self, repr: Repr, scalars: &[Value]) -> Vec<Value> {
        scalars
            .chunks(QUAD as usize)
            .flat_map(|quad| pack(&mut self.b, repr, quad))
            .collect()
    }

    /// A stride as a value.
    pub(super) fn stride(&mut self, stride: Stride) -> Value {
        match stride {
            Stride::Const(stride) => constant(&mut self.b, types::I64, stride),
            Stride::Value(value) => value,
        }
    }

    /// The value passed for a symbol.
    pub(super) fn symbol(&self, symbol: &Symbol) -> Result<Value, EmitError> {
        let position = self.kernel.symbols.iter().position(|known| known == symbol);
        match position.and_then(|position| self.symbols.get(position)) {
            Some(&value) => Ok(value),
            None => Err(self.malformed(format!("symbol {} is not passed", symbol.name()))),
        }
    }
}
