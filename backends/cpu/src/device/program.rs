//! A loaded program: kernels by position, with what was evaluated for recent sizes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use alula_microkernel::{ISA_VARIABLE, Isa, KernelError, Pool, Products};
use alula_program::{Arena, DeviceError, Launch, Module, ParamAccess, Program};
use alula_tensor::{OutOfMemory, Storage, Symbol};
use smallvec::SmallVec;

use super::arena::CpuArena;
use super::chain::{BoundChain, Chain, Part, PartWork};
use super::cpu::TARGET;
use super::launch::Call;
use super::memory::{Memories, Memory, find_memories};
use super::module::Entry;
use super::tile::TilePlan;
use super::watch::{Stop, flag, points_per_look, watched};
use super::{CpuModule, LaunchError, LoadError};
use crate::entry::CpuEntry;
use crate::{
    BoundContract, BoundInteger, ContractError, CpuCode, CpuContract, CpuFeatures, CpuKernel,
    PackedFor,
};

/// Sizes that are kept for each kernel.
const BOUND_MAX: usize = 16;
/// Grid points that a part of a launch has at least: most are some microseconds of work.
const PART_POINTS: i64 = 4;
/// Scalar evaluations for which a part may have fewer: a point may be all steps of a recurrence.
const PART_WORK: u64 = 1 << 16;

/// A kernel that can be launched.
pub(super) struct Kernel {
    pub(super) name: String,
    pub(super) symbols: Vec<Symbol>,
    pub(super) work: Work,
    bound: Mutex<Vec<(Vec<i64>, Arc<Bound>)>>,
    /// Packed right sides by position of the constant; entries stay until the program goes.
    pub(super) packed: Mutex<BTreeMap<usize, Storage>>,
}

pub(super) enum Work {
    Loops {
        index: usize,
    },
    Contract {
        contract: Box<CpuContract>,
        tile: Option<usize>,
        right: Right,
    },
    Chain(Chain),
}

/// In what form the right side of a contraction comes.
#[derive(Clone, Copy)]
pub(super) enum Right {
    /// As the model has it.
    Plain,
    /// As the micro-kernels take it.
    Packed,
    /// Packed for other micro-kernels.
    PackedFor(PackedFor),
}

/// What was evaluated for one binding of symbols.
struct Bound {
    /// Bytes of each parameter at least, and whether it is written.
    params: Vec<(u64, bool)>,
    work: BoundWork,
    /// What finishes tiles of a contraction.
    tile: Option<TilePlan>,
}

enum BoundWork {
    /// A function and its number of grid points.
    Loops {
        entry: Entry,
        points: i64,
    },
    Contract(Box<BoundContract>),
    Integer(Box<BoundInteger>),
    Chain(Box<BoundChain>),
}

/// The family that runs what was planned for another, or why none does.
fn choose(planned: PackedFor, forced: Option<Isa>) -> Result<Isa, String> {
    let isa = forced.unwrap_or(planned.isa);
    isa.require().map_err(|error| match forced {
        Some(_) => error.to_string(),
        None => format!(
            "{error}, and the program was compiled for it; {ISA_VARIABLE}={} runs it on what there \
             is, and makes programs for that where it is set when they are compiled",
            Isa::best().name()
        ),
    })
}

/// Kernels of a program on their way into memory.
struct Loader {
    /// Every function, in the order in which kernels name them.
    functions: Vec<CpuKernel>,
    forced: Option<Isa>,
}

impl Loader {
    fn kernel(
        &mut self,
        name: &str,
        symbols: &[Symbol],
        code: CpuEntry,
    ) -> Result<Kernel, DeviceError> {
        let work = match code {
            CpuEntry::Loops(kernel) => {
                if kernel.symbols != symbols {
                    let reason = format!("{name}: symbols disagree with its code");
                    return Err(DeviceError::BadCode(reason));
                }
                Work::Loops {
                    index: self.add(*kernel),
                }
            }
            CpuEntry::Contract {
                contract,
                tile,
                is_packed,
            } => self.contract(contract, tile, is_packed)?,
            CpuEntry::Chain(chain) => {
                let mut parts = Vec::with_capacity(chain.parts.len());
                for part in chain.parts {
                    let work = match part.work {
                        CpuEntry::Loops(kernel) => PartWork::Loops(self.add(*kernel)),
                        CpuEntry::Contract { .. } => {
                            PartWork::Contract(self.kernel(name, symbols, part.work)?)
                        }
                        CpuEntry::Chain(_) => {
                            let reason = format!("{name}: a chain within a chain");
                            return Err(DeviceError::BadCode(reason));
                        }
                    };
                    parts.push(Part {
                        work,
                        args: part.args,
                    });
                }
                Work::Chain(Chain {
                    entries: chain.entries,
                    rows: chain.rows,
                    between: chain.between,
                    parts,
                })
            }
        };
        Ok(Kernel {
            name: name.to_owned(),
            symbols: symbols.to_vec(),
            work,
            bound: Mutex::default(),
            packed: Mutex::default(),
        })
    }

