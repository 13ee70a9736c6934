//! Everything that can be wrong with a PTX text, a launch, or what a kernel does.

use crate::types::Space;

/// A PTX text that the interpreter refuses, with the line to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ptx line {line}: {message}")]
pub struct ParseError {
    /// One-based line in the text given to [`crate::Module::parse`].
    pub line: u32,
    /// What is wrong, naming the word at fault.
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(line: u32, message: impl Into<String>) -> Self {
        Self {
            line,
            message: message.into(),
        }
    }
}

/// A launch, or host access to device memory, that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The module has no entry of that name.
    #[error("no kernel named `{0}` in the module")]
    UnknownKernel(String),
    /// The number of parameters differs from the entry's list.
    #[error("kernel `{kernel}` takes {expected} parameters, {found} given")]
    ParamCount {
        /// Entry name.
        kernel: String,
        /// Parameters the entry declares.
        expected: usize,
        /// Parameters the launch gave.
        found: usize,
    },
    /// One parameter has the wrong size.
    #[error("kernel `{kernel}` parameter `{param}` is {expected} bytes, {found} given")]
    ParamSize {
        /// Entry name.
        kernel: String,
        /// Parameter name.
        param: String,
        /// Bytes declared.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Grid, block or shared memory outside the limits of the device or the entry.
    #[error("kernel `{kernel}`: {message}")]
    Config {
        /// Entry name.
        kernel: String,
        /// The two facts that disagree.
        message: String,
    },
    /// A kernel did something that is wrong or undefined.
    #[error(transparent)]
    Trap(#[from] Box<Trap>),
    /// Host access to memory that is not allocated.
    #[error("host access: {0}")]
    Host(Fault),
}

/// A fault with the place where it happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "kernel `{kernel}` line {line} `{instruction}` block {block:?} warp {warp}{}: {fault}",
    lane.map(|l| format!(" lane {l}")).unwrap_or_default()
)]
pub struct Trap {
    /// Entry name.
    pub kernel: String,
    /// One-based source line of the instruction.
    pub line: u32,
    /// The source line, trimmed.
    pub instruction: String,
    /// `%ctaid` of the block.
    pub block: [u32; 3],
    /// Warp within the block.
    pub warp: u32,
    /// Lane within the warp, where one lane is at fault.
    pub lane: Option<u32>,
    /// What happened.
    pub fault: Fault,
}

/// What a kernel did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are outside every allocation, or cross the end of one.
    #[error("{size} bytes at {space} address {address:#x} are out of bounds")]
    OutOfBounds {
        /// State space accessed.
        space: Space,
        /// Address of the first byte.
        address: u64,
        /// Bytes accessed.
        size: usize,
    },
    /// The allocation was freed before.
    #[error("{size} bytes at global address {address:#x} were freed")]
    Freed {
        /// Address of the first byte.
        address: u64,
        /// Bytes accessed.
        size: usize,
    },
    /// The address is not a multiple of the access size.
    #[error("{space} address {address:#x} is not aligned to {align} bytes")]
    Misaligned {
        /// State space accessed.
        space: Space,
        /// Address of the first byte.
        address: u64,
        /// Required alignment in bytes.
        align: usize,
    },
    /// A byte was read that nobody has written.
    #[error("reads uninitialised {space} memory at address {address:#x}")]
    Uninitialised {
        /// State space accessed.
        space: Space,
        /// Address of the first poisoned byte.
        address: u64,
    },
    /// A register was read before any write to it in that lane.
    #[error("reads register {register} before it is written")]
    UninitialisedRegister {
        /// Name in the source.
        register: String,
    },
    /// The space cannot be written.
    #[error("writes to read-only {space} memory at address {address:#x}")]
    ReadOnly {
        /// State space accessed.
        space: Space,
        /// Address of the first byte.
        address: u64,
    },
    /// Two warps of a block touch a shared byte with no barrier between.
    #[error(
        "shared memory race at byte {address:#x}: {kind} with warp {other_warp} at line \
         {other_line} `{other_instruction}`, no barrier between"
    )]
    Race {
        /// Shared byte.
        address: u64,
        /// `write after read`, `read after write` or `write after write`.
        kind: &'static str,
        /// The warp that came first.
        other_warp: u32,
        /// Its source line.
        other_line: u32,
        /// Its source text.
        other_instruction: String,
    },
    /// A shared byte is touched while a `cp.async` to it has not been waited for.
    #[error(
        "shared byte {address:#x} is still being filled by cp.async of warp {other_warp} \
         at line {other_line}"
    )]
    PendingCopy {
        /// Shared byte.
        address: u64,
        /// The warp that issued the copy.
        other_warp: u32,
        /// Its source line.
        other_line: u32,
    },
    /// Lanes that have not exited do not all take part in a barrier.
    #[error("divergent barrier: lanes {executing:#010x} of live lanes {live:#010x} arrive")]
    DivergentBarrier {
        /// Lanes that execute the barrier.
        executing: u32,
        /// Lanes that have not exited.
        live: u32,
    },
    /// Warps of a block wait at different barriers.
    #[error("divergent barrier: warp {other_warp} waits at another barrier, line {other_line}")]
    BarrierMismatch {
        /// A warp that waits elsewhere.
        other_warp: u32,
        /// Where it waits.
        other_line: u32,
    },
    /// The member mask of a warp-wide instruction disagrees with the lanes that execute it.
    #[error("member mask {member:#010x} differs from the executing lanes {executing:#010x}")]
    MemberMask {
        /// Mask operand.
        member: u32,
        /// Lanes that execute.
        executing: u32,
    },
    /// A lane shuffles from a lane that does not take part.
    #[error("shuffles from inactive lane {source_lane}")]
    InactiveSource {
        /// The lane read from.
        source_lane: u32,
    },
    /// A register operand that must be the same in every lane is not.
    #[error("the {what} operand differs between lanes")]
    NotUniform {
        /// Which operand.
        what: &'static str,
    },
    /// An operand has a value outside its domain.
    #[error("{0}")]
    BadOperand(String),
    /// The launch ran more warp instructions than its limit.
    #[error("ran {limit} warp instructions without ending")]
    InstructionLimit {
        /// The limit of the launch.
        limit: u64,
    },
    /// The kernel executed `trap`.
    #[error("executes trap")]
    Trap,
}
