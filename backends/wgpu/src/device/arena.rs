//! Memory of an adapter, read and written by way of the queue.

use std::ops::Range;

use alula_program::{Arena, DeviceError};

use super::{WgpuDevice, checked, padded, storage, wait};

/// One storage buffer.
#[derive(Debug)]
pub struct WgpuArena {
    owner: WgpuDevice,
    pub(super) buffer: wgpu::Buffer,
    len: usize,
}

impl WgpuArena {
    pub(super) fn new(owner: WgpuDevice, len: usize) -> Result<WgpuArena, DeviceError> {
        let buffer = storage(&owner.device, "arena", len)?;
        Ok(WgpuArena { owner, buffer, len })
    }

    fn check(&self, range: &Range<usize>, bytes: usize) -> Result<(), DeviceError> {
        if range.start <= range.end && range.end <= self.len && range.len() == bytes {
            return Ok(());
        }
        Err(failed(format!(
            "bytes {range:?} of an arena of {} for {bytes}",
            self.len
        )))
    }
}

impl Arena for WgpuArena {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&mut self, range: Range<usize>, into: &mut [u8]) -> Result<(), DeviceError> {
        self.check(&range, into.len())?;
        read(&self.owner, &self.buffer, range.start, into).map_err(failed)
    }

    fn write(&mut self, offset: usize, from: &[u8]) -> Result<(), DeviceError> {
        let end = offset.saturating_add(from.len());
        self.check(&(offset..end), from.len())?;
        write(&self.owner, &self.buffer, offset, from).map_err(failed)
    }

    fn host(&mut self) -> Option<&mut [u8]> {
        None
    }

    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

fn failed(reason: String) -> DeviceError {
    DeviceError::Launch {
        kernel: "copy".to_owned(),
        reason,
    }
}

/// Copies bytes from a buffer: whole words, of which the middle is kept.
pub(super) fn read(
    owner: &WgpuDevice,
    buffer: &wgpu::Buffer,
    offset: usize,
    into: &mut [u8],
) -> Result<(), String> {
    if into.is_empty() {
        return Ok(());
    }
    let start = offset - offset % 4;
    let size = ((offset + into.len()).next_multiple_of(4) - start) as u64;
    let staging = checked(&owner.device, || {
        let staging = owner.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("staging"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = owner.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, start as u64, &staging, 0, size);
        owner.queue.submit([encoder.finish()]);
        staging
    })?;
    let (sender, receiver) = std::sync::mpsc::channel();
    staging.map_async(wgpu::MapMode::Read, .., move |result| {
        // Nobody waits any more if the device was lost; then the result does not matter.
        let _ = sender.send(result);
    });
    wait(&owner.device)?;
    let mapped = receiver.recv().map_err(|error| error.to_string())?;
    mapped.map_err(|error| error.to_string())?;
    let view = staging
        .get_mapped_range(..)
        .map_err(|error| error.to_string())?;
    into.copy_from_slice(&view[offset - start..][..into.len()]);
    Ok(())
}

/// Copies bytes to a buffer. Words that are written in part are read first.
pub(super) fn write(
    owner: &WgpuDevice,
    buffer: &wgpu::Buffer,
    offset: usize,
    from: &[u8],
) -> Result<(), String> {
    if from.is_empty() {
        return Ok(());
    }
    let start = offset - offset % 4;
    let end = (offset + from.len()).next_multiple_of(4);
    if start == offset && end == offset + from.len() {
        return checked(&owner.device, || {
            owner.queue.write_buffer(buffer, start as u64, from);
        });
    }
    let mut words = vec![0; end - start];
    read(owner, buffer, start, &mut words)?;
    words[offset - start..][..from.len()].copy_from_slice(from);
    checked(&owner.device, || {
        owner.queue.write_buffer(buffer, start as u64, &words);
    })
}

/// A buffer that holds these bytes.
pub(super) fn upload(
    owner: &WgpuDevice,
    label: &str,
    bytes: &[u8],
) -> Result<wgpu::Buffer, DeviceError> {
    let buffer = storage(&owner.device, label, bytes.len())?;
    let whole = bytes.len() - bytes.len() % 4;
    let upload = |at: usize, from: &[u8]| {
        checked(&owner.device, || {
            owner.queue.write_buffer(&buffer, at as u64, from);
        })
        .map_err(|_| DeviceError::OutOfMemory(padded(bytes.len())))
    };
    if whole > 0 {
        upload(0, &bytes[..whole])?;
    }
    if whole < bytes.len() {
        let mut last = [0; 4];
        last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
        upload(whole, &last)?;
    }
    Ok(buffer)
}
