//! One kernel as one function over a range of grid points.
//!
//! `extern "C" fn(buffers: *const *mut u8, symbols: *const i64, begin: i64, end: i64)` runs the
//! points `begin..end` of the grid in row-major order. Coordinates are found by division once and
//! counted from there. Behind the buffers lies the address of a byte: once it is not 0, long loops
//! end as soon as they look.

use alula_kernel::Kernel;
use alula_tensor::{DType, ScalarOp};
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, BlockArg, ExternalName, Function, InstBuilder, Signature, StackSlotData,
    StackSlotKind, UserFuncName, Value, types,
};
use cranelift_codegen::{Context, FinalizedRelocTarget};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::kinds::Kinds;
use super::looks::Looks;
use super::printer::{Printer, Val};
use super::wide::{self, NAMESPACE, Wide, is_wide};
use super::{CpuTarget, EmitError, Emitted, FUNCTION_ALIGN, division, ops};
use crate::CpuKernel;

/// What to return beside the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// The code generator's input as text.
    pub clif: bool,
    /// The machine code as text.
    pub asm: bool,
}

/// Prints and compiles one kernel. The same kernel gives the same bytes on any thread.
///
/// # Errors
/// [`EmitError`] naming the kernel and what it cannot do.
pub fn emit_kernel(kernel: &Kernel, target: &CpuTarget, dump: Dump) -> Result<Emitted, EmitError> {
    let fail = |detail: String| EmitError::Codegen {
        kernel: kernel.name.clone(),
        detail,
    };
    let (function, wide) = print(kernel, target, dump)?;
    let mut context = Context::for_function(function);
    let clif = dump.clif.then(|| context.func.display().to_string());
    context.set_disasm(dump.asm);
    let mut plane = ControlPlane::default();
    let compiled = context.compile(&*target.isa, &mut plane).map_err(|error| {
        let text = error.func.display().to_string();
        tracing::error!(kernel = %kernel.name, clif = %text, "code generation failed");
        fail(error.inner.to_string())
    })?;
    let mut code = compiled.buffer.data().to_vec();
    let (calls, mut asm) = (compiled.buffer.relocs().to_vec(), compiled.vcode.clone());
    let starts = append(&mut code, &wide);
    let names = context.func.params.user_named_funcs();
    let mut count = 0;
    for call in calls {
        let callee = match &call.target {
            FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => names.get(*name),
            _ => None,
        };
        let start = callee
            .filter(|callee| callee.namespace == NAMESPACE && call.kind == Reloc::X86CallPCRel4)
            .and_then(|callee| starts.get(callee.index as usize));
        match start {
            Some(&start) => {
                let at = call.offset as usize;
                let distance = start as i64 + call.addend - at as i64;
                code[at..at + 4].copy_from_slice(&(distance as i32).to_le_bytes());
            }
            None => count += 1,
        }
    }
    if count > 0 {
        return Err(EmitError::Relocations {
            kernel: kernel.name.clone(),
            count,
        });
    }
    if let Some(asm) = &mut asm {
        for (position, function) in wide.iter().enumerate() {
            asm.push_str(&format!("wide{position}:\n{}", function.text));
        }
    }
    tracing::debug!(kernel = %kernel.name, bytes = code.len(), "kernel emitted");
    Ok(Emitted {
        kernel: CpuKernel {
            name: kernel.name.clone(),
            offset: 0,
            len: code.len() as u64,
            symbols: kernel.symbols.clone(),
            params: kernel.params.clone(),
            grid: kernel.grid.iter().map(|axis| axis.extent.clone()).collect(),
        },
        code,
        rounds_bf16: wide.iter().any(|function| function.rounds_bf16),
        clif,
        asm,
    })
}

/// Places wide loops behind the code that calls them, and says where.
fn append(code: &mut Vec<u8>, wide: &[wide::Function]) -> Vec<usize> {
    let place = |function: &wide::Function| {
        let start = code.len().next_multiple_of(FUNCTION_ALIGN);
        code.resize(start, 0);
        code.extend_from_slice(&function.code);
        start
    };
    wide.iter().map(place).collect()
}

/// The kernel in the code generator's language, and its wide loops.
fn print(
    kernel: &Kernel,
    target: &CpuTarget,
    dump: Dump,
) -> Result<(Function, Vec<wide::Function>), EmitError> {
    let mut signature = Signature::new(target.isa.default_call_conv());
    signature.params.extend([AbiParam::new(types::I64); 4]);
    let mut function = Function::with_name_signature(UserFuncName::user(0, 0), signature);
    let mut scratch = FunctionBuilderContext::new();
    let mut printer = Printer {
        b: FunctionBuilder::new(&mut function, &mut scratch),
        kernel,
        values: vec![None; kernel.dtypes.len()],
        params: Vec::new(),
        locals: Vec::new(),
        symbols: Vec::new(),
        looks: Looks::new(kernel),
        flag: None,
        kinds: Kinds::scalar(kernel),
        quads: 0,
        wide: is_wide(target.features()).then(|| Wide {
            functions: Vec::new(),
            is_listed: dump.asm,
        }),
    };
    if kernel.lanes != 1 || kernel.lane.is_some() {
        return Err(printer.unsupported(format!("workgroups of {} lanes", kernel.lanes)));
    }
    printer.function()?;
    printer.b.seal_all_blocks();
    let wide = printer.wide.take().map(|wide| wide.functions);
    printer.b.finalize(target.isa.frontend_config());
    Ok((function, wide.unwrap_or_default()))
}

