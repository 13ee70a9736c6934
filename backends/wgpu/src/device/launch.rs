//! Launches: everything is checked and evaluated on the host, then run and waited for.

use std::ops::Range;

use alula_program::{Arena, Arg, DeviceError, Launch, ParamAccess, Sizes, check_launch};

use super::arena::{read, upload};
use super::{WgpuArena, WgpuModule, checked, wait};
use crate::WgpuKernel;
use crate::code::ROW_GROUPS;

/// A parameter's memory: a buffer and the bytes of it that are meant.
struct Bound {
    buffer: wgpu::Buffer,
    range: Range<usize>,
}

pub(super) fn launch(
    module: &WgpuModule,
    arena: &mut dyn Arena,
    launch: Launch<'_, '_>,
) -> Result<(), DeviceError> {
    let Some(kernel) = module.kernels.get(launch.kernel) else {
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
        .downcast_mut::<WgpuArena>()
        .ok_or_else(|| failed("the arena is another device's".to_owned()))?;
    let sizes = Sizes::new(entry, launch.symbols);
    let constant = |index: usize| Some(module.constants.get(index)?.1);
    let needed = check_launch(&sizes, launch.args, arena.len(), &constant)?;
    let points = sizes.eval(&kernel.points)?.max(0);
    let mut bound = Vec::with_capacity(needed.len());
    for ((arg, param), needed) in launch.args.iter().zip(&entry.params).zip(needed) {
        bound.push(match needed == 0 && param.access == ParamAccess::Read {
            true => Bound {
                buffer: module.nothing.clone(),
                range: 0..0,
            },
            false => bind(module, arena, arg, needed)?,
        });
    }
    if points > 0 {
        run(module, launch.kernel, kernel, &bound, &sizes, points).map_err(failed)?;
    }
    for (arg, bound) in launch.args.iter_mut().zip(&bound) {
        if let Arg::HostMut(bytes) = arg {
            read(&module.owner, &bound.buffer, 0, bytes).map_err(failed)?;
        }
    }
    Ok(())
}

/// The memory of a parameter. Host memory is copied to a buffer of its own.
fn bind(
    module: &WgpuModule,
    arena: &WgpuArena,
    arg: &Arg<'_>,
    needed: usize,
) -> Result<Bound, DeviceError> {
    let (buffer, start) = match arg {
        Arg::Arena(range) => (arena.buffer.clone(), range.start),
        Arg::Constant(index) => (module.constants[*index].0.clone(), 0),
        Arg::Host(bytes) => (upload(&module.owner, "host", bytes)?, 0),
        Arg::HostMut(bytes) => (upload(&module.owner, "host", bytes)?, 0),
        Arg::Again(_) => unreachable!("check_launch refuses it"),
    };
    Ok(Bound {
        buffer,
        range: start..start + needed,
    })
}

fn run(
    module: &WgpuModule,
    index: usize,
    kernel: &WgpuKernel,
    bound: &[Bound],
    sizes: &Sizes<'_>,
    points: i64,
) -> Result<(), String> {
    let (device, queue) = (&module.owner.device, &module.owner.queue);
    let limits = device.limits();
    let align = (limits.min_storage_buffer_offset_alignment as usize).max(16);
    let word = |value: i64, what: &dyn std::fmt::Display| {
        i32::try_from(value).map_err(|_| format!("{what} is {value}, beyond 32-bit indices"))
    };
    let mut words: Vec<i32> = vec![0, word(points, &"the grid")?];
    let mut entries = Vec::with_capacity(bound.len() + 1);
    for (position, (bound, &bytes)) in bound.iter().zip(&kernel.element_bytes).enumerate() {
        let start = bound.range.start - bound.range.start % align;
        let first = bound.range.start - start;
        if !first.is_multiple_of(bytes as usize) {
            return Err(format!(
                "parameter {position} is not aligned to its elements"
            ));
        }
        words.push((first / bytes as usize) as i32);
        let size = (bound.range.end - start).next_multiple_of(16).max(16) as u64;
        let size = size.min(bound.buffer.size() - start as u64);
        if size > limits.max_storage_buffer_binding_size {
            return Err(format!(
                "parameter {position} has {size} bytes, more than can be bound"
            ));
        }
        word(size as i64, &"the size of a parameter")?;
        entries.push((start as u64, size));
    }
    for dim in &kernel.dims {
        let value = sizes.eval(dim).map_err(|error| error.to_string())?;
        words.push(word(value, dim)?);
    }
    words.resize(kernel.sizes(), 0);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let groups = (points as u64).div_ceil(u64::from(kernel.points_per_group));
    let rows = groups.div_ceil(u64::from(ROW_GROUPS)) as u32;
    let columns = groups.min(u64::from(ROW_GROUPS)) as u32;
    let pipeline = module.pipeline(index)?;
    checked(device, || {
        let uniform = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("sizes"),
            size: bytes.len() as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        queue.write_buffer(&uniform, 0, &bytes);
        let storage =
            bound
                .iter()
                .zip(&entries)
                .enumerate()
                .map(|(k, (bound, &(offset, size)))| {
                    let size = std::num::NonZeroU64::new(size);
                    let binding = wgpu::BufferBinding {
                        buffer: &bound.buffer,
                        offset,
                        size,
                    };
                    let resource = wgpu::BindingResource::Buffer(binding);
                    wgpu::BindGroupEntry {
                        binding: k as u32,
                        resource,
                    }
                });
        let mut listed: Vec<wgpu::BindGroupEntry<'_>> = storage.collect();
        let binding = bound.len() as u32;
        listed.push(wgpu::BindGroupEntry {
            binding,
            resource: uniform.as_entire_binding(),
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&kernel.entry),
            layout: &pipeline.layout,
            entries: &listed,
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline.compute);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(columns, rows, 1);
        drop(pass);
        queue.submit([encoder.finish()]);
    })?;
    wait(device)
}
