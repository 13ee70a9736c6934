//! Choosing and opening an adapter.

use std::sync::Arc;

use alula_program::{Device, DeviceError, Module, Program};

use super::WgpuModule;

/// The variable that names the adapter to use: any part of its name, in any case.
const ADAPTER_VARIABLE: &str = "ALULA_WGPU_ADAPTER";

/// An open adapter.
#[derive(Clone, Debug)]
pub struct WgpuDevice {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    has_int64: bool,
}

impl WgpuDevice {
    /// Opens the adapter whose name contains `name`; without a name, the one that
    /// `ALULA_WGPU_ADAPTER` names; without that, the best: discrete, then integrated, then
    /// software.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] if there is no such adapter, or it cannot be opened.
    pub fn open(name: Option<&str>) -> Result<WgpuDevice, DeviceError> {
        let wanted = match name {
            Some(name) => Some(name.to_owned()),
            None => std::env::var(ADAPTER_VARIABLE)
                .ok()
                .filter(|name| !name.is_empty()),
        };
        let mut adapters = adapters();
        let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
        if let Some(wanted) = &wanted {
            let wanted = wanted.to_lowercase();
            adapters.retain(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted));
        }
        adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
        let adapter = adapters.into_iter().next().ok_or_else(|| {
            unavailable(match (&wanted, names.as_slice()) {
                (Some(wanted), [_, ..]) => {
                    format!("no adapter named {wanted}; there are: {}", names.join(", "))
                }
                _ => "no adapter with a vulkan driver".to_owned(),
            })
        })?;
        let has_int64 = adapter.features().contains(wgpu::Features::SHADER_INT64);
        let mut features = wgpu::Features::empty();
        features.set(wgpu::Features::SHADER_INT64, has_int64);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("alula"),
            required_features: features,
            required_limits: adapter.limits(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| unavailable(error.to_string()))?;
        Ok(WgpuDevice {
            device,
            queue,
            info: adapter.get_info(),
            has_int64,
        })
    }

    /// Names of the adapters that can be opened, best first.
    pub fn list() -> Vec<String> {
        let mut adapters = adapters();
        adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
        adapters
            .iter()
            .map(|adapter| adapter.get_info().name)
            .collect()
    }
}

impl Device for WgpuDevice {
    fn target(&self) -> &str {
        "wgpu"
    }

    fn abi(&self) -> String {
        crate::abi()
    }

    fn describe(&self) -> String {
        let wgpu::AdapterInfo {
            name,
            backend,
            driver_info,
            ..
        } = &self.info;
        let int64 = if self.has_int64 {
            ", 64-bit integers"
        } else {
            ""
        };
        format!("{name} ({backend}, {driver_info}{int64})")
    }

    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Module>, DeviceError> {
        for feature in &program.features {
            let buffers = feature.strip_prefix("buffers").and_then(|n| n.parse().ok());
            let bound = self.device.limits().max_storage_buffers_per_shader_stage;
            let has = match (feature.as_str(), buffers) {
                ("int64", _) => self.has_int64,
                (_, Some(needed)) => bound >= needed,
                _ => false,
            };
            if !has {
                return Err(DeviceError::Unavailable {
                    device: self.info.name.clone(),
                    reason: format!("the program needs {feature}"),
                });
            }
        }
        Ok(Box::new(WgpuModule::load(self.clone(), program)?))
    }
}

fn adapters() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY))
}

fn rank(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Cpu => 3,
        wgpu::DeviceType::Other => 4,
    }
}

fn unavailable(reason: String) -> DeviceError {
    DeviceError::Unavailable {
        device: "wgpu".to_owned(),
        reason,
    }
}
