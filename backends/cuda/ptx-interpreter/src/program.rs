//! The decoded form of a kernel: every operand is a register number, every function a pointer.
//!
//! Constants and special registers occupy registers of their own, filled when a block starts, so
//! that execution never looks at an operand's kind.

use crate::float::{F32Fn, F64Fn, Format, Round};
use crate::integer::IntFn;
use crate::stats::Class;
use crate::types::{Space, Type};

/// Number of a register, one value a lane.
pub(crate) type Reg = u32;
/// Number of a predicate, one bit a lane.
pub(crate) type Pred = u32;
/// A predicate operand: its number and whether it is negated.
pub(crate) type PredUse = (Pred, bool);

/// A special register, constant while a block runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Tid(usize),
    Ntid(usize),
    Ctaid(usize),
    Nctaid(usize),
    Lane,
    Warp,
    Warps,
    LanemaskEq,
    LanemaskLt,
    LanemaskLe,
    LanemaskGt,
    LanemaskGe,
    DynamicShared,
    TotalShared,
}

/// `[base + offset]` in a space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    pub(crate) space: Space,
    pub(crate) base: Reg,
    pub(crate) offset: i64,
}

/// A comparison: ordered, unordered, or whether both are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compare {
    /// Results for less, equal, greater.
    pub(crate) outcome: [bool; 3],
    /// Result where an operand is NaN.
    pub(crate) unordered: bool,
    pub(crate) ty: Type,
    pub(crate) ftz: bool,
}

/// How a predicate combines with a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combine {
    And,
    Or,
    Xor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class1 {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

/// A type conversion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Convert {
    pub(crate) to: Type,
    pub(crate) from: Type,
    pub(crate) round: Round,
    /// Round a float to an integral float.
    pub(crate) integral: bool,
    pub(crate) ftz: bool,
    pub(crate) sat: bool,
    pub(crate) relu: bool,
    /// Bits of the destination register, to which integers are extended.
    pub(crate) register_bits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vote {
    All,
    Any,
    Uniform,
    Ballot,
}

/// Read-modify-write operations.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Atomic {
    Int(IntFn),
    F32,
    F64,
    Half { format: Format, packed: bool },
    Exchange,
    CompareSwap,
    Increment,
    Decrement,
}

/// Elements of matrix fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Float(Format),
    Int { signed: bool },
}

/// `mma.sync m16n8kK`: fragment registers in the order of the instruction.
#[derive(Debug, Clone)]
pub(crate) struct Mma {
    pub(crate) k: usize,
    pub(crate) element_a: Element,
    pub(crate) element_b: Element,
    pub(crate) saturate: bool,
    pub(crate) d: [Reg; 4],
    pub(crate) a: Vec<Reg>,
    pub(crate) b: Vec<Reg>,
    pub(crate) c: [Reg; 4],
}

