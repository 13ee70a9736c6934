//! Loads and stores of elements, one or a group of lanes at a time.

use alula_kernel::{BufferId, ValueId};
use alula_tensor::{DType, DTypeClass};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value, types};

use super::EmitError;
use super::lanes::gather_low_bytes;
use super::ops::{bitcast, constant, int};
use super::printer::{Printer, Stride, Val};
use super::repr::{Form, QUAD, Repr, is_signed};
use crate::CpuFeatures;

/// The flags of every access: checked before the launch, of any alignment.
fn flags() -> MemFlagsData {
    MemFlagsData::new()
        .with_notrap()
        .with_endianness(Endianness::Little)
}

/// The type that a vector is loaded as. Cranelift 0.135 puts a load that is used once into the
/// comparison of floats that uses it, though `cmpps` and `cmppd` want memory aligned to 16 bytes;
/// those of AVX do not. Other instructions it spares that, and so a load of integers.
fn in_register(ty: Type) -> Type {
    match ty {
        types::F32X4 if !CpuFeatures::has_avx() => types::I32X4,
        types::F64X2 if !CpuFeatures::has_avx() => types::I64X2,
        _ => ty,
    }
}

impl Printer<'_, '_> {
    fn buffer_dtype(&self, buffer: BufferId) -> Result<DType, EmitError> {
        let kernel = self.kernel;
        let dtype = match buffer {
            BufferId::Param(position) => kernel.params.get(position as usize).map(|p| p.dtype),
            BufferId::Local(position) | BufferId::Shared(position) => kernel
                .locals
                .get(position as usize)
                .map(|local| local.dtype),
        };
        dtype.ok_or_else(|| self.malformed(format!("buffer {buffer:?} does not exist")))
    }

    /// The address of an element.
    pub(super) fn address(&mut self, buffer: BufferId, dtype: DType, index: Value) -> Value {
        let base = match buffer {
            BufferId::Param(position) => self.params[position as usize],
            BufferId::Local(position) | BufferId::Shared(position) => {
                self.b
                    .ins()
                    .stack_addr(types::I64, self.locals[position as usize], 0)
            }
        };
        let shift = i64::from(dtype.size_bytes().trailing_zeros());
        let offset = if shift == 0 {
            index
        } else {
            self.b.ins().ishl_imm_u(index, shift)
        };
        self.b.ins().iadd(base, offset)
    }

    /// Loads an element, or one for each lane.
    pub(super) fn load(&mut self, buffer: BufferId, index: ValueId) -> Result<Val, EmitError> {
        let dtype = self.buffer_dtype(buffer)?;
        let repr = self.repr(dtype)?;
        match self.get(index)? {
            Val::Uniform(index) => {
                let address = self.address(buffer, dtype, index);
                Ok(Val::Uniform(self.load_scalar(dtype, address)))
            }
            Val::Affine {
                base,
                stride: Stride::Const(1),
            } => {
                let address = self.address(buffer, dtype, base);
                Ok(Val::Lanes(self.load_lanes(dtype, repr, address)))
            }
            Val::Affine { .. } | Val::Lanes(_) => {
                let mut loaded = Vec::new();
                for index in self.scalars(index)? {
                    let address = self.address(buffer, dtype, index);
                    loaded.push(self.load_scalar(dtype, address));
                }
                Ok(Val::Lanes(self.pack(repr, &loaded)))
            }
        }
    }

    /// Stores an element, or one for each lane.
    pub(super) fn store(
        &mut self,
        buffer: BufferId,
        index: ValueId,
        value: ValueId,
    ) -> Result<(), EmitError> {
        let dtype = self.buffer_dtype(buffer)?;
        if self.dtype(value)? != dtype {
            return Err(self.malformed(format!("a store of another dtype than {dtype}")));
        }
        match self.get(index)? {
            Val::Uniform(index) => {
                let value = self.uniform(value)?;
                let address = self.address(buffer, dtype, index);
                self.store_scalar(dtype, address, value);
            }
            Val::Affine {
                base,
                stride: Stride::Const(1),
            } => {
                let parts = self.lanes(value)?;
                let address = self.address(buffer, dtype, base);
                self.store_lanes(dtype, address, &parts);
            }
            Val::Affine { .. } | Val::Lanes(_) => {
                let (indices, values) = (self.scalars(index)?, self.scalars(value)?);
                for (index, value) in indices.into_iter().zip(values) {
                    let address = self.address(buffer, dtype, index);
                    self.store_scalar(dtype, address, value);
                }
            }
        }
        Ok(())
    }

