//! Small kernels made by hand, and running them.
#![allow(dead_code, reason = "each test crate uses a part of this")]

pub(crate) mod contractions;

use alula_cpu::{Buffer, CpuModule, CpuTarget, Dump, Launch, emit_kernel, link};
use alula_kernel::interpret::{self, Bytes, Options};
use alula_kernel::{
    Access, Block, BufferId, Carried, FoldOp, GridAxis, Inst, Kernel, Literal, Loop, LoopKind,
    Param, Rhs, ValueId, verify,
};
use alula_microkernel::Pool;
use alula_tensor::{DType, Dim, Scalar, ScalarOp, Symbol};

/// Builds a kernel block by block.
pub(crate) struct Builder {
    pub(crate) kernel: Kernel,
    open: Vec<Block>,
}

impl Builder {
    pub(crate) fn new(name: &str) -> Builder {
        Builder {
            kernel: Kernel::new(name),
            open: vec![Block::default()],
        }
    }

    pub(crate) fn param(
        &mut self,
        dtype: DType,
        elements: impl Into<Dim>,
        access: Access,
    ) -> BufferId {
        let position = self.kernel.params.len() as u32;
        let name = format!("p{position}");
        self.kernel.params.push(Param {
            name,
            dtype,
            elements: elements.into(),
            access,
            bound: None,
        });
        BufferId::Param(position)
    }

    pub(crate) fn symbol(&mut self, name: &str) -> Dim {
        self.kernel.symbols.push(Symbol::new(name));
        Dim::named(name)
    }

    pub(crate) fn grid(&mut self, extent: impl Into<Dim>) -> ValueId {
        let var = self.kernel.value(DType::I64);
        self.kernel.grid.push(GridAxis {
            var,
            extent: extent.into(),
        });
        var
    }

    pub(crate) fn push(&mut self, inst: Inst) {
        self.open.last_mut().expect("a block is open").0.push(inst);
    }

    fn bind(&mut self, dtype: DType, rhs: Rhs) -> ValueId {
        let id = self.kernel.value(dtype);
        self.push(Inst::Let { id, rhs });
        id
    }

    pub(crate) fn constant(&mut self, dtype: DType, value: Scalar) -> ValueId {
        self.bind(dtype, Rhs::Const(Literal(value)))
    }

    pub(crate) fn int(&mut self, value: i64) -> ValueId {
        self.dim(value)
    }

    pub(crate) fn dim(&mut self, dim: impl Into<Dim>) -> ValueId {
        self.bind(DType::I64, Rhs::Dim(dim.into()))
    }

    pub(crate) fn apply(&mut self, op: ScalarOp, operands: &[ValueId]) -> ValueId {
        let dtype = op.result(self.kernel.dtype(*operands.last().expect("operands")));
        self.bind(
            dtype,
            Rhs::Apply {
                op,
                operands: operands.iter().copied().collect(),
            },
        )
    }

    pub(crate) fn cast(&mut self, value: ValueId, dtype: DType) -> ValueId {
        self.bind(dtype, Rhs::Cast(value))
    }

    pub(crate) fn bitcast(&mut self, value: ValueId, dtype: DType) -> ValueId {
        self.bind(dtype, Rhs::Bitcast(value))
    }

    pub(crate) fn load(&mut self, buffer: BufferId, index: ValueId) -> ValueId {
        let dtype = self.kernel.buffer_dtype(buffer);
        self.bind(dtype, Rhs::Load { buffer, index })
    }

    pub(crate) fn store(&mut self, buffer: BufferId, index: ValueId, value: ValueId) {
        self.push(Inst::Store {
            buffer,
            index,
            value,
        });
    }

    /// A loop that carries nothing.
    pub(crate) fn each(
        &mut self,
        kind: LoopKind,
        extent: ValueId,
        body: impl FnOnce(&mut Builder, ValueId),
    ) {
        let var = self.kernel.value(DType::I64);
        self.open.push(Block::default());
        body(self, var);
        let body = self.open.pop().expect("was pushed");
        self.push(Inst::Loop(Loop {
            var,
            extent,
            kind,
            carried: Vec::new(),
            body,
        }));
    }

    /// A loop with one accumulator that starts with the identity; returns the result.
    pub(crate) fn fold(
        &mut self,
        kind: LoopKind,
        op: FoldOp,
        dtype: DType,
        extent: ValueId,
        body: impl FnOnce(&mut Builder, ValueId) -> ValueId,
    ) -> ValueId {
        let init = self.constant(dtype, op.identity(dtype));
        let (var, acc) = (self.kernel.value(DType::I64), self.kernel.value(dtype));
        self.open.push(Block::default());
        let value = body(self, var);
        let next = self.apply(op.scalar_op(), &[acc, value]);
        let body = self.open.pop().expect("was pushed");
        let result = self.kernel.value(dtype);
        let carried = vec![Carried {
            acc,
            init,
            next,
            result,
            combine: Some(op),
        }];
        self.push(Inst::Loop(Loop {
            var,
            extent,
            kind,
            carried,
            body,
        }));
        result
    }