/// A decoded operation.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Mov {
        d: Reg,
        a: Reg,
    },
    MovPred {
        p: Pred,
        a: PredUse,
    },
    Pack {
        d: Reg,
        parts: Vec<Reg>,
        bits: u32,
    },
    Unpack {
        parts: Vec<Option<Reg>>,
        a: Reg,
        bits: u32,
    },
    Int {
        f: IntFn,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
        e: Reg,
        mask: u64,
    },
    F32 {
        f: F32Fn,
        ftz: bool,
        sat: bool,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    F64 {
        f: F64Fn,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    Half {
        f: F64Fn,
        format: Format,
        packed: bool,
        fit: Fit,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    Convert {
        convert: Convert,
        d: Reg,
        a: Reg,
    },
    /// Two `f32` into the halves of a word: `a` above `b`.
    ConvertPair {
        convert: Convert,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    Set {
        compare: Compare,
        with: Option<(Combine, PredUse)>,
        p: Option<Pred>,
        q: Option<Pred>,
        a: Reg,
        b: Reg,
    },
    /// `set`: the comparison as a value, `truth` where it holds.
    SetValue {
        compare: Compare,
        with: Option<(Combine, PredUse)>,
        truth: u64,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    Select {
        d: Reg,
        a: Reg,
        b: Reg,
        p: PredUse,
    },
    PredLogic {
        combine: Combine,
        p: Pred,
        a: PredUse,
        b: PredUse,
    },
    TestFloat {
        class: Class1,
        format: Format,
        p: Pred,
        a: Reg,
    },
    IsSpace {
        space: Space,
        p: Pred,
        a: Reg,
    },
    Branch {
        target: u32,
        uniform: bool,
    },
    Exit,
    Trap,
    Fence,
    Barrier {
        id: Reg,
        threads: Option<Reg>,
    },
    WarpBarrier {
        member: Reg,
    },
    Shuffle {
        mode: Shuffle,
        d: Reg,
        p: Option<Pred>,
        a: Reg,
        b: Reg,
        c: Reg,
        member: Reg,
    },
    Vote {
        mode: Vote,
        d: Reg,
        p: Pred,
        a: PredUse,
        member: Reg,
    },
    Reduce {
        f: IntFn,
        d: Reg,
        a: Reg,
        member: Reg,
    },
    ActiveMask {
        d: Reg,
    },
    Load {
        address: Address,
        ty: Type,
        parts: Vec<Option<(Reg, u32)>>,
    },
    Store {
        address: Address,
        ty: Type,
        parts: Vec<Reg>,
    },
    Atomic {
        f: Atomic,
        ty: Type,
        address: Address,
        d: Option<Reg>,
        b: Reg,
        c: Reg,
    },
    LoadMatrix {
        address: Address,
        transpose: bool,
        parts: Vec<Reg>,
    },
    Mma(Box<Mma>),
    AsyncCopy {
        to: Address,
        from: Address,
        size: usize,
        source_size: Option<Reg>,
    },
    AsyncCommit,
    /// Waits until at most `groups` of the youngest groups are unfinished; `None` = all copies.
    AsyncWait {
        groups: Option<u32>,
    },
}

/// What happens to a half-precision result before it is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    Plain,
    /// Clamp to [0, 1], NaN becomes 0.
    Sat,
    /// Negative becomes 0.
    Relu,
}

/// One decoded instruction.
#[derive(Debug, Clone)]
pub(crate) struct Instruction {
    pub(crate) op: Op,
    pub(crate) guard: Option<PredUse>,
    pub(crate) class: Class,
    pub(crate) line: u32,
    /// Registers whose value it uses.
    pub(crate) reads: Box<[Reg]>,
    /// Predicates whose value it uses, the guard among them.
    pub(crate) pred_reads: Box<[Pred]>,
}

/// A kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name in the entry's list.
    pub name: String,
    /// Size in bytes.
    pub size: usize,
    /// Byte offset within parameter space.
    pub offset: usize,
}

/// A decoded kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    pub(crate) param_bytes: usize,
    pub(crate) code: Vec<Instruction>,
    /// For each instruction that branches, where its lanes meet again.
    pub(crate) reconverge: Vec<u32>,
    pub(crate) register_names: Vec<String>,
    pub(crate) pred_names: Vec<String>,
    pub(crate) constants: Vec<(Reg, u64)>,
    pub(crate) specials: Vec<(Reg, Special)>,
    pub(crate) shared_static: usize,
    pub(crate) local_bytes: usize,
    pub(crate) block_required: Option<[u32; 3]>,
    pub(crate) block_max: Option<u32>,
}

impl Kernel {
    /// The entry's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The entry's parameters in order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Bytes of statically declared shared memory.
    pub fn shared_static(&self) -> usize {
        self.shared_static
    }

    /// Number of decoded instructions.
    pub fn instruction_count(&self) -> usize {
        self.code.len()
    }
}

/// A parsed PTX module.
#[derive(Debug, Clone)]
pub struct Module {
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) constants: Vec<u8>,
    pub(crate) lines: Vec<String>,
}

impl Module {
    /// The kernels in source order.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// The kernel named `name`.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }

    pub(crate) fn line(&self, line: u32) -> String {
        self.lines
            .get(line as usize - 1)
            .cloned()
            .unwrap_or_default()
    }
}
