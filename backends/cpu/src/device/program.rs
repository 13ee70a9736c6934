//! A loaded program: kernels by position, with what was evaluated for recent sizes.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use alula_microkernel::{KernelError, Pool};
use alula_program::{Arena, Arg, DeviceError, Launch, Module, ParamAccess, Program};
use alula_tensor::{Storage, Symbol};

use super::arena::CpuArena;
use super::cpu::TARGET;
use super::launch::Call;
use super::module::Entry;
use super::{Buffer, CpuModule, LaunchError, LoadError, TileKernel};
use crate::entry::CpuEntry;
use crate::{
    BoundContract, ContractOperands, CpuCode, CpuContract, CpuFeatures, CpuKernel, Epilogue,
};

/// Sizes that are kept for each kernel.
const BOUND_MAX: usize = 16;
/// Grid points that a part of a launch has at least: each is some microseconds of work.
const PART_POINTS: i64 = 4;

/// Parameters of most kernels fit here without an allocation.
const INLINE_PARAMS: usize = 16;

/// A kernel that can be launched.
struct Kernel {
    name: String,
    symbols: Vec<Symbol>,
    work: Work,
    bound: Mutex<Vec<(Vec<i64>, Arc<Bound>)>>,
    /// The packed right side, once a constant one was seen.
    packed: OnceLock<(usize, Storage)>,
}

enum Work {
    Loops {
        index: usize,
    },
    Contract {
        contract: Box<CpuContract>,
        tile: Option<usize>,
        is_packed: bool,
    },
}

/// What was evaluated for one binding of symbols.
struct Bound {
    /// Bytes of each parameter at least, and whether it is written.
    params: Vec<(u64, bool)>,
    work: BoundWork,
}

enum BoundWork {
    /// A function and its number of grid points.
    Loops {
        entry: Entry,
        points: i64,
    },
    Contract(Box<BoundContract>),
}

/// Memory of a parameter.
#[derive(Clone, Copy)]
struct Memory {
    pointer: *mut u8,
    len: usize,
    is_writable: bool,
    constant: Option<usize>,
}

/// A program in executable memory.
pub(super) struct CpuProgram {
    program: Arc<Program>,
    module: CpuModule,
    kernels: Vec<Kernel>,
    pool: Arc<Pool>,
    /// Scratch that is free.
    scratch: Mutex<Vec<Vec<u8>>>,
}

impl CpuProgram {
    pub(super) fn load(program: Arc<Program>, pool: Arc<Pool>) -> Result<CpuProgram, DeviceError> {
        let unavailable = |reason: String| DeviceError::Unavailable {
            device: TARGET.to_owned(),
            reason,
        };
        let [arch, extensions @ ..] = program.features.as_slice() else {
            return Err(DeviceError::BadCode("no architecture is named".to_owned()));
        };
        let mut functions = Vec::new();
        let mut kernels = Vec::new();
        for entry in &program.kernels {
            let code: CpuEntry = postcard::from_bytes(&entry.code)
                .map_err(|error| DeviceError::BadCode(format!("{}: {error}", entry.name)))?;
            let mut add = |kernel: CpuKernel| {
                functions.push(kernel);
                functions.len() - 1
            };
            let work = match code {
                CpuEntry::Loops(kernel) => {
                    if kernel.symbols != entry.symbols {
                        let reason = format!("{}: symbols disagree with its code", entry.name);
                        return Err(DeviceError::BadCode(reason));
                    }
                    Work::Loops {
                        index: add(*kernel),
                    }
                }
                CpuEntry::Contract {
                    contract,
                    tile,
                    is_packed,
                } => {
                    contract
                        .isa
                        .require()
                        .map_err(|error| unavailable(error.to_string()))?;
                    Work::Contract {
                        contract,
                        tile: tile.map(|tile| add(*tile)),
                        is_packed,
                    }
                }
            };
            kernels.push(Kernel {
                name: entry.name.clone(),
                symbols: entry.symbols.clone(),
                work,
                bound: Mutex::default(),
                packed: OnceLock::new(),
            });
        }
        let features = CpuFeatures {
            arch: arch.clone(),
            extensions: extensions.to_vec(),
        };
        let code = CpuCode {
            features,
            bytes: program.code.clone(),
            kernels: functions,
        };
        // SAFETY: a program is as trusted as an executable, as `CpuDevice::load` says.
        let module = unsafe { CpuModule::load(&code) }.map_err(|error| match error {
            LoadError::Bounds { .. } => DeviceError::BadCode(error.to_string()),
            LoadError::Features { .. } | LoadError::Memory { .. } => unavailable(error.to_string()),
        })?;
        Ok(CpuProgram {
            program,
            module,
            kernels,
            pool,
            scratch: Mutex::default(),
        })
    }

