//! Kernels in text with what they compute, on everything that runs kernels.
//!
//! The interpreter runs the kernel as it stands, then in the words of each back end; each back end
//! runs what it prints, with its parameters in an arena and in host memory. Integers must be the
//! same everywhere, floats within the bound of a class: `; within: function` names one, else it is
//! `rounded`. A back end that refuses the kernel gives a line of the expectation.
//!
//! `; bind: N = 4` gives symbols their values, as for graphs; without, each is 3. What is read is
//! drawn from a seed, or as `; fill: x = 1, -2, nan` says, over and over. What is only written
//! begins as zeros.

use std::collections::BTreeMap;

use alula_cpu::{CpuTarget, Dump};
use alula_kernel::interpret::{self, Bytes, Options};
use alula_kernel::text::parse_kernel;
use alula_kernel::{Access, Kernel, Param, verify};
use alula_program::Module;
use alula_tensor::{DType, Scalar, Storage, Symbol, Tensor};
use alula_testkit::SplitMix64;
use alula_testkit::tolerance::{Class, compare};
use alula_tests::backends::{Backend, Devices, NoRun};
use alula_tests::kernels::{Memory, launch};
use alula_tests::random::{Draw, draw};

use super::run::{Ran, bindings, show};

type Binding = BTreeMap<Symbol, i64>;

/// Runs a kernel on every back end.
pub(crate) fn run(text: &str, devices: &Devices) -> Result<Ran, String> {
    let kernel = kernel(text)?;
    let class = class(text)?;
    let (fills, mut bindings) = (fills(text)?, bindings(text)?);
    for binding in &mut bindings {
        for symbol in &kernel.symbols {
            binding.entry(symbol.clone()).or_insert(3);
        }
    }
    let mut ran = Ran {
        outputs: String::new(),
        refusals: String::new(),
    };
    let mut cases = Vec::new();
    for binding in &bindings {
        let given = inputs(&kernel, binding, &fills)?;
        let mut wanted = given.clone();
        interpreted(&kernel, binding, &mut wanted)?;
        let names: Vec<String> = binding.iter().map(|(s, v)| format!("{s} = {v}")).collect();
        if !names.is_empty() {
            ran.outputs
                .push_str(&format!("; with {}\n", names.join(", ")));
        }
        for (param, bytes) in kernel.params.iter().zip(&wanted) {
            if param.access != Access::Read {
                let shown = show(&tensor(param.dtype, bytes)?);
                ran.outputs.push_str(&format!("{}: {shown}\n", param.name));
            }
        }
        cases.push((binding, given, wanted));
    }
    for backend in Backend::ALL {
        let module = match devices.load(backend, &kernel, Vec::new()) {
            Ok(module) => Some(module),
            Err(NoRun::Absent(_)) => None,
            Err(NoRun::Failed(why)) => return Err(format!("{}: {why}", backend.name())),
            Err(NoRun::Refused(why)) => {
                ran.refusals
                    .push_str(&format!("{} refuses: {why}\n", backend.name()));
                continue;
            }
        };
        let legal = backend.legal(&kernel).map_err(|why| format!("{why:?}"))?;
        for (binding, given, wanted) in &cases {
            let says = |why: String| format!("{} with {binding:?}: {why}", backend.name());
            let mut got = given.clone();
            interpreted(&legal, binding, &mut got).map_err(says)?;
            same(&kernel, class, wanted, &got)
                .map_err(|why| says(format!("in its words: {why}")))?;
            for memory in [Memory::Arena, Memory::Host] {
                let Some(module) = &module else { continue };
                let mut got = given.clone();
                launched(module.as_ref(), &kernel, binding, &mut got, memory).map_err(says)?;
                same(&kernel, class, wanted, &got)
                    .map_err(|why| says(format!("{memory:?}: {why}")))?;
            }
        }
    }
    Ok(ran)
}

/// What a back end prints for a kernel, which runs besides; other back ends' refusals are comments.
pub(crate) fn print(text: &str, backend: Backend, devices: &Devices) -> Result<String, String> {
    let ran = run(text, devices)?;
    let legal = backend
        .legal(&kernel(text)?)
        .map_err(|why| format!("{why:?}"))?;
    let printed = match backend {
        Backend::Wgpu => alula_wgpu::emit_kernel(&legal)
            .map(|e| e.text)
            .map_err(|e| e.to_string()),
        Backend::Cuda => alula_cuda::emit_kernel(&legal)
            .map(|e| e.text)
            .map_err(|e| e.to_string()),
        // As it goes into the code generator, which is the same for every processor.
        Backend::Cpu => {
            let dump = Dump {
                clif: true,
                asm: false,
            };
            let target = CpuTarget::narrow().map_err(|e| e.to_string())?;
            let emitted = alula_cpu::emit_kernel(&legal, &target, dump);
            let text = emitted.map(|e| e.clif.unwrap_or_default());
            text.map_err(|e| e.to_string())
        }
        Backend::Interpreter => Err("it prints no text".to_owned()),
    };
    let refusals = ran.refusals.lines().map(|line| format!("// {line}\n"));
    Ok(printed? + &refusals.collect::<String>())
}

