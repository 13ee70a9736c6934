//! A loaded program: pipelines and constants.

use std::sync::{Arc, OnceLock};

use alula_program::{Arena, DeviceError, Launch, Module, Program};

use super::arena::upload;
use super::{WgpuArena, WgpuDevice, checked, storage};
use crate::WgpuKernel;

/// A kernel ready to be dispatched.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) compute: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// A loaded program. Pipelines are made at their kernels' first launch.
#[derive(Debug)]
pub struct WgpuModule {
    pub(super) owner: WgpuDevice,
    pub(super) program: Arc<Program>,
    pub(super) kernels: Vec<WgpuKernel>,
    pipelines: Vec<OnceLock<Result<Pipeline, String>>>,
    /// Each constant's buffer and length in bytes.
    pub(super) constants: Vec<(wgpu::Buffer, usize)>,
    /// What a parameter without elements is bound to: loads from it give 0.
    pub(super) nothing: wgpu::Buffer,
}

impl WgpuModule {
    pub(super) fn load(
        owner: WgpuDevice,
        program: Arc<Program>,
    ) -> Result<WgpuModule, DeviceError> {
        let mut kernels = Vec::with_capacity(program.kernels.len());
        for entry in &program.kernels {
            let bad = |what: &str| DeviceError::BadCode(format!("kernel {}: {what}", entry.name));
            let kernel: WgpuKernel = postcard::from_bytes(&entry.code)
                .map_err(|error| bad(&format!("its description: {error}")))?;
            if text(&program, &kernel).is_none() {
                return Err(bad("its text lies outside of the code"));
            }
            let sizes_right = kernel
                .element_bytes
                .iter()
                .all(|bytes| [1, 2, 4, 8].contains(bytes));
            if kernel.element_bytes.len() != entry.params.len()
                || !sizes_right
                || kernel.points_per_group == 0
            {
                return Err(bad("its description does not fit its parameters"));
            }
            kernels.push(kernel);
        }
        let constants = program
            .data
            .iter()
            .enumerate()
            .map(|(position, data)| {
                let bytes = data.bytes();
                Ok((
                    upload(&owner, &format!("constant {position}"), bytes)?,
                    bytes.len(),
                ))
            })
            .collect::<Result<_, DeviceError>>()?;
        let pipelines = kernels.iter().map(|_| OnceLock::new()).collect();
        let nothing = storage(&owner.device, "nothing", 0)?;
        Ok(WgpuModule {
            owner,
            program,
            kernels,
            pipelines,
            constants,
            nothing,
        })
    }

    /// The pipeline of a kernel, made on first use.
    pub(super) fn pipeline(&self, index: usize) -> Result<&Pipeline, String> {
        let made = self.pipelines[index].get_or_init(|| {
            let kernel = &self.kernels[index];
            let text = text(&self.program, kernel).ok_or("its text is gone")?;
            let device = &self.owner.device;
            checked(device, || {
                let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                    label: Some(&kernel.entry),
                    source: wgpu::ShaderSource::Wgsl(text.into()),
                });
                // Said outright: a layout read off the shader leaves out unused parameters.
                let layout = bindings(device, kernel.element_bytes.len() as u32);
                let whole = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                    label: Some(&kernel.entry),
                    bind_group_layouts: &[Some(&layout)],
                    ..wgpu::PipelineLayoutDescriptor::default()
                });
                let compute = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(&kernel.entry),
                    layout: Some(&whole),
                    module: &module,
                    entry_point: Some(&kernel.entry),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    cache: None,
                });
                Pipeline { compute, layout }
            })
        });
        made.as_ref().map_err(Clone::clone)
    }
}

/// Storage for each parameter, then the uniform array.
fn bindings(device: &wgpu::Device, params: u32) -> wgpu::BindGroupLayout {
    let entry = |binding: u32| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: if binding < params {
                wgpu::BufferBindingType::Storage { read_only: false }
            } else {
                wgpu::BufferBindingType::Uniform
            },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<wgpu::BindGroupLayoutEntry> = (0..=params).map(entry).collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("parameters"),
        entries: &entries,
    })
}

fn text<'p>(program: &'p Program, kernel: &WgpuKernel) -> Option<&'p str> {
    let start = usize::try_from(kernel.offset).ok()?;
    let end = start.checked_add(usize::try_from(kernel.len).ok()?)?;
    std::str::from_utf8(program.code.get(start..end)?).ok()
}

impl Module for WgpuModule {
    fn arena(&self, bytes: usize) -> Result<Box<dyn Arena>, DeviceError> {
        Ok(Box::new(WgpuArena::new(self.owner.clone(), bytes)?))
    }

    fn launch(&self, arena: &mut dyn Arena, launch: Launch<'_, '_>) -> Result<(), DeviceError> {
        super::launch::launch(self, arena, launch)
    }

    fn parallelism(&self) -> usize {
        self.owner
            .device
            .limits()
            .max_compute_invocations_per_workgroup as usize
    }
}
