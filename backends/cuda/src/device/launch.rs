//! Launches: everything is checked and evaluated on the host, then run and waited for.

use std::ops::Range;

use alula_program::{Arena, Arg, DeviceError, KernelEntry, Launch, ParamAccess};
use alula_tensor::{Dim, Symbol};

use super::arena::{Memory, copying};
use super::module::ELEMENT_BYTES_MAX;
use super::{CudaArena, CudaModule};

/// A parameter's memory: its address, and the allocation of host memory's copy.
struct Bound {
    address: u64,
    copy: Option<Memory>,
}

pub(super) fn launch(
    module: &CudaModule,
    arena: &mut dyn Arena,
    launch: Launch<'_, '_>,
) -> Result<(), DeviceError> {
    let Some((kernel, function)) = module.kernels.get(launch.kernel) else {
        let reason = format!("{} does not exist", launch.kernel);
        return Err(DeviceError::Launch {
            kernel: "kernel".to_owned(),
            reason,
        });
    };
    let entry = &module.program.kernels[launch.kernel];
    let failed = |reason: String| DeviceError::Launch {
        kernel: entry.name.clone(),
        reason,
    };
    let arena = arena
        .as_any()
        .downcast_mut::<CudaArena>()
        .ok_or_else(|| failed("the arena is another device's".to_owned()))?;
    if launch.symbols.len() != entry.symbols.len() || launch.args.len() != entry.params.len() {
        return Err(failed(
            "the number of arguments or symbols is wrong".to_owned(),
        ));
    }
    let sizes = Sizes {
        entry,
        symbols: launch.symbols,
    };
    let points = sizes.eval(&kernel.points)?.max(0);
    let bound = bind(module, arena, entry, launch.args, &sizes)?;
    let mut params: Vec<u64> = bound.iter().map(|bound| bound.address).collect();
    params.push(points as u64);
    for dim in &kernel.dims {
        params.push(sizes.eval(dim)? as u64);
    }
    let blocks = (points as u64).div_ceil(u64::from(kernel.points_per_block));
    let blocks = u32::try_from(blocks)
        .ok()
        .filter(|&blocks| i32::try_from(blocks).is_ok())
        .ok_or_else(|| failed(format!("a grid of {points} points is too large")))?;
    if blocks > 0 {
        module
            .driver
            .launch(*function, blocks, kernel.threads, &params)
            .map_err(|error| failed(error.to_string()))?;
    }
    for (arg, bound) in launch.args.iter_mut().zip(&bound) {
        if let (Arg::HostMut(bytes), Some(copy)) = (arg, &bound.copy)
            && !bytes.is_empty()
        {
            module
                .driver
                .download(copy.address, bytes)
                .map_err(copying)?;
        }
    }
    Ok(())
}

/// Evaluates dims under a launch's symbols.
struct Sizes<'l> {
    entry: &'l KernelEntry,
    symbols: &'l [i64],
}

impl Sizes<'_> {
    fn eval(&self, dim: &Dim) -> Result<i64, DeviceError> {
        let bind = |symbol: &Symbol| {
            let position = self
                .entry
                .symbols
                .iter()
                .position(|known| known == symbol)?;
            self.symbols.get(position).copied()
        };
        dim.eval(&bind).map_err(|error| DeviceError::Launch {
            kernel: self.entry.name.clone(),
            reason: error.to_string(),
        })
    }
}

/// Finds and checks the memory of every parameter. Host memory is copied.
fn bind(
    module: &CudaModule,
    arena: &CudaArena,
    entry: &KernelEntry,
    args: &[Arg<'_>],
    sizes: &Sizes<'_>,
) -> Result<Vec<Bound>, DeviceError> {
    let mut bound = Vec::with_capacity(args.len());
    let mut ranges: Vec<Range<usize>> = Vec::with_capacity(args.len());
    let (mut empty, mut most) = (Vec::new(), 0_usize);
    for (position, (arg, param)) in args.iter().zip(&entry.params).enumerate() {
        let bad = |reason: String| DeviceError::BadArg {
            kernel: entry.name.clone(),
            param: position,
            reason,
        };
        let writes = param.access == ParamAccess::Write;
        let wanted = usize::try_from(sizes.eval(&param.bytes)?.max(0)).unwrap_or(usize::MAX);
        let copied = |bytes: &[u8]| -> Result<(usize, Bound), DeviceError> {
            let copy = Memory::holding(&module.driver, bytes)?;
            Ok((
                bytes.len(),
                Bound {
                    address: copy.address,
                    copy: Some(copy),
                },
            ))
        };
        let mut range = 0..0;
        let (given, mut found) = match arg {
            Arg::Arena(given) => {
                if given.start > given.end || given.end > arena.len() {
                    return Err(bad(format!("{given:?} lies outside of the arena")));
                }
                range = given.start..given.start.saturating_add(wanted).min(given.end);
                let address = arena.memory.address + given.start as u64;
                (
                    given.len(),
                    Bound {
                        address,
                        copy: None,
                    },
                )
            }
            Arg::Constant(_) | Arg::Host(_) if writes => {
                return Err(bad("it is written, but was given for reading".to_owned()));
            }
            Arg::Constant(index) => {
                let memory = module
                    .constants
                    .get(*index)
                    .ok_or_else(|| bad(format!("constant {index} does not exist")))?;
                (
                    memory.len,
                    Bound {
                        address: memory.address,
                        copy: None,
                    },
                )
            }
            Arg::Host(bytes) => copied(bytes)?,
            Arg::HostMut(bytes) => copied(bytes)?,
        };
        if given < wanted {
            return Err(bad(format!("it has {given} bytes, {wanted} are needed")));
        }
        if wanted == 0 && !writes {
            found.address = module.nothing.address;
            empty.push(position);
        }
        most = most.max(wanted);
        ranges.push(range);
        bound.push(found);
    }
    // A kernel may load from an operand without elements, at an index that is in range of the
    // result, and discard the value: there is as much memory as elements of the widest type take.
    let reach = most.saturating_mul(ELEMENT_BYTES_MAX);
    for position in empty.into_iter().filter(|_| most > 1) {
        let zeros = Memory::new(&module.driver, reach)?;
        bound[position] = Bound {
            address: zeros.address,
            copy: Some(zeros),
        };
    }
    overlaps(entry, &ranges)?;
    Ok(bound)
}

/// Memory that is written must be no other parameter's, unless it is exactly the same range.
fn overlaps(entry: &KernelEntry, ranges: &[Range<usize>]) -> Result<(), DeviceError> {
    for (position, range) in ranges.iter().enumerate() {
        if entry.params[position].access != ParamAccess::Write || range.is_empty() {
            continue;
        }
        for (other, against) in ranges.iter().enumerate() {
            let apart = against.end <= range.start || range.end <= against.start;
            if other != position && !against.is_empty() && !apart && against != range {
                return Err(DeviceError::BadArg {
                    kernel: entry.name.clone(),
                    param: position,
                    reason: format!("it is written and overlaps parameter {other}"),
                });
            }
        }
    }
    Ok(())
}
