//! Buffers: how they are declared, and what loads and stores look like.
//!
//! Elements narrower than 32 bits lie several to a word. Their stores clear and set their bits
//! with atomics, so that neighbours may store at once.

use alula_kernel::{Access, BufferId, Kernel};
use alula_tensor::{DType, DTypeClass};

use super::repr::Repr;

/// A parameter as the shader sees it.
pub(super) struct Buffer {
    pub(super) name: String,
    pub(super) dtype: DType,
    pub(super) repr: Repr,
    /// Whether words are atomic.
    atomic: bool,
}

/// The name, repr and access of every parameter.
pub(super) fn buffers(kernel: &Kernel) -> Result<Vec<Buffer>, DType> {
    let buffer = |(position, param): (usize, &alula_kernel::Param)| {
        Ok(Buffer {
            name: format!("p{position}_{}", param.name),
            dtype: param.dtype,
            repr: Repr::of(param.dtype, true).ok_or(param.dtype)?,
            atomic: param.dtype.size_bytes() < 4 && param.access != Access::Read,
        })
    };
    kernel.params.iter().enumerate().map(buffer).collect()
}

impl Buffer {
    /// The declaration of binding `position`. Everything is `read_write`: parts of one buffer are
    /// bound for reading and for writing at once, which takes one and the same usage.
    pub(super) fn declare(&self, position: usize) -> String {
        let element = match (self.dtype.size_bytes(), self.atomic) {
            (1 | 2, true) => "atomic<u32>",
            (1 | 2, false) => "u32",
            _ => self.repr.name(),
        };
        let name = &self.name;
        format!(
            "@group(0) @binding({position})\nvar<storage, read_write> {name}: array<{element}>;\n"
        )
    }

    /// An element, as an expression of the buffer's repr.
    pub(super) fn load(&self, index: &str) -> String {
        let (name, bytes) = (&self.name, self.dtype.size_bytes());
        if bytes >= 4 {
            return format!("{name}[{index}]");
        }
        let (step, low) = word_of(bytes);
        let word = if self.atomic {
            format!("atomicLoad(&{name}[({index}) >> {step}u])")
        } else {
            format!("{name}[({index}) >> {step}u]")
        };
        let shift = format!("(u32({index}) & {low}u) * {}u", bytes * 8);
        let bits = match self.dtype.class() {
            DTypeClass::Bool => return format!("extractBits({word}, {shift}, 8u) != 0u"),
            _ => bytes * 8,
        };
        if self.repr == Repr::I32 {
            format!("extractBits(bitcast<i32>({word}), {shift}, {bits}u)")
        } else {
            format!("extractBits({word}, {shift}, {bits}u)")
        }
    }

    /// Statements that store an expression of the buffer's repr.
    pub(super) fn store(&self, index: &str, value: &str) -> Vec<String> {
        let (name, bytes) = (&self.name, self.dtype.size_bytes());
        if bytes >= 4 {
            return vec![format!("{name}[{index}] = {value};")];
        }
        let (step, low) = word_of(bytes);
        let mask = if bytes == 1 { "0xffu" } else { "0xffffu" };
        let shift = format!("((u32({index}) & {low}u) * {}u)", bytes * 8);
        let bits = match self.repr {
            Repr::Bool => format!("select(0u, 1u, {value})"),
            _ => format!("(u32({value}) & {mask})"),
        };
        let word = format!("{name}[({index}) >> {step}u]");
        vec![
            format!("atomicAnd(&{word}, ~({mask} << {shift}));"),
            format!("atomicOr(&{word}, {bits} << {shift});"),
        ]
    }
}

/// Shift from element to word, and the mask of an element's place within its word.
fn word_of(bytes: usize) -> (u32, u32) {
    if bytes == 1 { (2, 3) } else { (1, 1) }
}

/// The name of a local or shared array.
pub(super) fn local_name(kernel: &Kernel, buffer: BufferId) -> Option<String> {
    match buffer {
        BufferId::Param(_) => None,
        BufferId::Local(n) => Some(format!("l{n}_{}", kernel.locals.get(n as usize)?.name)),
        BufferId::Shared(n) => Some(format!("s{n}_{}", kernel.locals.get(n as usize)?.name)),
    }
}
