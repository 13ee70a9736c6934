//! What a session and a run are allowed.

use std::time::Duration;

/// Bounds of every run of a session.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one run: planned and dynamic memory, scratch, and copies, also of outputs. Inputs,
    /// constants and the packed forms of constants are not counted. By default three quarters of
    /// what the system has free, where it tells, and never more than 64 GiB.
    pub bytes_max: u64,
    /// Iterations of one loop.
    pub trips_max: u64,
    /// Scalar evaluations of one launch, about: points of its loops. Products count for less, as
    /// many are done at once.
    pub work_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes_max: free_bytes().map_or(BYTES_MAX, |free| (free / 4 * 3).min(BYTES_MAX)),
            trips_max: 1 << 24,
            work_max: 1 << 40,
        }
    }
}

/// The limit where the system does not tell how much memory is free.
const BYTES_MAX: u64 = 64 << 30;

/// Memory that the system can hand out without pushing out what others use, and that the process's
/// group may still take.
fn free_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let available = read("/proc/meminfo").and_then(|text| available(&text));
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let most = number("/sys/fs/cgroup/memory.max");
    let of_group = most.zip(number("/sys/fs/cgroup/memory.current"));
    let of_group = of_group.map(|(most, current)| most.saturating_sub(current));
    available.into_iter().chain(of_group).min()
}

/// The line `MemAvailable:   23456 kB`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
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
    /// Longest time that the run may take. The processor ends a long kernel soon after; a GPU
    /// finishes the one that it runs.
    pub deadline: Option<Duration>,
    /// Another limit of scalar evaluations than the session's [`Limits::work_max`].
    pub work_max: Option<u64>,
    /// Measure every step.
    pub profile: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_in_kibibytes() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:    2048 kB\nBuffers: 1 kB\n";
        assert_eq!(available(text), Some(2 << 20));
        assert_eq!(available("MemTotal: 24000000 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn the_default_is_bounded() {
        assert!(Limits::default().bytes_max <= BYTES_MAX);
    }
}
