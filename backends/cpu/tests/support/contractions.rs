//! Contractions made by hand, and running them through the micro-kernels.

use alula_cpu::{
    Buffer, ContractOperands, CpuContract, CpuModule, CpuTarget, Dump, Epilogue, Layout,
    TileEpilogue, TileKernel, TilePlan, Wanted, emit_kernel, link, plan_contract,
};
use alula_kernel::interpret::evaluate;
use alula_kernel::{
    Access, Affine, Compute, Contract, ContractAxis, ContractOperand, Expr, ExprId, Kernel,
    LoopKind, Operand, Role, ValueId, VarId, verify,
};
use alula_microkernel::{Isa, Pool};
use alula_tensor::{DType, Dim, ScalarOp, Symbol, Tensor};

use super::Builder;

/// What follows the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    Bias,
    BiasRelu,
    BiasResidualClip,
    /// `acc * 0.5 + bias`, which is not built in.
    Scaled,
}

impl After {
    pub(crate) const ALL: [After; 5] = [
        After::Nothing,
        After::Bias,
        After::BiasRelu,
        After::BiasResidualClip,
        After::Scaled,
    ];
}

/// Adds the operands of an epilogue and its body. `channel` is the result's axis of the bias.
pub(crate) fn finish(mut epilogue: Compute, after: After, channel: usize) -> Compute {
    let shape = epilogue.shape();
    let mut value = epilogue.pool.acc(DType::F32);
    let operand = |epilogue: &mut Compute, shape: Vec<Dim>| {
        epilogue.operands.push(Operand {
            dtype: DType::F32,
            shape,
        });
        epilogue.operands.len() - 1
    };
    if after == After::Nothing {
        return epilogue.finish(value);
    }
    if after == After::Scaled {
        let half = epilogue.pool.float(DType::F32, 0.5);
        value = epilogue.pool.mul(value, half);
    }
    let at = epilogue.indices();
    let bias = operand(&mut epilogue, vec![shape[channel].clone()]);
    let bias = epilogue.load(bias, vec![at[channel]]);
    value = epilogue.pool.add(value, bias);
    if after == After::BiasResidualClip {
        let residual = operand(&mut epilogue, shape);
        let residual = epilogue.load(residual, at);
        value = epilogue.pool.add(value, residual);
    }
    let mut bound = |op, limit: f64, value: ExprId| {
        let limit = epilogue.pool.float(DType::F32, limit);
        epilogue.pool.apply(op, &[value, limit])
    };
    if after == After::BiasRelu {
        value = bound(ScalarOp::Max, 0.0, value);
    }
    if after == After::BiasResidualClip {
        value = bound(ScalarOp::Max, -1.0, value);
        value = bound(ScalarOp::Min, 1.5, value);
    }
    epilogue.finish(value)
}

/// A convolution over `[N, C, ..]` with weights `[M, C / groups, ..]`.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) images: i64,
    pub(crate) groups: i64,
    pub(crate) channels: [i64; 2],
    pub(crate) input: Vec<i64>,
    pub(crate) kernel: Vec<i64>,
    pub(crate) stride: i64,
    pub(crate) dilation: i64,
    pub(crate) pad: i64,
}

impl Conv {
    pub(crate) fn out(&self) -> Vec<i64> {
        let one = |(&size, &kernel): (&i64, &i64)| {
            (size + 2 * self.pad - (kernel - 1) * self.dilation - 1) / self.stride + 1
        };
        self.input.iter().zip(&self.kernel).map(one).collect()
    }