/// Bytes of stack that local arrays of one kernel may take.
const LOCALS_BYTES_MAX: u32 = 1 << 18;

impl<'k> Printer<'k, '_> {
    fn function(&mut self) -> Result<(), EmitError> {
        let entry = self.b.create_block();
        self.b.append_block_params_for_function_params(entry);
        self.b.switch_to_block(entry);
        let [buffers, symbols, begin, end] = *self.b.block_params(entry) else {
            return Err(self.malformed("the entry block has four parameters"));
        };
        let none = self
            .b
            .ins()
            .icmp(IntCC::SignedGreaterThanOrEqual, begin, end);
        let (start, header, exit) = (
            self.b.create_block(),
            self.b.create_block(),
            self.b.create_block(),
        );
        self.b.ins().brif(none, exit, &[], start, &[]);

        self.b.switch_to_block(start);
        for position in 0..self.kernel.params.len() {
            let pointer = self.load_word(buffers, position);
            self.params.push(pointer);
        }
        if self.looks.has_any {
            self.flag = Some(self.load_word(buffers, self.kernel.params.len()));
        }
        for position in 0..self.kernel.symbols.len() {
            let value = self.load_word(symbols, position);
            self.symbols.push(value);
        }
        self.make_locals()?;
        let extents = self.kernel.grid.iter().map(|axis| self.dim(&axis.extent));
        let extents = extents.collect::<Result<Vec<_>, _>>()?;
        let mut args = vec![begin];
        args.extend(self.coordinates(begin, &extents));
        let args: Vec<BlockArg> = args.into_iter().map(Into::into).collect();
        self.b.ins().jump(header, &args);

        let position = self.b.append_block_param(header, types::I64);
        let mut counters = Vec::new();
        for _ in &extents {
            counters.push(self.b.append_block_param(header, types::I64));
        }
        self.b.switch_to_block(header);
        for (axis, &counter) in self.kernel.grid.iter().zip(&counters) {
            self.set(axis.var, Val::Uniform(counter))?;
        }
        self.block(&self.kernel.body)?;
        let next = self.b.ins().iadd_imm_s(position, 1);
        let mut args = vec![next];
        args.extend(self.following(&counters, &extents));
        let args: Vec<BlockArg> = args.into_iter().map(Into::into).collect();
        let again = self.b.ins().icmp(IntCC::SignedLessThan, next, end);
        self.b.ins().brif(again, header, &args, exit, &[]);

        self.b.switch_to_block(exit);
        self.b.ins().return_(&[]);
        Ok(())
    }

    fn make_locals(&mut self) -> Result<(), EmitError> {
        let mut total = 0_u32;
        for local in &self.kernel.locals {
            let bytes = local.elements.checked_mul(local.dtype.size_bytes() as u32);
            let sum = bytes.and_then(|bytes| total.checked_add(bytes));
            let (Some(bytes), Some(sum)) = (bytes, sum.filter(|&sum| sum <= LOCALS_BYTES_MAX))
            else {
                return Err(self.unsupported(format!("local {} of its size", local.name)));
            };
            total = sum;
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes.max(1), 4);
            self.locals.push(self.b.create_sized_stack_slot(data));
        }
        Ok(())
    }

    /// The coordinates of a flat position. There is a point, so that no extent is 0.
    fn coordinates(&mut self, position: Value, extents: &[Value]) -> Vec<Value> {
        let mut rest = position;
        let mut coordinates = Vec::new();
        for (axis, &extent) in extents.iter().enumerate().rev() {
            if axis == 0 {
                coordinates.push(rest);
                continue;
            }
            let b = &mut self.b;
            coordinates.push(division::apply(b, ScalarOp::Rem, DType::I64, rest, extent));
            rest = division::apply(b, ScalarOp::Div, DType::I64, rest, extent);
        }
        coordinates.reverse();
        coordinates
    }

    /// The coordinates of the next point.
    fn following(&mut self, counters: &[Value], extents: &[Value]) -> Vec<Value> {
        let zero = ops::constant(&mut self.b, types::I64, 0);
        let mut carry = ops::constant(&mut self.b, types::I64, 1);
        let mut following = Vec::new();
        for (axis, (&counter, &extent)) in counters.iter().zip(extents).enumerate().rev() {
            let more = self.b.ins().iadd(counter, carry);
            if axis == 0 {
                following.push(more);
                continue;
            }
            let full = self.b.ins().icmp(IntCC::Equal, more, extent);
            following.push(self.b.ins().select(full, zero, more));
            carry = self.b.ins().uextend(types::I64, full);
        }
        following.reverse();
        following
    }
}
