//! A compiled model for one target.

use alula_tensor::{DType, Dim, Storage, Symbol};
use serde::{Deserialize, Serialize};

use crate::Plan;

/// A compiled model for one target. `constants` are not serialised with it: an artifact keeps
/// them in a section of their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    /// The target's name: `cpu`, `wgpu`, `cuda`.
    pub target: String,
    /// How exact contractions are, in a word: `highest` is as exact as `f32` arithmetic.
    pub precision: String,
    /// What the code asks of the device besides features: how kernels are called and in what form
    /// packed constants lie. Of [`Device::abi`](crate::Device::abi), which must say the same.
    pub abi: String,
    /// Processor features without which the code must not run.
    pub features: Vec<String>,
    /// Where its schedules were measured, if they were. It runs elsewhere, too.
    pub tuned: Option<Tuned>,
    /// Plans; the first is the model's, others are sub-graphs.
    pub plans: Vec<Plan>,
    /// Kernels, by position in launches.
    pub kernels: Vec<KernelEntry>,
    /// Machine code or shader text of all kernels, as the target's back end wrote it.
    pub code: Vec<u8>,
    /// Where and how large each constant is.
    pub constants: Vec<Constant>,
    /// The constants' bytes, by position.
    #[serde(skip)]
    pub data: Vec<Storage>,
}

/// What schedules were measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuned {
    /// The processor, in words.
    pub cpu: String,
    /// Threads that ran the measured programs.
    pub threads: u32,
    /// BLAKE3 of the table of schedules, in hexadecimal digits.
    pub table: String,
}

/// What is known of a constant without its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Vec<usize>,
    /// Length in bytes.
    pub bytes: u64,
    /// Where it came from, for `inspect`.
    pub name: String,
}

/// How a kernel uses a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParamAccess {
    /// Only reads.
    Read,
    /// Writes, and reads perhaps.
    Write,
}

/// A parameter of a kernel: bounds that a launch is checked against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelParam {
    /// How it is used.
    pub access: ParamAccess,
    /// Least length in bytes.
    pub bytes: Dim,
}

/// A kernel of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelEntry {
    /// The name in profiles.
    pub name: String,
    /// Parameters in launch order.
    pub params: Vec<KernelParam>,
    /// Symbols whose values are passed, in launch order.
    pub symbols: Vec<Symbol>,
    /// Bytes of scratch memory that a launch needs.
    pub scratch: Dim,
    /// Scalar evaluations of a launch, about, in symbols of the plans that launch it.
    pub work: Dim,
    /// What the back end's device needs to find and launch it, serialised by the back end.
    pub code: Vec<u8>,
}
