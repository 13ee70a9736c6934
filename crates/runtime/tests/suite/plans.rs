//! Small programs.

use std::sync::Arc;

use alula_program::{
    Constant, KernelEntry, KernelParam, ParamAccess, Place, Plan, Port, Program, Slot, SlotId,
    Step, SymbolDef, SymbolOrigin,
};
use alula_runtime::{Session, SessionOptions};
use alula_tensor::{DType, Dim, Storage, Symbol, Tensor, TensorType, Value, ValueType};

use crate::device::Fake;

pub(crate) fn ty(dtype: DType, dims: &[Dim]) -> ValueType {
    TensorType::new(dtype, dims.to_vec()).into()
}

pub(crate) fn slot(ty: ValueType, place: Place) -> Slot {
    let bytes = match ty.as_tensor() {
        Some(tensor) => tensor.num_elements() * Dim::from(tensor.dtype.size_bytes()),
        None => Dim::new(0),
    };
    Slot { ty, bytes, place }
}

pub(crate) fn arena(first: usize, last: usize) -> Place {
    Place::Arena { first, last }
}

pub(crate) fn launch(kernel: usize, args: &[u32]) -> Step {
    Step::Launch {
        kernel,
        args: args.iter().copied().map(SlotId).collect(),
        name: format!("node_{kernel}"),
    }
}

pub(crate) fn symbol(name: &str, origin: SymbolOrigin) -> SymbolDef {
    SymbolDef {
        symbol: Symbol::new(name),
        origin,
    }
}

/// A plan whose ports have the types of their slots.
pub(crate) fn plan(
    symbols: Vec<SymbolDef>,
    slots: Vec<Slot>,
    steps: Vec<Step>,
    outputs: &[(&str, u32)],
) -> Plan {
    let names = ["x", "y", "z", "w", "v"];
    let port = |name: &str, slot: u32| Port {
        name: name.to_owned(),
        ty: slots[slot as usize].ty.clone(),
        slot: SlotId(slot),
    };
    let count = slots
        .iter()
        .filter(|slot| matches!(slot.place, Place::Input(_)));
    let inputs = (0..count.count())
        .map(|k| {
            let slot = slots.iter().position(|slot| slot.place == Place::Input(k));
            port(names[k], slot.expect("inputs are numbered") as u32)
        })
        .collect();
    let outputs = outputs
        .iter()
        .map(|(name, slot)| port(name, *slot))
        .collect();
    Plan {
        name: "test".to_owned(),
        symbols,
        checks: Vec::new(),
        inputs,
        outputs,
        slots,
        steps,
    }
}

/// Kernels 0 to 4: `add` of two, `neg`, `copy`, `double` of one, `less` of two.
pub(crate) fn program(plans: Vec<Plan>, constants: &[Tensor]) -> Program {
    let kernels = [
        ("add", 2),
        ("neg", 1),
        ("copy", 1),
        ("double", 1),
        ("less", 2),
    ]
    .map(|(name, reads)| {
        let param = |access| KernelParam {
            access,
            bytes: Dim::new(0),
        };
        let mut params = vec![param(ParamAccess::Read); reads];
        params.push(param(ParamAccess::Write));
        KernelEntry {
            name: name.to_owned(),
            params,
            symbols: Vec::new(),
            scratch: Dim::new(0),
            work: Dim::new(1),
            code: Vec::new(),
        }
    })
    .to_vec();
    Program {
        target: "fake".to_owned(),
        precision: "highest".to_owned(),
        abi: crate::device::ABI.to_owned(),
        features: Vec::new(),
        tuned: None,
        plans,
        kernels,
        code: b"code".to_vec(),
        constants: constants
            .iter()
            .map(|tensor| Constant {
                dtype: tensor.dtype(),
                shape: tensor.shape().to_vec(),
                bytes: tensor.bytes().len() as u64,
                name: "constant".to_owned(),
            })
            .collect(),
        data: constants
            .iter()
            .map(|tensor| Storage::copy_from(tensor.bytes()))
            .collect(),
    }
}

pub(crate) fn session(program: Program) -> Session {
    Session::new(
        Arc::new(program),
        &Fake::default(),
        SessionOptions::default(),
    )
    .expect("the program is sound")
}

pub(crate) fn floats(values: &[f32]) -> Value {
    Tensor::from_slice(&[values.len()], values)
        .expect("tensor")
        .into()
}

/// `out = -(x + c)`, `sum = x + c`, with `x: f32[N]`: two steps of planned memory.
pub(crate) fn negated_sum() -> Program {
    let n = Dim::named("N");
    let vector = || ty(DType::F32, std::slice::from_ref(&n));
    let slots = vec![
        slot(vector(), Place::Input(0)),
        slot(ty(DType::F32, &[Dim::new(1)]), Place::Constant(0)),
        slot(vector(), arena(0, 2)),
        slot(vector(), arena(1, 2)),
    ];
    let origin = SymbolOrigin::Input { input: 0, axis: 0 };
    let plan = plan(
        vec![symbol("N", origin)],
        slots,
        vec![launch(0, &[0, 1, 2]), launch(1, &[2, 3])],
        &[("out", 3), ("sum", 2)],
    );
    let one = Tensor::from_slice(&[1], &[1.0_f32]).expect("tensor");
    program(vec![plan], &[one])
}