    pub(crate) fn contract(&self, after: After) -> Contract {
        let [c_in, c_out] = self.channels.map(|c| c / self.groups);
        let dims = |head: [i64; 2], tail: &[i64]| -> Vec<Dim> {
            head.iter().chain(tail).map(|&d| Dim::new(d)).collect()
        };
        let f32 = |shape| Operand {
            dtype: DType::F32,
            shape,
        };
        let operands = vec![
            f32(dims([self.images, self.channels[0]], &self.input)),
            f32(dims([self.channels[1], c_in], &self.kernel)),
        ];
        let out = self.out();
        let shape = dims([self.images, self.channels[1]], &out);
        let mut epilogue = Compute::begin(operands, DType::F32, &shape);
        let mut var = |extent: i64| epilogue.pool.var(extent);
        let (n, g) = (var(self.images), var(self.groups));
        let (m, c) = (var(c_out), var(c_in));
        let at: Vec<VarId> = out.iter().map(|&extent| var(extent)).collect();
        let taps: Vec<VarId> = self.kernel.iter().map(|&extent| var(extent)).collect();
        let term = |var: VarId, factor: i64| match epilogue.pool.extent(var).is(1) {
            true => Affine::constant(0_i64),
            false => Affine::var(var).times(&Dim::new(factor)),
        };
        let channel = term(g, c_out).plus(&term(m, 1));
        let mut x = vec![term(n, 1), term(g, c_in).plus(&term(c, 1))];
        let mut w = vec![channel.clone(), term(c, 1)];
        let mut y = vec![term(n, 1), channel];
        for (&o, &k) in at.iter().zip(&taps) {
            let window = term(o, self.stride).plus(&term(k, self.dilation));
            x.push(window.plus(&Affine::constant(-self.pad)));
            w.push(term(k, 1));
            y.push(term(o, 1));
        }
        let axis = |role| move |&var: &VarId| ContractAxis { var, role };
        let mut axes = vec![axis(Role::M)(&n), axis(Role::Batch)(&g), axis(Role::N)(&m)];
        axes.extend(at.iter().map(axis(Role::M)));
        axes.push(axis(Role::K)(&c));
        axes.extend(taps.iter().map(axis(Role::K)));
        let padded = if self.pad == 0 {
            Vec::new()
        } else {
            (2..2 + taps.len()).collect()
        };
        let side = |operand, index, padded| ContractOperand {
            operand,
            index,
            zero_point: None,
            padded,
        };
        Contract {
            axes,
            a: side(0, x, padded),
            b: side(1, w, Vec::new()),
            acc: DType::F32,
            out: y,
            epilogue: finish(epilogue, after, 1),
        }
    }
}

/// Strides of `[N, C, ..]` in memory where channels are innermost.
pub(crate) fn channels_last(shape: &[Dim]) -> Layout {
    let moved: Vec<Dim> = shape[..1]
        .iter()
        .chain(&shape[2..])
        .chain(&shape[1..2])
        .cloned()
        .collect();
    let dense = Layout::row_major(&moved);
    let mut strides = dense.strides;
    let channel = strides.pop().expect("a channel axis");
    strides.insert(1, channel);
    Layout {
        strides,
        elements: dense.elements,
    }
}

/// Row-major elements as a buffer of this layout, and back.
fn scatter(tensor: &Tensor, layout: &Layout, back: bool, memory: &mut [f32], flat: &mut [f32]) {
    let strides: Vec<usize> = layout
        .strides
        .iter()
        .map(|s| s.as_const().expect("constant") as usize)
        .collect();
    let own = alula_tensor::strides(tensor.shape());
    for (position, element) in flat.iter_mut().enumerate() {
        let at: usize = (0..own.len())
            .map(|axis| position / own[axis] % tensor.shape()[axis] * strides[axis])
            .sum();
        if back {
            *element = memory[at];
        } else {
            memory[at] = *element;
        }
    }
}

/// Numbers between -1 and 1, the same for the same arguments.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn constant_shape(shape: &[Dim]) -> Vec<usize> {
    shape
        .iter()
        .map(|dim| dim.as_const().expect("constant") as usize)
        .collect()
}

