//! A device for tests: kernels are named functions on `f32` slices; memory is a vector.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alula_program::{Arena, Arg, Device, DeviceError, Launch, Module, ParamAccess, Program};

/// Counts what a device did.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) arenas: AtomicUsize,
    pub(crate) launches: AtomicUsize,
}

/// What its programs say, too.
pub(crate) const ABI: &str = "functions 1";

#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) counts: Arc<Counts>,
    /// Whether its kernels write to memory of outputs.
    pub(crate) lends: bool,
}

impl Device for Fake {
    fn target(&self) -> &str {
        "fake"
    }

    fn abi(&self) -> String {
        ABI.to_owned()
    }

    fn has_host_memory(&self) -> bool {
        self.lends
    }

    fn describe(&self) -> String {
        "functions".to_owned()
    }

    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Module>, DeviceError> {
        for kernel in &program.kernels {
            if !["add", "neg", "copy", "double", "less"].contains(&kernel.name.as_str()) {
                return Err(DeviceError::BadCode(kernel.name.clone()));
            }
        }
        let counts = Arc::clone(&self.counts);
        Ok(Box::new(FakeModule { program, counts }))
    }
}

struct FakeModule {
    program: Arc<Program>,
    counts: Arc<Counts>,
}

struct FakeArena(Vec<u8>);

impl Arena for FakeArena {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn read(&mut self, range: Range<usize>, into: &mut [u8]) -> Result<(), DeviceError> {
        into.copy_from_slice(self.0.get(range).ok_or(DeviceError::OutOfMemory(0))?);
        Ok(())
    }

    fn write(&mut self, offset: usize, from: &[u8]) -> Result<(), DeviceError> {
        let to = self.0.get_mut(offset..offset + from.len());
        to.ok_or(DeviceError::OutOfMemory(0))?.copy_from_slice(from);
        Ok(())
    }

    fn host(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.0)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let chunks = bytes.as_chunks::<4>().0;
    chunks.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

impl Module for FakeModule {
    fn arena(&self, bytes: usize) -> Result<Box<dyn Arena>, DeviceError> {
        self.counts.arenas.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(FakeArena(vec![0xaa; bytes])))
    }

    fn launch(&self, arena: &mut dyn Arena, launch: Launch<'_, '_>) -> Result<(), DeviceError> {
        self.counts.launches.fetch_add(1, Ordering::Relaxed);
        let kernel = &self.program.kernels[launch.kernel];
        assert_eq!(launch.symbols.len(), kernel.symbols.len());
        let mut read = Vec::new();
        for (arg, param) in launch.args.iter().zip(&kernel.params) {
            if param.access == ParamAccess::Read {
                read.push(match arg {
                    Arg::Arena(range) => {
                        let mut bytes = vec![0; range.len()];
                        arena.read(range.clone(), &mut bytes)?;
                        bytes
                    }
                    Arg::Constant(constant) => self.program.data[*constant].bytes().to_vec(),
                    Arg::Host(bytes) => bytes.to_vec(),
                    Arg::HostMut(bytes) => bytes.to_vec(),
                    Arg::Again(position) => match &launch.args[*position] {
                        Arg::HostMut(bytes) => bytes.to_vec(),
                        other => panic!("{other:?} is not written"),
                    },
                });
            }
        }
        let a = floats(&read[0]);
        let b = read.get(1).map(|bytes| floats(bytes)).unwrap_or_default();
        let result: Vec<u8> = match kernel.name.as_str() {
            "add" => a
                .iter()
                .zip(b.iter().cycle())
                .flat_map(|(a, b)| (a + b).to_le_bytes())
                .collect(),
            "neg" => a.iter().flat_map(|a| (-a).to_le_bytes()).collect(),
            "double" => a.iter().flat_map(|a| (2.0 * a).to_le_bytes()).collect(),
            "less" => vec![u8::from(a[0] < b[0])],
            _ => read[0].clone(),
        };
        let last = launch.args.last_mut().expect("a result");
        let short = |given: usize| DeviceError::BadArg {
            kernel: kernel.name.clone(),
            param: read.len(),
            reason: format!("{given} bytes for {}", result.len()),
        };
        match last {
            Arg::Arena(range) if range.len() == result.len() => arena.write(range.start, &result),
            Arg::HostMut(bytes) if bytes.len() == result.len() => {
                bytes.copy_from_slice(&result);
                Ok(())
            }
            Arg::Arena(range) => Err(short(range.len())),
            Arg::HostMut(bytes) => Err(short(bytes.len())),
            _ => Err(short(0)),
        }
    }

    fn parallelism(&self) -> usize {
        1
    }
}