    fn contract(
        &mut self,
        mut contract: Box<CpuContract>,
        tile: Option<Box<CpuKernel>>,
        is_packed: bool,
    ) -> Result<Work, DeviceError> {
        let planned = contract.packed_for();
        contract.isa = choose(planned, self.forced).map_err(unavailable)?;
        // Parts take tiles; what vectors read of them was planned for these.
        if contract.isa != Isa::Amx && contract.isa != planned.isa {
            contract.products = Products::Whole;
        }
        Ok(Work::Contract {
            tile: tile.map(|tile| self.add(*tile)),
            right: match is_packed {
                false => Right::Plain,
                true if contract.packed_for().is_same(planned) => Right::Packed,
                true => Right::PackedFor(planned),
            },
            contract,
        })
    }

    fn add(&mut self, kernel: CpuKernel) -> usize {
        self.functions.push(kernel);
        self.functions.len() - 1
    }
}

fn unavailable(reason: String) -> DeviceError {
    DeviceError::Unavailable {
        device: TARGET.to_owned(),
        reason,
    }
}

/// A program in executable memory.
pub(super) struct CpuProgram {
    program: Arc<Program>,
    pub(super) module: CpuModule,
    kernels: Vec<Kernel>,
    pub(super) pool: Arc<Pool>,
    /// Scratch that is free.
    pub(super) scratch: Mutex<Vec<Vec<u8>>>,
}

