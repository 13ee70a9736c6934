//! Arguments of a launch as addresses.

use std::sync::OnceLock;

use alula_program::{Arg, DeviceError};
use alula_tensor::Storage;
use smallvec::SmallVec;

use super::Buffer;
use super::arena::CpuArena;
use super::program::out_of_memory;

/// Memory of a parameter.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    pub(super) pointer: *mut u8,
    pub(super) len: usize,
    is_writable: bool,
    /// Position of the constant that it is.
    pub(super) constant: Option<usize>,
}

/// Arguments of a launch; those of most kernels fit without an allocation.
pub(super) type Memories = SmallVec<[Memory; 12]>;

/// Addresses of the arguments, checked: long enough, and what is written overlaps nothing but what
/// is exactly the same memory. They go to a list that is empty and where it stays: it is long, and
/// a small kernel takes less time than copies of it.
pub(super) fn find_memories(
    kernel: &str,
    params: &[(u64, bool)],
    data: &[Storage],
    arena: &mut CpuArena,
    args: &mut [Arg<'_>],
    memories: &mut Memories,
) -> Result<(), DeviceError> {
    let bad = |param: usize, reason: String| DeviceError::BadArg {
        kernel: kernel.to_owned(),
        param,
        reason,
    };
    if args.len() != params.len() {
        let reason = format!("{} arguments for {}", args.len(), params.len());
        return Err(bad(args.len().min(params.len()), reason));
    }
    let arena = arena.0.to_mut();
    let (base, arena_len) = (arena.as_mut_ptr(), arena.len());
    for param in 0..args.len() {
        let (bytes, is_written) = params[param];
        let of = match args[param] {
            Arg::Again(position) => position,
            _ => param,
        };
        let lent = match args.get_mut(of) {
            Some(Arg::HostMut(bytes)) => Some((bytes.as_mut_ptr(), bytes.len())),
            _ => None,
        };
        let memory = match &args[param] {
            Arg::Arena(range) => {
                if range.start > range.end || range.end > arena_len {
                    return Err(bad(param, format!("bytes {range:?} of {arena_len}")));
                }
                // SAFETY: the range lies within the arena.
                let pointer = unsafe { base.add(range.start) };
                Memory {
                    pointer,
                    len: range.len(),
                    is_writable: true,
                    constant: None,
                }
            }
            Arg::Constant(position) => {
                let data = data.get(*position).map(Storage::bytes);
                let data = data.ok_or_else(|| bad(param, "no such constant".to_owned()))?;
                read_only(data, Some(*position))
            }
            Arg::Host(bytes) => read_only(bytes, None),
            Arg::HostMut(_) | Arg::Again(_) => {
                let (pointer, len) = lent.ok_or_else(|| {
                    bad(
                        param,
                        format!("parameter {of} is no host memory that is written"),
                    )
                })?;
                Memory {
                    pointer,
                    len,
                    is_writable: true,
                    constant: None,
                }
            }
        };
        if (memory.len as u64) < bytes {
            return Err(bad(
                param,
                format!("{} bytes, {bytes} are needed", memory.len),
            ));
        }
        let memory = match memory {
            // A kernel may load from an operand without elements, at an index that is in range of
            // the result: it reads zeros.
            _ if bytes == 0 && !is_written => {
                let most = params.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0);
                let reach = most.saturating_mul(ELEMENT_BYTES_MAX);
                let zeros = zeros(reach)?.ok_or_else(|| {
                    bad(
                        param,
                        format!("no elements, beside a parameter of {reach} bytes"),
                    )
                })?;
                read_only(zeros, None)
            }
            memory => memory,
        };
        if is_written && !memory.is_writable {
            return Err(bad(param, "memory that is only read".to_owned()));
        }
        memories.push(memory);
    }
    for (param, &(_, is_written)) in params.iter().enumerate() {
        let overlaps = |other: usize| {
            let span = |memory: &Memory| {
                let start = memory.pointer as usize;
                start..start.saturating_add(memory.len)
            };
            let (a, b) = (span(&memories[param]), span(&memories[other]));
            a != b && a.start < b.end && b.start < a.end
        };
        let mut others = (0..memories.len()).filter(|&other| other != param);
        if is_written && others.any(overlaps) {
            return Err(bad(param, "overlaps another parameter".to_owned()));
        }
    }
    Ok(())
}

impl Memory {
    /// No memory; aligned for anything.
    pub(super) const EMPTY: Memory = Memory {
        pointer: std::ptr::without_provenance_mut(64),
        len: 0,
        is_writable: true,
        constant: None,
    };

    /// As a buffer that is read.
    pub(super) fn buffer(self) -> Buffer {
        Buffer::raw_read(self.pointer, self.len)
    }

    /// As bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: memory of a launch's argument, `len` bytes long while the launch lasts; callers
        // ask for operands, which nobody writes meanwhile.
        unsafe { std::slice::from_raw_parts(self.pointer, self.len) }
    }

    /// As elements of so many bytes, if it is aligned for them.
    pub(super) fn elements(self, bytes: usize) -> Option<(*const u8, usize)> {
        let is_aligned = (self.pointer as usize).is_multiple_of(bytes);
        is_aligned.then_some((self.pointer.cast_const(), self.len / bytes))
    }
}

/// Zeros that are mapped when they are read.
fn zeros(bytes: u64) -> Result<Option<&'static [u8]>, DeviceError> {
    static ZEROS: OnceLock<Storage> = OnceLock::new();
    let zeros = match ZEROS.get() {
        Some(zeros) => zeros,
        None => {
            let zeros = Storage::try_zeroed(ZEROS_MAX).map_err(out_of_memory)?;
            ZEROS.get_or_init(|| zeros)
        }
    };
    let bytes = usize::try_from(bytes.max(64)).ok();
    Ok(bytes.and_then(|bytes| zeros.bytes().get(..bytes)))
}

/// Bytes of the widest element: an operand's may be wider than the result's.
const ELEMENT_BYTES_MAX: u64 = 8;

/// Longest result, in bytes of such elements, that an operand without elements may stand beside.
const ZEROS_MAX: usize = 256 << 20;

fn read_only(bytes: &[u8], constant: Option<usize>) -> Memory {
    let pointer = bytes.as_ptr().cast_mut();
    Memory {
        pointer,
        len: bytes.len(),
        is_writable: false,
        constant,
    }
}