fn kernel(text: &str) -> Result<Kernel, String> {
    let kernel = parse_kernel(text).map_err(|error| error.to_string())?;
    verify(&kernel).map_err(|errors| format!("{errors:?}"))?;
    Ok(kernel)
}

/// The class that the text names.
fn class(text: &str) -> Result<Class, String> {
    let named = text.lines().find_map(|line| line.strip_prefix("; within:"));
    match named.map_or("rounded", str::trim) {
        "exact" => Ok(Class::Exact),
        "rounded" => Ok(Class::Rounded),
        "function" => Ok(Class::Function),
        "reduction" => Ok(Class::Reduction),
        "normalization" => Ok(Class::Normalization),
        other => Err(format!("there is no class {other}")),
    }
}

/// The elements that the text gives for parameters.
fn fills(text: &str) -> Result<BTreeMap<&str, Vec<&str>>, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("; fill:"));
    lines
        .map(|line| {
            let (name, values) = line.split_once('=').ok_or("a fill is NAME = ELEMENTS")?;
            Ok((name.trim(), values.split(',').map(str::trim).collect()))
        })
        .collect()
}

/// The bytes of every parameter before the launch.
fn inputs(
    kernel: &Kernel,
    binding: &Binding,
    fills: &BTreeMap<&str, Vec<&str>>,
) -> Result<Vec<Vec<u8>>, String> {
    let mut random = SplitMix64::new(7);
    let mut input = |param: &Param| {
        let elements = param.elements.eval(&|symbol| binding.get(symbol).copied());
        let count = elements.map_err(|error| error.to_string())?;
        let count = usize::try_from(count).map_err(|error| error.to_string())?;
        let dtype = param.dtype;
        if param.access == Access::Write {
            return Ok(vec![0; count * dtype.size_bytes()]);
        }
        let Some(fill) = fills.get(param.name.as_str()) else {
            return Ok(draw(&mut random, dtype, &[count], Draw::of(dtype))
                .bytes()
                .to_vec());
        };
        let scalar = |text: &&str| -> Result<Scalar, String> {
            let says =
                |what: &dyn std::fmt::Display| format!("'{text}' for {}: {what}", param.name);
            let value = match (dtype.is_float(), *text) {
                (_, "true") => Scalar::Int(1),
                (_, "false") => Scalar::Int(0),
                (true, text) => Scalar::Float(text.parse::<f64>().map_err(|e| says(&e))?),
                (false, text) => Scalar::Int(text.parse::<i128>().map_err(|e| says(&e))?),
            };
            Ok(value.cast(dtype))
        };
        let given: Vec<Scalar> = fill.iter().map(scalar).collect::<Result<_, _>>()?;
        let values: Vec<Scalar> = given.into_iter().cycle().take(count).collect();
        let tensor = Tensor::from_scalars(dtype, &[count], &values);
        Ok(tensor.map_err(|error| error.to_string())?.bytes().to_vec())
    };
    kernel.params.iter().map(&mut input).collect()
}

fn interpreted(kernel: &Kernel, binding: &Binding, buffers: &mut [Vec<u8>]) -> Result<(), String> {
    let mut lent: Vec<Bytes<'_>> = buffers.iter_mut().map(|b| Bytes::Write(b)).collect();
    let bind = |symbol: &Symbol| binding.get(symbol).copied();
    let ran = interpret::run(kernel, &mut lent, &bind, Options::default());
    ran.map(|_| ()).map_err(|error| error.to_string())
}

fn launched(
    module: &dyn Module,
    kernel: &Kernel,
    binding: &Binding,
    buffers: &mut [Vec<u8>],
    memory: Memory,
) -> Result<(), String> {
    let symbols = kernel
        .symbols
        .iter()
        .map(|symbol| binding.get(symbol).copied());
    let symbols: Option<Vec<i64>> = symbols.collect();
    let symbols = symbols.ok_or("a symbol has no value")?;
    launch(module, kernel, &symbols, buffers, memory).map_err(|error| error.to_string())
}

/// Whether all parameters hold what they must.
fn same(kernel: &Kernel, class: Class, wanted: &[Vec<u8>], got: &[Vec<u8>]) -> Result<(), String> {
    for ((param, wanted), got) in kernel.params.iter().zip(wanted).zip(got) {
        let (wanted, got) = (tensor(param.dtype, wanted)?, tensor(param.dtype, got)?);
        if !param.dtype.is_float() {
            let (wanted, got) = (wanted.to_scalars(), got.to_scalars());
            if let Some(k) = (0..wanted.len()).find(|&k| wanted[k] != got[k]) {
                let (wanted, got) = (wanted[k], got[k]);
                return Err(format!("{}[{k}] is {got:?}, not {wanted:?}", param.name));
            }
            continue;
        }
        let report = compare(&wanted.to_f64s(), &got.to_f64s(), class, param.dtype);
        if !report.is_ok() {
            return Err(format!("{}: {report}", param.name));
        }
    }
    Ok(())
}

fn tensor(dtype: DType, bytes: &[u8]) -> Result<Tensor, String> {
    let count = bytes.len() / dtype.size_bytes();
    let tensor = Tensor::from_storage(dtype, &[count], Storage::copy_from(bytes));
    tensor.map_err(|error| error.to_string())
}