impl CpuProgram {
    pub(super) fn load(
        program: Arc<Program>,
        pool: Arc<Pool>,
        forced: Option<Isa>,
    ) -> Result<CpuProgram, DeviceError> {
        let [arch, extensions @ ..] = program.features.as_slice() else {
            return Err(DeviceError::BadCode("no architecture is named".to_owned()));
        };
        let mut loader = Loader {
            functions: Vec::new(),
            forced,
        };
        let mut kernels = Vec::new();
        for entry in &program.kernels {
            let code: CpuEntry = postcard::from_bytes(&entry.code)
                .map_err(|error| DeviceError::BadCode(format!("{}: {error}", entry.name)))?;
            let symbols = entry.symbols.as_slice();
            kernels.push(loader.kernel(&entry.name, symbols, code)?);
        }
        // Contractions were asked for theirs above.
        let of_loops = extensions.iter().filter(|name| *name != Isa::Amx.name());
        let features = CpuFeatures {
            arch: arch.clone(),
            extensions: of_loops.cloned().collect(),
        };
        let code = CpuCode {
            features,
            bytes: program.code.clone(),
            kernels: loader.functions,
        };
        // SAFETY: a program is as trusted as an executable, as `CpuDevice::load` says.
        let module = unsafe { CpuModule::load(&code) }.map_err(|error| match error {
            LoadError::Bounds { .. } => DeviceError::BadCode(error.to_string()),
            LoadError::Features { .. }
            | LoadError::LeftOut { .. }
            | LoadError::Variable(_)
            | LoadError::Memory { .. } => unavailable(error.to_string()),
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
        // Few values, or none: no call is worth it.
        let is_same = |known: &[i64]| known.len() == values.len() && known.iter().eq(values);
        if let Some((_, bound)) = lock().iter().find(|(known, _)| is_same(known)) {
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
                let (threads, wrong) = (self.pool.threads(), |error: ContractError| {
                    fail(error.to_string())
                });
                if contract.is_integer() {
                    let bound = contract.bind_integer(&bind, threads).map_err(wrong)?;
                    BoundWork::Integer(Box::new(bound))
                } else {
                    let bound = contract.bind(&bind, threads).map_err(wrong)?;
                    BoundWork::Contract(Box::new(bound))
                }
            }
            Work::Chain(chain) => {
                let bound = self.bind_chain(kernel, chain, values, &params)?;
                BoundWork::Chain(Box::new(bound))
            }
        };
        let tile = self.tile_plan(kernel, &bind)?;
        let bound = Arc::new(Bound { params, work, tile });
        let mut known = lock();
        if known.len() >= BOUND_MAX {
            known.remove(0);
        }
        known.push((values.to_vec(), Arc::clone(&bound)));
        Ok(bound)
    }

    /// What finishes tiles of a contraction, if something does.
    pub(super) fn tile_plan(
        &self,
        kernel: &Kernel,
        bind: &dyn Fn(&Symbol) -> Option<i64>,
    ) -> Result<Option<TilePlan>, DeviceError> {
        let Work::Contract {
            tile: Some(tile), ..
        } = &kernel.work
        else {
            return Ok(None);
        };
        let plan = TilePlan::new(&self.module, *tile, bind);
        plan.map(Some).map_err(|error| failed(kernel, &error))
    }

    fn run_loops(
        &self,
        kernel: &Kernel,
        (entry, points, work): (Entry, i64, u64),
        values: &[i64],
        memories: &[Memory],
        watch: Option<(&Stop, i64)>,
    ) -> Result<(), DeviceError> {
        let pointers = memories.iter().map(|memory| memory.pointer);
        let stop = flag(watch.map(|(stop, _)| stop));
        let pointers: SmallVec<[*mut u8; 32]> = pointers.chain([stop]).collect();
        let call = Call {
            entry,
            buffers: pointers.as_ptr(),
            symbols: values,
        };
        let by_work = i64::try_from(work / PART_WORK)
            .unwrap_or(i64::MAX)
            .min(points);
        let parts = usize::try_from((points / PART_POINTS).max(by_work)).unwrap_or(usize::MAX);
        // SAFETY: the arguments are borrowed for this call, long enough, and what is written
        // overlaps nothing else.
        let done = unsafe { call.spread(&self.pool, parts, points, watch) };
        let failed = |error: KernelError| DeviceError::Launch {
            kernel: kernel.name.clone(),
            reason: error.to_string(),
        };
        done.map_err(failed)
    }
}

pub(super) fn out_of_memory(error: OutOfMemory) -> DeviceError {
    DeviceError::OutOfMemory(error.bytes as u64)
}

/// The value of a symbol in a list of them.
pub(super) fn bind(symbols: &[Symbol], values: &[i64], symbol: &Symbol) -> Option<i64> {
    let position = symbols.iter().position(|known| known == symbol)?;
    values.get(position).copied()
}

pub(super) fn failed(kernel: &Kernel, error: &LaunchError) -> DeviceError {
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
        let storage = Storage::try_zeroed(bytes).map_err(out_of_memory)?;
        Ok(Box::new(CpuArena(storage)))
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
        let mut memories = Memories::new();
        find_memories(
            &kernel.name,
            &bound.params,
            &self.program.data,
            arena,
            launch.args,
            &mut memories,
        )?;
        let (symbols, work, tile) = (launch.symbols, launch.work, bound.tile.as_ref());
        let run = |stop: Option<&Stop>| match &bound.work {
            BoundWork::Loops { entry, points } => {
                let watch = stop.map(|stop| (stop, points_per_look(*points, work)));
                self.run_loops(kernel, (*entry, *points, work), symbols, &memories, watch)
            }
            BoundWork::Contract(bound) => self.run_contract(kernel, (bound, tile), &memories, stop),
            BoundWork::Integer(bound) => self.run_integer(kernel, (bound, tile), &memories, stop),
            BoundWork::Chain(bound) => self.run_chain(kernel, bound, &memories, stop),
        };
        match watched(launch.deadline, work, run) {
            (Ok(()), true) => Err(DeviceError::Deadline {
                kernel: kernel.name.clone(),
            }),
            (done, _) => done,
        }
    }

    fn scratch_bytes(&self, kernel: usize, symbols: &[i64]) -> Result<u64, DeviceError> {
        let Some(known) = self.kernels.get(kernel) else {
            let reason = format!("kernel {kernel} does not exist");
            return Err(DeviceError::BadCode(reason));
        };
        let (is_packed, chain) = match &known.work {
            Work::Loops { .. } => return Ok(0),
            Work::Contract { right, .. } => (matches!(right, Right::Packed), None),
            Work::Chain(chain) => (false, Some(chain)),
        };
        let (bound, threads) = (self.bound(kernel, symbols)?, self.pool.threads());
        let (run, packed) = match &bound.work {
            BoundWork::Loops { .. } => (0, Ok(0)),
            BoundWork::Contract(bound) => {
                let packed = bound.packed_len().map(|len| len.saturating_mul(4));
                (bound.scratch_bytes(threads), packed)
            }
            BoundWork::Integer(bound) => (bound.scratch_bytes(threads), bound.packed_len()),
            BoundWork::Chain(bound) => {
                let bytes = chain.map_or(0, |chain| bound.launch_bytes(chain, threads));
                (bytes, Ok(0))
            }
        };
        let packed = match is_packed {
            true => 0,
            false => packed.unwrap_or(0),
        };
        Ok((run as u64).saturating_add(packed as u64))
    }

    fn parallelism(&self) -> usize {
        self.pool.threads()
    }
}
