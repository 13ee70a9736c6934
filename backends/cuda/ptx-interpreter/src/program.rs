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
    /// Nothing to do: a fence or a hint.
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
