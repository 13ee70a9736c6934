//! Shaders to results: an adapter, its memory, and launches.

mod arena;
mod launch;
mod module;
mod open;

pub use arena::WgpuArena;
pub use module::WgpuModule;
pub use open::WgpuDevice;

use alula_program::DeviceError;

/// Runs `make` and returns what the adapter's validation says against it.
fn checked<T>(device: &wgpu::Device, make: impl FnOnce() -> T) -> Result<T, String> {
    let invalid = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let made = make();
    for scope in [internal, memory, invalid] {
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(error.to_string());
        }
    }
    Ok(made)
}

/// Waits until everything that was submitted is done.
fn wait(device: &wgpu::Device) -> Result<(), String> {
    match device.poll(wgpu::PollType::wait_indefinitely()) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// A buffer of at least `bytes` zeroed bytes that shaders and copies can use.
fn storage(device: &wgpu::Device, label: &str, bytes: usize) -> Result<wgpu::Buffer, DeviceError> {
    let size = padded(bytes);
    let out_of_memory = || DeviceError::OutOfMemory(bytes as u64);
    if size > device.limits().max_buffer_size {
        return Err(out_of_memory());
    }
    checked(device, || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    })
    .map_err(|_| out_of_memory())
}

/// Sizes of buffers: whole words of every element type, and never nothing.
fn padded(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(16).max(16)
}