    /// What the kernel needs for these symbols; evaluated once.
    fn bound(&self, position: usize, values: &[i64]) -> Result<Arc<Bound>, DeviceError> {
        let kernel = &self.kernels[position];
        let lock = || kernel.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bound)) = lock().iter().find(|(known, _)| known == values) {
            return Ok(Arc::clone(bound));
        }
        let fail = |reason: String| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason,
        };
        let bind = |symbol: &Symbol| bind(&kernel.symbols, values, symbol);
        let mut params = Vec::new();
        for param in &self.program.kernels[position].params {
            let bytes = param
                .bytes
                .eval(&bind)
                .map_err(|error| fail(error.to_string()))?;
            let bytes = u64::try_from(bytes.max(0)).unwrap_or(0);
            params.push((bytes, param.access == ParamAccess::Write));
        }
        let work = match &kernel.work {
            Work::Loops { index } => {
                let launch = super::Launch::new(&self.module, *index, &bind);
                let launch = launch.map_err(|error| failed(kernel, &error))?;
                if !launch.is_checked_by(&params) {
                    let reason = format!("{}: parameters disagree with its code", kernel.name);
                    return Err(DeviceError::BadCode(reason));
                }
                BoundWork::Loops {
                    entry: launch.entry(),
                    points: launch.points(),
                }
            }
            Work::Contract { contract, .. } => {
                if params.len() != contract.params.len() {
                    let reason = format!("{}: {} parameters", kernel.name, params.len());
                    return Err(DeviceError::BadCode(reason));
                }
                let bound = contract.bind(&bind, self.pool.threads());
                BoundWork::Contract(Box::new(bound.map_err(|error| fail(error.to_string()))?))
            }
        };
        let bound = Arc::new(Bound { params, work });
        let mut known = lock();
        if known.len() >= BOUND_MAX {
            known.remove(0);
        }
        known.push((values.to_vec(), Arc::clone(&bound)));
        Ok(bound)
    }

    /// Addresses of the arguments, checked: long enough, and what is written overlaps nothing.
    fn memories(
        &self,
        kernel: &Kernel,
        bound: &Bound,
        arena: &mut CpuArena,
        args: &mut [Arg<'_>],
    ) -> Result<Vec<Memory>, DeviceError> {
        let bad = |param: usize, reason: String| DeviceError::BadArg {
            kernel: kernel.name.clone(),
            param,
            reason,
        };
        if args.len() != bound.params.len() {
            let reason = format!("{} arguments for {}", args.len(), bound.params.len());
            return Err(bad(args.len().min(bound.params.len()), reason));
        }
        let arena = arena.0.to_mut();
        let (base, arena_len) = (arena.as_mut_ptr(), arena.len());
        let mut memories = Vec::with_capacity(args.len());
        for (param, (arg, &(bytes, is_written))) in args.iter_mut().zip(&bound.params).enumerate() {
            let memory = match arg {
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
                    let data = self.program.data.get(*position).map(Storage::bytes);
                    let data = data.ok_or_else(|| bad(param, "no such constant".to_owned()))?;
                    read_only(data, Some(*position))
                }
                Arg::Host(bytes) => read_only(bytes, None),
                Arg::HostMut(bytes) => Memory {
                    pointer: bytes.as_mut_ptr(),
                    len: bytes.len(),
                    is_writable: true,
                    constant: None,
                },
            };
            if (memory.len as u64) < bytes {
                return Err(bad(
                    param,
                    format!("{} bytes, {bytes} are needed", memory.len),
                ));
            }
            if is_written && !memory.is_writable {
                return Err(bad(param, "memory that is only read".to_owned()));
            }
            memories.push(memory);
        }
        for (param, &(_, is_written)) in bound.params.iter().enumerate() {
            let overlaps = |other: usize| {
                let span = |memory: &Memory| {
                    let start = memory.pointer as usize;
                    start..start.saturating_add(memory.len)
                };
                let (a, b) = (span(&memories[param]), span(&memories[other]));
                a.start < b.end && b.start < a.end
            };
            let mut others = (0..memories.len()).filter(|&other| other != param);
            if is_written && others.any(overlaps) {
                return Err(bad(param, "overlaps another parameter".to_owned()));
            }
        }
        Ok(memories)
    }

    fn run_loops(
        &self,
        kernel: &Kernel,
        (entry, points): (Entry, i64),
        values: &[i64],
        memories: &[Memory],
    ) -> Result<(), DeviceError> {
        let mut inline = [std::ptr::null_mut(); INLINE_PARAMS];
        let heap: Vec<*mut u8>;
        let pointers: &[*mut u8] = if memories.len() <= INLINE_PARAMS {
            for (slot, memory) in inline.iter_mut().zip(memories) {
                *slot = memory.pointer;
            }
            &inline
        } else {
            heap = memories.iter().map(|memory| memory.pointer).collect();
            &heap
        };
        let call = Call {
            entry,
            buffers: pointers.as_ptr(),
            symbols: values,
        };
        let parts = usize::try_from(points / PART_POINTS).unwrap_or(usize::MAX);
        // SAFETY: the arguments are borrowed for this call, long enough, and what is written
        // overlaps nothing else.
        let done = unsafe { call.spread(&self.pool, parts, points) };
        let failed = |error: KernelError| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason: error.to_string(),
        };
        done.map_err(failed)
    }

    fn run_contract(
        &self,
        kernel: &Kernel,
        bound: &BoundContract,
        values: &[i64],
        memories: &[Memory],
    ) -> Result<(), DeviceError> {
        let Work::Contract {
            contract,
            tile,
            is_packed,
        } = &kernel.work
        else {
            return Ok(());
        };
        let fail = |reason: String| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason,
        };
        let slice = |position: u32| -> Result<(*const f32, usize), DeviceError> {
            let memory = memories.get(position as usize);
            let memory = memory.ok_or_else(|| fail(format!("no operand {position}")))?;
            memory
                .floats()
                .ok_or_else(|| fail(format!("operand {position} is not aligned")))
        };
        let right = slice(contract.b)?;
        let mut own = Vec::new();
        let b = match (is_packed, memories[contract.b as usize].constant) {
            (true, _) => right,
            (false, Some(position)) => self.packed_constant(kernel, bound, position, right)?,
            (false, None) => {
                own = self.take_scratch(bound, true)?;
                self.pack(bound, right, &mut own)
                    .map_err(|error| fail(error.to_string()))?
            }
        };
        let bind = |symbol: &Symbol| bind(&kernel.symbols, values, symbol);
        let (mut bias, mut residual, mut operands) = (None, None, Vec::new());
        match &contract.epilogue {
            Epilogue::Fused {
                bias: b,
                residual: r,
                ..
            } => {
                bias = b
                    .as_ref()
                    .map(|(position, ..)| slice(*position))
                    .transpose()?;
                residual = r.map(slice).transpose()?;
            }
            Epilogue::Tile {
                operands: positions,
            } => {
                for &position in positions {
                    slice(position)?;
                    operands.push(memories[position as usize].buffer());
                }
            }
        }
        let finish = match tile {
            Some(index) => {
                let tile = TileKernel::new(&self.module, *index, &bind, &operands);
                Some(tile.map_err(|error| failed(kernel, &error))?)
            }
            None => None,
        };
        let result = slice(contract.params.len() as u32 - 1)?;
        let run = ContractOperands {
            a: slice(contract.a)?,
            b,
            c: (result.0.cast_mut(), result.1),
            bias,
            residual,
            hook: finish.as_ref().map(TileKernel::hook),
        };
        let mut scratch = self.take_scratch(bound, false)?;
        // SAFETY: as in `run_loops`; the packed right side is ours or the program's.
        let done = unsafe { bound.run(&self.pool, &run, &mut scratch) };
        self.give_scratch(scratch);
        self.give_scratch(own);
        done.map_err(|error| fail(error.to_string()))?;
        finish
            .map_or(Ok(()), |tile| tile.check())
            .map_err(|error| failed(kernel, &error))
    }

    /// The packed form of a constant, made at its first use.
    fn packed_constant(
        &self,
        kernel: &Kernel,
        bound: &BoundContract,
        position: usize,
        source: (*const f32, usize),
    ) -> Result<(*const f32, usize), DeviceError> {
        let fail = |reason: String| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason,
        };
        let wanted = bound
            .packed_len()
            .map_err(|error| fail(error.to_string()))?;
        if kernel.packed.get().is_none() {
            let mut storage = Storage::zeroed(wanted * 4);
            let bytes = storage.to_mut();
            self.pack_into(bound, source, bytes.as_mut_ptr().cast(), wanted)
                .map_err(|error| fail(error.to_string()))?;
            // Two first launches at once make the same bytes.
            let _ = kernel.packed.set((position, storage));
        }
        match kernel.packed.get() {
            Some((known, storage)) if *known == position && storage.bytes().len() == wanted * 4 => {
                Ok((storage.bytes().as_ptr().cast(), wanted))
            }
            _ => Err(fail(
                "a constant right side changed between launches".to_owned(),
            )),
        }
    }

    fn pack(
        &self,
        bound: &BoundContract,
        source: (*const f32, usize),
        own: &mut [u8],
    ) -> Result<(*const f32, usize), crate::ContractError> {
        let wanted = bound.packed_len()?;
        let shift = own.as_ptr().align_offset(64);
        let out: *mut f32 = own[shift..][..wanted * 4].as_mut_ptr().cast();
        self.pack_into(bound, source, out, wanted)?;
        Ok((out.cast_const(), wanted))
    }

    fn pack_into(
        &self,
        bound: &BoundContract,
        source: (*const f32, usize),
        out: *mut f32,
        wanted: usize,
    ) -> Result<(), crate::ContractError> {
        // SAFETY: the source is an argument of this launch, aligned as `Memory::floats` checks; the
        // target is ours, aligned to 64 and of `wanted` floats, any bytes of which are floats.
        let (source, out) = unsafe {
            let source = std::slice::from_raw_parts(source.0, source.1);
            (source, std::slice::from_raw_parts_mut(out, wanted))
        };
        bound.pack(Some(&self.pool), source, out)
    }

    /// Bytes for the packed right side, or for a run; they hold anything.
    fn take_scratch(&self, bound: &BoundContract, packed: bool) -> Result<Vec<u8>, DeviceError> {
        let bytes = if packed {
            let len = bound
                .packed_len()
                .ok()
                .and_then(|len| len.checked_mul(4)?.checked_add(64));
            len.ok_or(DeviceError::OutOfMemory(u64::MAX))?
        } else {
            bound.scratch_bytes(self.pool.threads())
        };
        let mut free = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, else the largest to grow.
        let fits = (0..free.len())
            .filter(|&i| free[i].len() >= bytes)
            .min_by_key(|&i| free[i].len());
        let found = fits.or_else(|| (0..free.len()).max_by_key(|&i| free[i].len()));
        let mut scratch = found.map(|i| free.swap_remove(i)).unwrap_or_default();
        drop(free);
        if scratch.len() < bytes {
            let more = bytes - scratch.len();
            let grown = scratch.try_reserve_exact(more);
            grown.map_err(|_| DeviceError::OutOfMemory(bytes as u64))?;
            scratch.resize(bytes, 0);
        }
        Ok(scratch)
    }

    fn give_scratch(&self, scratch: Vec<u8>) {
        if !scratch.is_empty() {
            self.scratch
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(scratch);
        }
    }
}

