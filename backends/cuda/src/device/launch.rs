//! Launches: everything is checked and evaluated on the host, then run and waited for.

use alula_program::{Arena, Arg, DeviceError, Launch, ParamAccess, Sizes, check_launch};

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
    let sizes = Sizes::new(entry, launch.symbols);
    let constant = |index: usize| Some(module.constants.get(index)?.len);
    let needed = check_launch(&sizes, launch.args, arena.len(), &constant)?;
    let points = sizes.eval(&kernel.points)?.max(0);
    // A kernel may load from an operand without elements, at an index that is in range of the
    // result, and discard the value: there is as much memory as elements of the widest type take.
    let most = needed.iter().copied().max().unwrap_or(0);
    let reach = if most > 1 {
        most.saturating_mul(ELEMENT_BYTES_MAX)
    } else {
        0
    };
    let mut bound = Vec::with_capacity(needed.len());
    for ((arg, param), needed) in launch.args.iter().zip(&entry.params).zip(needed) {
        bound.push(match needed == 0 && param.access == ParamAccess::Read {
            true => hollow(module, reach)?,
            false => bind(module, arena, arg)?,
        });
    }
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

/// What a parameter without elements is lent: so many bytes of zeros, or one element.
fn hollow(module: &CudaModule, reach: usize) -> Result<Bound, DeviceError> {
    if reach == 0 {
        return Ok(Bound {
            address: module.nothing.address,
            copy: None,
        });
    }
    let zeros = Memory::new(&module.driver, reach)?;
    Ok(Bound {
        address: zeros.address,
        copy: Some(zeros),
    })
}

/// The memory of a parameter. Host memory is copied.
fn bind(module: &CudaModule, arena: &CudaArena, arg: &Arg<'_>) -> Result<Bound, DeviceError> {
    let copied = |bytes: &[u8]| -> Result<Bound, DeviceError> {
        let copy = Memory::holding(&module.driver, bytes)?;
        Ok(Bound {
            address: copy.address,
            copy: Some(copy),
        })
    };
    let lent = |address: u64| Bound {
        address,
        copy: None,
    };
    match arg {
        Arg::Arena(range) => Ok(lent(arena.memory.address + range.start as u64)),
        Arg::Constant(index) => Ok(lent(module.constants[*index].address)),
        Arg::Host(bytes) => copied(bytes),
        Arg::HostMut(bytes) => copied(bytes),
        Arg::Again(_) => unreachable!("check_launch refuses it"),
    }
}