/// Plans, binds, packs and runs a contraction, and compares with its naive definition.
/// Returns what was planned.
pub(crate) fn check(
    contract: &Contract,
    layouts: &[Layout],
    result: &Layout,
    isa: Isa,
) -> CpuContract {
    let no_symbols = |_: &Symbol| None;
    let operands: Vec<Tensor> = contract
        .epilogue
        .operands
        .iter()
        .enumerate()
        .map(|(seed, operand)| {
            let shape = constant_shape(&operand.shape);
            let values = noise(shape.iter().product(), seed as u64 + 3);
            Tensor::from_slice(&shape, &values).expect("the shape's length")
        })
        .collect();
    let naive = contract.to_compute().expect("output indices are simple");
    let lent: Vec<&Tensor> = operands.iter().collect();
    let wanted = evaluate(&naive, &lent, &no_symbols).expect("evaluated");

    let (planned, tile) =
        plan_contract(contract, layouts, result, Wanted::whole(isa)).expect("planned");
    let bound = planned.bind(&no_symbols, 2).expect("bound");
    let pool = Pool::new(2).expect("a pool");
    let buffers: Vec<Vec<f32>> = operands
        .iter()
        .zip(layouts)
        .map(|(tensor, layout)| {
            let len = layout.elements.as_const().expect("constant") as usize;
            let mut memory = vec![f32::NAN; len];
            let mut flat = tensor.to_vec::<f32>().expect("f32");
            scatter(tensor, layout, false, &mut memory, &mut flat);
            memory
        })
        .collect();
    let mut packed = vec![f32::NAN; bound.packed_len().expect("a length")];
    bound
        .packing()
        .pack_on(Some(&pool), &buffers[planned.b as usize], &mut packed)
        .expect("packed");
    let mut c = vec![f32::NAN; result.elements.as_const().expect("constant") as usize];
    let mut scratch = vec![0_u8; bound.scratch_bytes(pool.threads())];
    let module = tile.as_ref().map(compile_tile);
    let tile_plan = module
        .as_ref()
        .map(|module| TilePlan::new(module, 0, &no_symbols));
    let tile_plan = tile_plan.map(|plan| plan.expect("a tile kernel"));
    let kernel = tile_plan.as_ref().zip(tile.as_ref()).map(|(plan, tile)| {
        let given: Vec<Buffer> = tile
            .operands
            .iter()
            .map(|&operand| Buffer::read(bytes(&buffers[operand as usize])))
            .collect();
        TileKernel::new(plan, &given).expect("its operands")
    });
    let slice = |position: u32| {
        let buffer = &buffers[position as usize];
        (buffer.as_ptr(), buffer.len())
    };
    let raw = |position: u32| {
        let (pointer, len) = slice(position);
        (pointer.cast::<u8>(), len)
    };
    let (bias, residual) = match &planned.epilogue {
        Epilogue::Fused { bias, residual, .. } => {
            let bias = bias.as_ref().map(|(position, ..)| *position);
            (bias, residual.map(|(position, _)| position))
        }
        Epilogue::Tile { .. } => (None, None),
    };
    let run = ContractOperands {
        a: raw(planned.a),
        b: (packed.as_ptr(), packed.len()),
        c: (c.as_mut_ptr().cast(), c.len()),
        bias: bias.map(slice),
        residual: residual.map(raw),
        hook: kernel.as_ref().map(TileKernel::hook),
    };
    // SAFETY: every buffer outlives the call, and the result is a buffer of its own.
    unsafe { bound.run(&pool, &run, &mut scratch) }.expect("run");
    if let Some(kernel) = &kernel {
        kernel.check().expect("every tile was finished");
    }

    let mut got = vec![0.0; wanted.len()];
    scatter(&wanted, result, true, &mut c, &mut got);
    let wanted = wanted.to_vec::<f32>().expect("f32");
    let largest = wanted.iter().fold(1.0_f32, |m, x| m.max(x.abs()));
    for (i, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
        assert!(
            (got - wanted).abs() <= 2e-6 * largest * 8.0,
            "element {i}: {got}, not {wanted}"
        );
    }
    planned
}

