//! Sessions: a loaded program, ready for any number of runs at once.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use alula_program::{Device, Port, Program};
use alula_tensor::{DType, Storage, Tensor, Value, ValueType};
use smallvec::SmallVec;

use crate::bind::{Bindings, Home};
use crate::execute::{Core, Region, Results, Run, State};
use crate::feed::{Feed, TensorRef};
use crate::frame::Frame;
use crate::prepare::Prepared;
use crate::profile::Recorder;
use crate::symbols::SymbolTable;
use crate::validate::validate;
use crate::{Profile, RunError, RunOptions, SessionError, SessionOptions, StepError, artifact};

/// A program on a device. Runs take `&self` and may be concurrent.
pub struct Session {
    core: Core,
    /// Memory of runs that are over. The lock is held to take or give back a pointer only.
    idle: Mutex<Vec<State>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let program = &self.core.program;
        f.debug_struct("Session")
            .field("target", &program.target)
            .field("kernels", &program.kernels.len())
            .finish_non_exhaustive()
    }
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Outputs by name, in the model's order.
    pub outputs: Vec<(String, Value)>,
    /// Times of the steps, if they were asked for.
    pub profile: Option<Profile>,
    /// Bytes of planned memory that the run used, that of its sub-plans included.
    pub arena_bytes: usize,
    /// Bytes that the run held at its fullest, all of memory that [`Limits`](crate::Limits) bound.
    pub peak_bytes: u64,
}

