//! What a session and a run are allowed.

use std::time::Duration;

/// Bounds of every run of a session.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of planned and dynamic memory of one run, inputs and constants not counted.
    pub bytes_max: u64,
    /// Iterations of one loop.
    pub trips_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes_max: 64 << 30,
            trips_max: 1 << 32,
        }
    }
}

/// How a session behaves.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Bounds of every run.
    pub limits: Limits,
}

/// How one run behaves.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Longest time that the run may take. Checked between steps: one kernel is never cut short.
    pub deadline: Option<Duration>,
    /// Measure every step.
    pub profile: bool,
}