fn bytes(values: &[f32]) -> &[u8] {
    // SAFETY: any bytes of floats are bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len() * 4) }
}

fn compile_tile(tile: &TileEpilogue) -> CpuModule {
    let kernel = tile_kernel(tile);
    verify(&kernel).expect("well formed");
    let target = CpuTarget::host().expect("a target");
    let emitted = emit_kernel(&kernel, &target, Dump::default()).expect("printed");
    // SAFETY: the code was just made.
    unsafe { CpuModule::load(&link(&target, [emitted])) }.expect("loads")
}

/// The plainest kernel of a tile's epilogue: rows as a grid, columns in lanes.
fn tile_kernel(tile: &TileEpilogue) -> Kernel {
    let compute = &tile.compute;
    let mut b = Builder::new("tile");
    let mut symbols = std::collections::BTreeSet::new();
    for param in &tile.params {
        param.layout.elements.collect_symbols(&mut symbols);
        param
            .layout
            .strides
            .iter()
            .for_each(|stride| stride.collect_symbols(&mut symbols));
    }
    for name in alula_cpu::TILE_SYMBOLS {
        symbols.insert(Symbol::new(name));
    }
    b.kernel.symbols = symbols.into_iter().collect();
    let buffers: Vec<_> = tile
        .params
        .iter()
        .enumerate()
        .map(|(position, param)| {
            let access = if position < compute.operands.len() {
                Access::Read
            } else {
                Access::Write
            };
            b.param(DType::F32, param.layout.elements.clone(), access)
        })
        .collect();
    let row = b.grid(compute.axes[0].extent.clone());
    let cols = b.dim(compute.axes[1].extent.clone());
    b.each(LoopKind::Lanes(4), cols, |b, col| {
        let print = |b: &mut Builder, id: ExprId| print(b, tile, &buffers, [row, col], id);
        let value = print(b, compute.body);
        let result = tile.params.len() - 1;
        let at = place(b, &tile.params[result].layout, &[row, col]);
        b.store(buffers[result], at, value);
    });
    b.finish()
}

fn print(
    b: &mut Builder,
    tile: &TileEpilogue,
    buffers: &[alula_kernel::BufferId],
    at: [ValueId; 2],
    id: ExprId,
) -> ValueId {
    let pool = &tile.compute.pool;
    let node = pool.node(id).clone();
    match node.expr {
        Expr::Const(literal) => b.constant(node.dtype, literal.0),
        Expr::Dim(dim) => b.dim(dim),
        Expr::Var(var) => at[usize::from(tile.compute.axes[1].var == var)],
        Expr::Apply { op, operands } => {
            let operands: Vec<ValueId> = operands
                .iter()
                .map(|&operand| print(b, tile, buffers, at, operand))
                .collect();
            b.apply(op, &operands)
        }
        Expr::Cast(value) => {
            let value = print(b, tile, buffers, at, value);
            b.cast(value, node.dtype)
        }
        Expr::Load { operand, index } => {
            let index: Vec<ValueId> = index
                .iter()
                .map(|&axis| print(b, tile, buffers, at, axis))
                .collect();
            let at = place(b, &tile.params[operand as usize].layout, &index);
            b.load(buffers[operand as usize], at)
        }
        Expr::Fold { .. } | Expr::Acc => panic!("not in a tile's epilogue"),
    }
}

fn place(b: &mut Builder, layout: &Layout, index: &[ValueId]) -> ValueId {
    let mut sum = b.int(0);
    for (&index, stride) in index.iter().zip(&layout.strides) {
        let stride = b.dim(stride.clone());
        let term = b.apply(ScalarOp::Mul, &[index, stride]);
        sum = b.apply(ScalarOp::Add, &[sum, term]);
    }
    sum
}