    /// Instructions for a block of their own.
    pub(crate) fn block(&mut self, fill: impl FnOnce(&mut Builder)) -> Block {
        self.open.push(Block::default());
        fill(self);
        self.open.pop().expect("was pushed")
    }

    pub(crate) fn branch(&mut self, cond: ValueId, then: impl FnOnce(&mut Builder)) {
        self.open.push(Block::default());
        then(self);
        let then = self.open.pop().expect("was pushed");
        self.push(Inst::If { cond, then });
    }

    pub(crate) fn finish(mut self) -> Kernel {
        self.kernel.body = self.open.pop().expect("the outermost block");
        self.kernel
    }
}

/// Elements as bytes.
pub(crate) fn to_bytes(dtype: DType, values: &[Scalar]) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * dtype.size_bytes()];
    for (chunk, value) in bytes.chunks_exact_mut(dtype.size_bytes()).zip(values) {
        value.cast(dtype).store(dtype, chunk);
    }
    bytes
}

/// Bytes as elements.
pub(crate) fn to_scalars(dtype: DType, bytes: &[u8]) -> Vec<Scalar> {
    bytes
        .chunks_exact(dtype.size_bytes())
        .map(|chunk| Scalar::load(dtype, chunk))
        .collect()
}

/// Whether two values are the same bits, NaN being equal to NaN.
pub(crate) fn same(a: Scalar, b: Scalar) -> bool {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => {
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
        }
        (a, b) => a == b,
    }
}

/// A kernel and its loaded code.
pub(crate) struct Compiled {
    pub(crate) kernel: Kernel,
    pub(crate) module: CpuModule,
    /// The same without wide loops.
    narrow: CpuModule,
}

/// Compiles one kernel and loads it. A kernel that obeys the rules is expected.
pub(crate) fn compile(kernel: &Kernel) -> Compiled {
    verify(kernel).expect("the kernel is well formed");
    compile_unverified(kernel)
}

/// As [`compile`], for kernels that only the back end allows.
pub(crate) fn compile_unverified(kernel: &Kernel) -> Compiled {
    let [module, narrow] = [CpuTarget::host(), CpuTarget::narrow()].map(|target| {
        let target = target.expect("a target");
        let emitted = emit_kernel(kernel, &target, Dump::default()).expect("the kernel is printed");
        let code = link(&target, [emitted]);
        // SAFETY: the code was just made.
        unsafe { CpuModule::load(&code) }.expect("the code loads")
    });
    Compiled {
        kernel: kernel.clone(),
        module,
        narrow,
    }
}

/// Runs a kernel on buffers of bytes under a binding of symbols; the interpreter must agree bit
/// for bit, except that any NaN equals any other, and so must code without wide loops.
pub(crate) fn run(compiled: &Compiled, symbols: &[(&str, i64)], buffers: &mut [Vec<u8>]) {
    let bind = |symbol: &Symbol| {
        symbols
            .iter()
            .find(|(name, _)| *name == symbol.name())
            .map(|(_, value)| *value)
    };
    let mut expected = buffers.to_vec();
    let mut lent: Vec<Bytes<'_>> = expected.iter_mut().map(|b| Bytes::Write(b)).collect();
    interpret::run(&compiled.kernel, &mut lent, &bind, Options::default()).expect("interpreted");

    let pool = Pool::new(1).expect("a pool");
    let mut narrow = buffers.to_vec();
    for (module, buffers) in [
        (&compiled.module, &mut *buffers),
        (&compiled.narrow, &mut narrow),
    ] {
        let launch = Launch::new(module, 0, &bind).expect("the sizes are known");
        let given: Vec<Buffer> = buffers
            .iter_mut()
            .map(|bytes| Buffer::write(bytes))
            .collect();
        // SAFETY: the buffers are distinct and outlive the call.
        unsafe { launch.run(&pool, 1, &given) }.expect("the launch is in order");
    }
    agree(&compiled.kernel, buffers, &expected);
    agree(&compiled.kernel, &narrow, &expected);
}

fn agree(kernel: &Kernel, buffers: &[Vec<u8>], expected: &[Vec<u8>]) {
    for ((param, got), wanted) in kernel.params.iter().zip(buffers).zip(expected) {
        let scalars = to_scalars(param.dtype, got);
        for (i, (a, b)) in scalars
            .into_iter()
            .zip(to_scalars(param.dtype, wanted))
            .enumerate()
        {
            let name = &kernel.name;
            assert!(
                same(a, b),
                "{name}: {}[{i}] is {a:?}, interpreted {b:?}",
                param.name
            );
        }
    }
}