impl Session {
    /// Loads a program on a device.
    ///
    /// # Errors
    /// [`SessionError`], before any of the program's code is executed.
    pub fn new(
        program: Arc<Program>,
        device: &dyn Device,
        options: SessionOptions,
    ) -> Result<Session, SessionError> {
        let span = tracing::info_span!("load", target = program.target, device = device.describe());
        let _guard = span.enter();
        if program.target != device.target() {
            return Err(SessionError::WrongTarget {
                program: program.target.clone(),
                device: device.target().to_owned(),
            });
        }
        if program.abi != device.abi() {
            return Err(SessionError::Abi {
                program: program.abi.clone(),
                device: device.abi(),
            });
        }
        validate(&program).map_err(SessionError::Damaged)?;
        let mut table = SymbolTable::default();
        let prepared: Vec<Prepared> = program
            .plans
            .iter()
            .enumerate()
            .map(|(position, plan)| {
                let lends = position == 0 && device.has_host_memory();
                Prepared::new(&program, plan, &mut table, lends)
            })
            .collect();
        let constants = program
            .constants
            .iter()
            .zip(&program.data)
            .map(|(constant, data)| {
                if constant.dtype == DType::String {
                    let strings = artifact::decode_strings(data.bytes())?;
                    return Tensor::from_strings(&constant.shape, strings).ok();
                }
                Tensor::from_storage(constant.dtype, &constant.shape, data.clone()).ok()
            })
            .collect::<Option<Vec<Tensor>>>()
            .ok_or_else(|| SessionError::Damaged("a constant has no sense".to_owned()))?;
        let module = device.load(Arc::clone(&program))?;
        let bindings = program.plans.iter().map(|_| Bindings::default()).collect();
        let core = Core {
            program,
            module,
            table,
            prepared,
            bindings,
            constants,
            limits: options.limits,
        };
        Ok(Session {
            core,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Loads the program for the device's target out of an artifact file. Weights stay where they
    /// are, mapped.
    ///
    /// # Errors
    /// [`SessionError`], before any of the file's code is executed.
    pub fn from_artifact(
        path: impl AsRef<Path>,
        device: &dyn Device,
        options: SessionOptions,
    ) -> Result<Session, SessionError> {
        let program = artifact::load(path, device.target())?;
        Session::new(Arc::new(program), device, options)
    }

    /// The model's inputs in order.
    pub fn inputs(&self) -> &[Port] {
        &self.core.program.plans[0].inputs
    }

    /// The model's outputs in order.
    pub fn outputs(&self) -> &[Port] {
        &self.core.program.plans[0].outputs
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.core.program
    }

    /// Runs the model on inputs by name; gives outputs by name in the model's order.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn run(&self, inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>, RunError> {
        Ok(self.run_with(inputs, &RunOptions::default())?.outputs)
    }

    /// [`Session::run`] with a deadline or a profile.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn run_with(
        &self,
        inputs: &[(&str, Value)],
        options: &RunOptions,
    ) -> Result<Outcome, RunError> {
        let ports = self.inputs();
        let mut feeds: Vec<Option<Feed<'_>>> = vec![None; ports.len()];
        for (name, value) in inputs {
            let position = ports.iter().position(|port| port.name == *name);
            let position = position.ok_or_else(|| RunError::UnknownInput {
                name: (*name).to_owned(),
                known: ports.iter().map(|port| port.name.clone()).collect(),
            })?;
            if feeds[position].replace(Feed::of(value)).is_some() {
                return Err(RunError::RepeatedInput((*name).to_owned()));
            }
        }
        let feeds: Vec<Feed<'_>> = feeds
            .into_iter()
            .zip(ports)
            .map(|(feed, port)| {
                feed.ok_or_else(|| RunError::MissingInput {
                    name: port.name.clone(),
                    declared: port.ty.to_string(),
                })
            })
            .collect::<Result<_, _>>()?;
        let mut made = Vec::new();
        let (found, run) =
            self.execute(&feeds, options, Lender::New(&mut made), |run, frame| {
                let mut found = Vec::with_capacity(self.outputs().len());
                for port in self.outputs() {
                    let output = match run.is_lent(frame, port.slot) {
                        true => run.shape(frame, port.slot).map(Found::Lent),
                        false => run.value(frame, port.slot).map(Found::Value),
                    };
                    let output = output.map_err(|error| output_error(port, error))?;
                    run.own_bytes += run.copied_bytes(frame, port.slot);
                    found.push(output);
                }
                Ok(found)
            })?;
        let mut outputs = Vec::with_capacity(found.len());
        for ((port, found), made) in self.outputs().iter().zip(found).zip(made) {
            let value = match (found, made) {
                (Found::Value(value), _) => Ok(value),
                (Found::Lent(shape), made) => tensor(&port.ty, shape, made),
            };
            let value = value.map_err(|error| output_error(port, error))?;
            outputs.push((port.name.clone(), value));
        }
        Ok(Outcome {
            outputs,
            profile: run.profile,
            arena_bytes: run.arena_bytes,
            peak_bytes: run.peak_bytes,
        })
    }

    /// Runs the model on tensors in the order of its inputs and writes its outputs, in order, to
    /// the caller's memory, which holds anything after a run that failed. After the first run of a
    /// binding of symbols nothing is allocated, as long as no step makes values of sizes that only
    /// the data decide and the outputs are aligned to 8 bytes.
    ///
    /// # Errors
    /// [`RunError`]; [`RunError::OutputLength`] tells the length that an output needs.
    pub fn run_into(
        &self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [&mut [u8]],
    ) -> Result<(), RunError> {
        self.run_into_with(inputs, outputs, &RunOptions::default())?;
        Ok(())
    }

    /// [`Session::run_into`] with a deadline or a profile. Measuring allocates.
    ///
    /// # Errors
    /// As [`Session::run_into`].
    pub fn run_into_with(
        &self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [&mut [u8]],
        options: &RunOptions,
    ) -> Result<Option<Profile>, RunError> {
        count("inputs", self.inputs().len(), inputs.len())?;
        count("outputs", self.outputs().len(), outputs.len())?;
        let mut feeds: SmallVec<[Feed<'_>; 8]> = SmallVec::new();
        feeds.extend(inputs.iter().map(|tensor| Feed::Tensor(*tensor)));
        let lender = Lender::Caller(outputs, SmallVec::new());
        let ((), ran) = self.execute(&feeds, options, lender, |run, frame| {
            for (position, port) in self.outputs().iter().enumerate() {
                if run.is_lent(frame, port.slot) {
                    continue;
                }
                let needed = run.held_bytes(frame, port.slot);
                let output = run.results[position].take().unwrap_or_default();
                length(port, needed, output.len())?;
                let read = run.read(frame, port.slot, 0, output);
                read.map_err(|error| output_error(port, error))?;
            }
            Ok(())
        })?;
        Ok(ran.profile)
    }

    /// Runs the first plan and lets `finish` take the outputs.
    fn execute<T>(
        &self,
        feeds: &[Feed<'_>],
        options: &RunOptions,
        mut lender: Lender<'_, '_>,
        finish: impl FnOnce(&mut Run<'_>, &Frame) -> Result<T, RunError>,
    ) -> Result<(T, Ran), RunError> {
        let span = tracing::debug_span!("run", of = self.core.program.plans[0].steps.len());
        let _guard = span.enter();
        for (feed, port) in feeds.iter().zip(self.inputs()) {
            feed.check(&port.name, &port.ty)?;
        }
        let mut state = match self.lock().pop() {
            Some(state) => state,
            None => State {
                arena: self
                    .core
                    .module
                    .arena(0)
                    .map_err(|error| RunError::Bind(error.into()))?,
                spare: self.core.prepared.iter().map(|_| Vec::new()).collect(),
                results: Vec::new(),
            },
        };
        let spare = std::mem::take(&mut state.results);
        let mut run = Run {
            core: &self.core,
            state: &mut state,
            feeds,
            results: Results::new(),
            deadline: (options.deadline).and_then(|limit| Instant::now().checked_add(limit)),
            work_max: options.work_max.unwrap_or(self.core.limits.work_max),
            own_bytes: 0,
            planned_bytes: 0,
            scratch_bytes: 0,
            peak_bytes: 0,
            recorder: options.profile.then(Recorder::new),
        };
        let region = Region {
            start: 0,
            busy: None,
        };
        let mut frame = run.begin(0, region, None, None).map_err(RunError::Bind)?;
        self.check_extents(feeds, &frame)?;
        self.lend(&mut run, &mut frame, &mut lender, spare)?;
        run.steps(&mut frame)?;
        let value = finish(&mut run, &frame)?;
        let ran = Ran {
            arena_bytes: run.planned_bytes as usize,
            peak_bytes: run.peak_bytes,
            profile: run.recorder.take().map(Recorder::finish),
        };
        run.end(frame);
        drop(run);
        match lender {
            Lender::New(made) => state.results.clone_from(made),
            Lender::Caller(outputs, beside) => {
                for (output, beside) in outputs.iter_mut().zip(beside) {
                    if let Some(beside) = beside {
                        output.copy_from_slice(beside.bytes());
                    }
                }
            }
        }
        // A run that failed drops its memory: there is nothing to save in that case.
        self.lock().push(state);
        Ok((value, ran))
    }

    /// Gives the run the memory of outputs that kernels write themselves: the caller's, or what
    /// the last run made if nobody has it any more, or new memory.
    fn lend<'r>(
        &self,
        run: &mut Run<'r>,
        frame: &mut Frame,
        lender: &'r mut Lender<'_, '_>,
        spare: Vec<Option<Storage>>,
    ) -> Result<(), RunError> {
        let needed = |frame: &Frame, port: &Port| match run.core.home(frame, port.slot) {
            Home::Result { bytes, .. } => Some(bytes),
            Home::Arena { .. } | Home::Own | Home::Elsewhere => None,
        };
        match lender {
            Lender::Caller(outputs, beside) => {
                for (port, output) in self.outputs().iter().zip(outputs.iter()) {
                    let needed = needed(frame, port);
                    if let Some(needed) = needed {
                        length(port, needed, output.len())?;
                    }
                    let is_aligned = output.as_ptr().align_offset(LENT_ALIGNMENT) == 0;
                    let made = needed.filter(|_| !is_aligned).map(Storage::try_zeroed);
                    let made = made.transpose();
                    beside.push(made.map_err(|error| output_error(port, error.into()))?);
                }
                for (output, beside) in outputs.iter_mut().zip(beside) {
                    run.results.push(Some(match beside {
                        Some(beside) => beside.to_mut(),
                        None => output,
                    }));
                }
            }
            Lender::New(made) => {
                let mut spare = spare.into_iter();
                for port in self.outputs() {
                    let spare = spare.next().flatten();
                    let Some(bytes) = needed(frame, port) else {
                        made.push(None);
                        continue;
                    };
                    let account = run.account(frame, bytes);
                    account.map_err(|error| output_error(port, error))?;
                    let spare = spare.and_then(Storage::into_unshared);
                    made.push(Some(
                        match spare.filter(|spare| spare.bytes().len() == bytes) {
                            Some(spare) => spare,
                            None => Storage::try_zeroed(bytes)
                                .map_err(|error| output_error(port, error.into()))?,
                        },
                    ));
                }
                let memory = made.iter_mut();
                run.results = memory
                    .map(|made| made.as_mut().map(Storage::to_mut))
                    .collect();
                if cfg!(debug_assertions) {
                    // What no kernel writes shows.
                    for memory in run.results.iter_mut().flatten() {
                        memory.fill(0xA5);
                    }
                }
            }
        }
        Ok(())
    }

    /// Declared extents that are expressions must have the value that the symbols give them.
    fn check_extents(&self, feeds: &[Feed<'_>], frame: &Frame) -> Result<(), RunError> {
        for (feed, port) in feeds.iter().zip(self.inputs()) {
            let (ValueType::Tensor(ty), Some(shape)) = (&port.ty, feed.shape()) else {
                continue;
            };
            for (axis, (dim, &extent)) in ty.shape.iter().zip(shape).enumerate() {
                if dim.as_const().is_some() {
                    continue;
                }
                let wanted = match self.core.table.eval(dim, &frame.env) {
                    Ok(wanted) => wanted,
                    // Symbols that nothing gives a value are free.
                    Err(StepError::Dim(alula_tensor::DimError::Unbound(_))) => continue,
                    Err(error) => return Err(RunError::Bind(error)),
                };
                if usize::try_from(wanted) != Ok(extent) {
                    return Err(RunError::InputType {
                        name: port.name.clone(),
                        declared: port.ty.to_string(),
                        given: format!("{shape:?}"),
                        reason: format!(
                            "axis {axis} is {extent}, but other inputs make {dim} {wanted}"
                        ),
                    });
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<State>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the memory of an output is aligned to for kernels to write it: the widest element.
const LENT_ALIGNMENT: usize = 8;

/// Where the memory of outputs comes from.
enum Lender<'r, 'o> {
    /// From the caller, for each output; beside it what is used for those that are not aligned.
    Caller(&'r mut [&'o mut [u8]], SmallVec<[Option<Storage>; 4]>),
    /// It is made, for outputs that kernels write themselves.
    New(&'r mut Vec<Option<Storage>>),
}

/// An output when its run is over.
enum Found {
    Value(Value),
    /// It is in the memory that was made for it, a tensor of these extents.
    Lent(Option<Vec<usize>>),
}

/// The tensor that the memory made for an output has become.
fn tensor(
    ty: &ValueType,
    shape: Option<Vec<usize>>,
    made: Option<Storage>,
) -> Result<Value, StepError> {
    let (Some(ty), Some(shape), Some(made)) = (ty.as_tensor(), shape, made) else {
        return Err(StepError::Value(format!("{ty} lies in memory of a tensor")));
    };
    Ok(Tensor::from_storage(ty.dtype, &shape, made)?.into())
}

fn length(port: &Port, needed: usize, given: usize) -> Result<(), RunError> {
    if needed == given {
        return Ok(());
    }
    let name = port.name.clone();
    Err(RunError::OutputLength {
        name,
        needed,
        given,
    })
}

/// What is known of a run when it is over, besides its outputs.
struct Ran {
    arena_bytes: usize,
    peak_bytes: u64,
    profile: Option<Profile>,
}

fn output_error(port: &Port, error: StepError) -> RunError {
    RunError::Output {
        name: port.name.clone(),
        error,
    }
}

fn count(what: &'static str, wanted: usize, given: usize) -> Result<(), RunError> {
    if wanted == given {
        return Ok(());
    }
    Err(RunError::Count {
        what,
        wanted,
        given,
    })
}