impl Memory {
    fn buffer(self) -> Buffer {
        Buffer::raw_read(self.pointer, self.len)
    }

    /// As floats, if it is aligned for them.
    fn floats(self) -> Option<(*const f32, usize)> {
        let is_aligned = self.pointer.align_offset(align_of::<f32>()) == 0;
        is_aligned.then_some((self.pointer.cast_const().cast(), self.len / 4))
    }
}

fn read_only(bytes: &[u8], constant: Option<usize>) -> Memory {
    let pointer = bytes.as_ptr().cast_mut();
    Memory {
        pointer,
        len: bytes.len(),
        is_writable: false,
        constant,
    }
}

fn bind(symbols: &[Symbol], values: &[i64], symbol: &Symbol) -> Option<i64> {
    let position = symbols.iter().position(|known| known == symbol)?;
    values.get(position).copied()
}

fn failed(kernel: &Kernel, error: &LaunchError) -> DeviceError {
    DeviceError::Launch {
        kernel: kernel.name.clone(),
        reason: error.to_string(),
    }
}

impl Module for CpuProgram {
    fn arena(&self, bytes: usize) -> Result<Box<dyn Arena>, DeviceError> {
        if isize::try_from(bytes).is_err() {
            return Err(DeviceError::OutOfMemory(bytes as u64));
        }
        Ok(Box::new(CpuArena(Storage::zeroed(bytes))))
    }

    fn launch(&self, arena: &mut dyn Arena, launch: Launch<'_, '_>) -> Result<(), DeviceError> {
        let Some(kernel) = self.kernels.get(launch.kernel) else {
            let reason = format!("kernel {} does not exist", launch.kernel);
            return Err(DeviceError::BadCode(reason));
        };
        let fail = |reason: &str| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason: reason.to_owned(),
        };
        let arena = arena.as_any().downcast_mut::<CpuArena>();
        let arena = arena.ok_or_else(|| fail("the arena is of another device"))?;
        if launch.symbols.len() != kernel.symbols.len() {
            return Err(fail("another number of symbols than the kernel takes"));
        }
        let bound = self.bound(launch.kernel, launch.symbols)?;
        let memories = self.memories(kernel, &bound, arena, launch.args)?;
        match &bound.work {
            BoundWork::Loops { entry, points } => {
                self.run_loops(kernel, (*entry, *points), launch.symbols, &memories)
            }
            BoundWork::Contract(bound) => {
                self.run_contract(kernel, bound, launch.symbols, &memories)
            }
        }
    }

    fn parallelism(&self) -> usize {
        self.pool.threads()
    }
}
