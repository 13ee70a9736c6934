//! What a launch did, counted: a performance figure that needs no GPU.

/// Instruction classes that counters distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Integer and bit arithmetic, comparisons and selections.
    Integer,
    /// Float arithmetic.
    Float,
    /// Transcendental functions, roots, reciprocals and divisions.
    Special,
    /// Type conversions.
    Convert,
    /// Moves.
    Move,
    /// Loads and stores of any space.
    Memory,
    /// Atomics and reductions.
    Atomic,
    /// Branches, exits.
    Control,
    /// Barriers and fences.
    Barrier,
    /// Shuffles, votes and warp reductions.
    Warp,
    /// Matrix multiply and matrix loads.
    Matrix,
    /// `cp.async` and its groups.
    AsyncCopy,
}

impl Class {
    /// Every class, in the order of [`Stats::instructions`].
    pub const ALL: [Self; 12] = [
        Self::Integer,
        Self::Float,
        Self::Special,
        Self::Convert,
        Self::Move,
        Self::Memory,
        Self::Atomic,
        Self::Control,
        Self::Barrier,
        Self::Warp,
        Self::Matrix,
        Self::AsyncCopy,
    ];
}

/// Counters of one launch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Warp instructions by class, indexed by `Class as usize`.
    pub instructions: [u64; 12],
    /// Instructions times the lanes that executed them.
    pub lane_instructions: u64,
    /// Bytes loaded from device memory, by lanes.
    pub global_read_bytes: u64,
    /// Bytes stored to device memory, by lanes.
    pub global_write_bytes: u64,
    /// 32-byte sectors that global accesses touch, each warp access on its own.
    pub global_sectors: u64,
    /// Bytes loaded from shared memory, by lanes.
    pub shared_read_bytes: u64,
    /// Bytes stored to shared memory, by lanes.
    pub shared_write_bytes: u64,
    /// Bytes moved to or from local memory.
    pub local_bytes: u64,
    /// Extra passes that shared accesses take because lanes meet in a bank.
    pub bank_conflicts: u64,
    /// Block barriers completed.
    pub barriers: u64,
    /// Multiply-adds done by matrix instructions, times two.
    pub matrix_flops: u64,
    /// Branches at which a warp split.
    pub divergent_branches: u64,
    /// Blocks run.
    pub blocks: u64,
}

impl Stats {
    /// Warp instructions of one class.
    pub fn of(&self, class: Class) -> u64 {
        self.instructions[class as usize]
    }

    /// Warp instructions of all classes.
    pub fn warp_instructions(&self) -> u64 {
        self.instructions.iter().sum()
    }
}
