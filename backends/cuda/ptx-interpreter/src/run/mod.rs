//! Executes kernels.

mod access;
mod block;
mod copy;
mod defined;
mod matrix;
mod step;
mod together;
mod value;
mod warp;

use crate::bytes::Bytes;
use crate::device::Device;
use crate::error::Error;
use crate::module::{Kernel, Module};
use crate::shared::Shared;
use crate::stats::Stats;
use block::{Launch, Random};
use warp::{Shape, Warp};

/// Most threads of a block, and of its z axis.
const THREADS_MAX: u32 = 1024;
const DEPTH_MAX: u32 = 64;
/// Most blocks along y and z.
const GRID_MAX: u32 = 65_535;
/// Most shared memory of a block, in bytes: what the largest devices lend.
const SHARED_MAX: usize = 227 * 1024;

/// The value of one kernel parameter; its size must be the declared one.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// `.u32` or `.b32`.
    U32(u32),
    /// `.u64` or `.b64`, pointers too.
    U64(u64),
    /// `.s32`.
    S32(i32),
    /// `.s64`.
    S64(i64),
    /// `.f32`.
    F32(f32),
    /// `.f64`.
    F64(f64),
    /// Anything else, as little-endian bytes.
    Bytes(Vec<u8>),
}

impl ParamValue {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::U32(value) => value.to_le_bytes().to_vec(),
            Self::U64(value) => value.to_le_bytes().to_vec(),
            Self::S32(value) => value.to_le_bytes().to_vec(),
            Self::S64(value) => value.to_le_bytes().to_vec(),
            Self::F32(value) => value.to_le_bytes().to_vec(),
            Self::F64(value) => value.to_le_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// How a launch runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchOptions {
    /// Seeds the order of blocks and the interleaving of warps.
    pub seed: u64,
    /// Whether `cp.async` moves its bytes when it is waited for, instead of when it is issued.
    pub deferred_cp_async: bool,
    /// Whether reading bytes or registers that were never written is an error.
    pub check_poison: bool,
    /// Warp instructions after which the launch is taken for endless.
    pub instruction_limit: u64,
}

impl Default for LaunchOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            deferred_cp_async: false,
            check_poison: true,
            instruction_limit: 1 << 28,
        }
    }
}

impl Device {
    /// Runs a kernel over `grid` blocks of `block` threads with `shared_bytes` of dynamic shared
    /// memory.
    ///
    /// # Errors
    ///
    /// The variants of [`Error`]: an unfit launch is refused before anything runs; a fault stops
    /// the launch where it happens and leaves the memory as it is then.
    pub fn launch(
        &mut self,
        module: &Module,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        params: &[ParamValue],
        options: &LaunchOptions,
    ) -> Result<Stats, Error> {
        let unknown = || Error::UnknownKernel(kernel.to_owned());
        let kernel = module.kernel(kernel).ok_or_else(unknown)?;
        let params = bind(kernel, params)?;
        let shared_total = kernel.shared_static + shared_bytes as usize;
        check_extents(kernel, grid, block, shared_total)?;
        let shape = Shape {
            grid,
            block,
            shared_dynamic: shared_bytes,
            shared_total: shared_total as u32,
        };
        let threads = shape.threads();
        let warps = threads.div_ceil(32);
        let mut launch = Launch {
            module,
            kernel,
            device: self,
            options: *options,
            shape,
            block_id: [0; 3],
            params,
            shared: Shared::new(shared_total, warps as usize, kernel.shared_granule),
            local: Bytes::poisoned(kernel.local_bytes * threads as usize),
            warps: (0..warps).map(|index| Warp::new(kernel, index)).collect(),
            random: Random::new(options.seed),
            stats: Stats::default(),
            executed: 0,
            hint: 0,
        };
        launch.run()?;
        Ok(launch.stats)
    }
}

/// Lays the parameters out in parameter space.
fn bind(kernel: &Kernel, values: &[ParamValue]) -> Result<Bytes, Error> {
    if values.len() != kernel.params.len() {
        return Err(Error::ParamCount {
            kernel: kernel.name.clone(),
            expected: kernel.params.len(),
            found: values.len(),
        });
    }
    let mut bytes = Bytes::poisoned(kernel.param_bytes);
    for (param, value) in kernel.params.iter().zip(values) {
        let data = value.bytes();
        if data.len() != param.size {
            return Err(Error::ParamSize {
                kernel: kernel.name.clone(),
                param: param.name.clone(),
                expected: param.size,
                found: data.len(),
            });
        }
        bytes.write_slice(param.offset, &data);
    }
    Ok(bytes)
}

fn check_extents(
    kernel: &Kernel,
    grid: [u32; 3],
    block: [u32; 3],
    shared: usize,
) -> Result<(), Error> {
    let refuse = |message: String| {
        Err(Error::Config {
            kernel: kernel.name.clone(),
            message,
        })
    };
    let threads = block.iter().map(|n| u64::from(*n)).product::<u64>();
    if threads == 0 || threads > u64::from(THREADS_MAX) || block[2] > DEPTH_MAX {
        return refuse(format!(
            "block {block:?} is outside 1..={THREADS_MAX} threads"
        ));
    }
    if grid.contains(&0) || grid[0] > i32::MAX as u32 || grid[1..].iter().any(|n| *n > GRID_MAX) {
        return refuse(format!("grid {grid:?} is outside the limits of a launch"));
    }
    if let Some(required) = kernel.block_required.filter(|required| *required != block) {
        return refuse(format!(
            "block {block:?} differs from the required {required:?}"
        ));
    }
    if let Some(max) = kernel.block_max.filter(|max| threads > u64::from(*max)) {
        return refuse(format!("block {block:?} exceeds the entry's {max} threads"));
    }
    if shared > SHARED_MAX {
        return refuse(format!(
            "{shared} bytes of shared memory exceed {SHARED_MAX}"
        ));
    }
    Ok(())
}