    fn load_scalar(&mut self, dtype: DType, address: Value) -> Value {
        let b = &mut self.b;
        match (dtype.class(), dtype.size_bytes()) {
            (DTypeClass::Bool, _) => {
                let byte = b.ins().load(types::I8, flags(), address, 0);
                b.ins().icmp_imm_s(IntCC::NotEqual, byte, 0)
            }
            (_, 1) if is_signed(dtype) => b.ins().sload8(types::I32, flags(), address, 0),
            (_, 1) => b.ins().uload8(types::I32, flags(), address, 0),
            (_, 2) if is_signed(dtype) => b.ins().sload16(types::I32, flags(), address, 0),
            (_, 2) => b.ins().uload16(types::I32, flags(), address, 0),
            (DTypeClass::Float, 4) => b.ins().load(types::F32, flags(), address, 0),
            (DTypeClass::Float, _) => b.ins().load(types::F64, flags(), address, 0),
            (_, 4) => b.ins().load(types::I32, flags(), address, 0),
            _ => b.ins().load(types::I64, flags(), address, 0),
        }
    }

    fn store_scalar(&mut self, dtype: DType, address: Value, value: Value) {
        let b = &mut self.b;
        match (dtype.class(), dtype.size_bytes()) {
            (DTypeClass::Bool, _) => b.ins().store(flags(), value, address, 0),
            (_, 1) => b.ins().istore8(flags(), value, address, 0),
            (_, 2) => b.ins().istore16(flags(), value, address, 0),
            _ => b.ins().store(flags(), value, address, 0),
        };
    }

    /// Neighbouring elements of every quad from `address` on.
    fn load_lanes(&mut self, dtype: DType, repr: Repr, address: Value) -> Vec<Value> {
        let quads = self.quads as i32;
        let b = &mut self.b;
        let ty = repr.ty(Form::Vector);
        let load = |b: &mut cranelift_frontend::FunctionBuilder<'_>, quad: i32| {
            let at = quad * QUAD as i32 * dtype.size_bytes() as i32;
            match (dtype.size_bytes(), is_signed(dtype)) {
                (1, signed) => {
                    let four = b.ins().load(types::I32, flags(), address, at);
                    let bytes = b.ins().scalar_to_vector(types::I32X4, four);
                    let bytes = bitcast(b, types::I8X16, bytes);
                    if signed {
                        let words = b.ins().swiden_low(bytes);
                        b.ins().swiden_low(words)
                    } else {
                        let words = b.ins().uwiden_low(bytes);
                        b.ins().uwiden_low(words)
                    }
                }
                (2, true) => b.ins().sload16x4(flags(), address, at),
                (2, false) => b.ins().uload16x4(flags(), address, at),
                _ => {
                    let four = b.ins().load(in_register(ty), flags(), address, at);
                    bitcast(b, ty, four)
                }
            }
        };
        match repr {
            Repr::Bool => (0..quads)
                .map(|quad| {
                    let bytes = load(b, quad);
                    let zero = int(b, Form::Vector, Repr::I32, 0);
                    b.ins().icmp(IntCC::NotEqual, bytes, zero)
                })
                .collect(),
            Repr::I64 | Repr::F64 => (0..quads * 2)
                .map(|pair| {
                    let two = b.ins().load(in_register(ty), flags(), address, pair * 16);
                    bitcast(b, ty, two)
                })
                .collect(),
            Repr::I32 | Repr::F32 => (0..quads).map(|quad| load(b, quad)).collect(),
        }
    }

    fn store_lanes(&mut self, dtype: DType, address: Value, parts: &[Value]) {
        let b = &mut self.b;
        let bytes = (QUAD as usize * dtype.size_bytes()).min(16);
        for (i, &part) in parts.iter().enumerate() {
            let at = (i * bytes) as i32;
            let part = match dtype.class() {
                DTypeClass::Bool => {
                    let one = int(b, Form::Vector, Repr::I32, 1);
                    b.ins().band(part, one)
                }
                _ => part,
            };
            match dtype.size_bytes() {
                1 => {
                    let packed = gather_low_bytes(b, part, 1);
                    let four = b.ins().extractlane(packed, 0);
                    b.ins().store(flags(), four, address, at);
                }
                2 => {
                    let packed = gather_low_bytes(b, part, 2);
                    let packed = bitcast(b, types::I64X2, packed);
                    let eight = b.ins().extractlane(packed, 0);
                    b.ins().store(flags(), eight, address, at);
                }
                _ => {
                    b.ins().store(flags(), part, address, at);
                }
            }
        }
    }

    /// Loads word `position` of the array at `array`: a pointer or a symbol's value.
    pub(super) fn load_word(&mut self, array: Value, position: usize) -> Value {
        let offset = constant(&mut self.b, types::I64, position as i64 * 8);
        let address = self.b.ins().iadd(array, offset);
        self.b
            .ins()
            .load(types::I64, flags().with_aligned(), address, 0)
    }
}
