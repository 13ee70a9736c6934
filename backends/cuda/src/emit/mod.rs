//! Kernels to PTX, one entry for each.
//!
//! A kernel that comes here is legalized for [`is_native`] and built for a GPU; printing takes no
//! decisions. The text is for sm_75 and the oldest PTX version that knows it; newer devices take
//! it too.

mod body;
mod caps;
mod cast;
mod error;
mod ops;
mod printer;
mod repr;

use alula_kernel::{Access, BufferId, Kernel};
use alula_program::{KernelEntry, KernelParam, ParamAccess};
use alula_tensor::Dim;

use crate::CudaKernel;
use crate::code::POINTS_PER_BLOCK;
use body::Body;
pub use caps::{is_native, is_native_cast, is_stored};
pub use error::EmitError;
use repr::Repr;

/// One kernel's entry, not yet placed among others.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// The kernel's place in the program; `code` is filled in by [`link`].
    pub entry: KernelEntry,
    /// What the device needs.
    pub kernel: CudaKernel,
    /// PTX: the entry, without a module's header.
    pub text: String,
}

/// Several kernels, as a program holds them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CudaCode {
    /// For `Program::kernels`.
    pub kernels: Vec<KernelEntry>,
    /// For `Program::code`: one module.
    pub code: Vec<u8>,
    /// For `Program::features`: the least compute capability.
    pub features: Vec<String>,
}

/// What a module begins with.
const HEADER: &str = ".version 6.3\n.target sm_75\n.address_size 64\n\n";

/// The least compute capability.
const FEATURE: &str = "sm_75";

/// Prints a kernel.
///
/// # Errors
/// [`EmitError`] if the kernel needs what PTX or this back end lacks.
pub fn emit_kernel(kernel: &Kernel) -> Result<Emitted, EmitError> {
    let mut body = Body::new(kernel);
    let printer = &mut body.printer;
    let mut addresses = Vec::new();
    for position in 0..kernel.params.len() {
        let generic = printer.op(Repr::Long, "ld.param.u64", &format!("[param{position}]"));
        addresses.push(printer.op(Repr::Long, "cvta.to.global.u64", &generic));
    }
    let block = printer.op(Repr::Word, "mov.u32", "%ctaid.x");
    let thread = printer.op(Repr::Word, "mov.u32", "%tid.x");
    let scheduled = kernel.lanes > 1;
    let threads = if scheduled {
        kernel.lanes
    } else {
        POINTS_PER_BLOCK
    };
    let mut point = printer.op(Repr::Long, "cvt.u64.u32", &block);
    let mut lane = None;
    if scheduled {
        lane = Some(printer.op(Repr::Long, "cvt.u64.u32", &thread));
    } else {
        let thread = printer.op(Repr::Long, "cvt.u64.u32", &thread);
        let operands = format!("{point}, {threads}, {thread}");
        point = printer.op(Repr::Long, "mad.lo.s64", &operands);
        let points = printer.op(Repr::Long, "ld.param.s64", "[points]");
        let outside = printer.op(Repr::Pred, "setp.ge.s64", &format!("{point}, {points}"));
        printer.line(&format!("@{outside} bra $end"));
    }
    for (position, address) in addresses.into_iter().enumerate() {
        body.set_address(BufferId::Param(position as u32), address);
    }
    body.print(point, lane)?;
    body.printer.place("$end");
    body.printer.line("ret");
    let name = entry_name(&kernel.name);
    let (dims, instructions) = (body.dims, body.printer.finish());
    let params = (0..kernel.params.len()).map(|position| format!("\t.param .u64 param{position}"));
    let sizes = (0..dims.len()).map(|position| format!("\t.param .s64 dim{position}"));
    let listed: Vec<String> = params
        .chain(["\t.param .s64 points".to_owned()])
        .chain(sizes)
        .collect();
    let text = format!(
        ".visible .entry {name}(\n{}\n)\n.maxntid {threads}, 1, 1\n{{\n{}{instructions}}}\n",
        listed.join(",\n"),
        arrays(kernel)
    );
    let kernel_data = CudaKernel {
        entry: name,
        threads,
        points_per_block: if scheduled { 1 } else { POINTS_PER_BLOCK },
        points: kernel.num_points(),
        dims,
    };
    Ok(Emitted {
        entry: program_entry(kernel),
        kernel: kernel_data,
        text,
    })
}

/// A module with one entry.
pub fn module_text(emitted: &Emitted) -> String {
    format!("{HEADER}{}", emitted.text)
}

/// Places entries into one module, in the order given; their names get their positions.
pub fn link(emitted: impl IntoIterator<Item = Emitted>) -> CudaCode {
    let mut linked = CudaCode {
        features: vec![FEATURE.to_owned()],
        ..CudaCode::default()
    };
    let mut text = HEADER.to_owned();
    for (
        position,
        Emitted {
            mut entry,
            mut kernel,
            text: body,
        },
    ) in emitted.into_iter().enumerate()
    {
        let name = format!("k{position}{}", &kernel.entry[1..]);
        let (old, new) = (format!(" {}(", kernel.entry), format!(" {name}("));
        text.push_str(&body.replacen(&old, &new, 1));
        text.push('\n');
        kernel.entry = name;
        entry.code = postcard::to_stdvec(&kernel).expect("plain data can be serialised");
        linked.kernels.push(entry);
    }
    linked.code = text.into_bytes();
    linked
}

fn program_entry(kernel: &Kernel) -> KernelEntry {
    let params = kernel.params.iter().map(|param| KernelParam {
        access: match param.access {
            Access::Read => ParamAccess::Read,
            Access::Write | Access::ReadWrite => ParamAccess::Write,
        },
        bytes: param.elements.clone() * Dim::from(param.dtype.size_bytes()),
    });
    KernelEntry {
        name: kernel.name.clone(),
        params: params.collect(),
        symbols: kernel.symbols.clone(),
        scratch: Dim::new(0),
        work: Dim::new(0),
        code: Vec::new(),
    }
}

/// An identifier that is no word of the language.
fn entry_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("k_{}", name.chars().map(plain).collect::<String>())
}

/// Declares local and shared arrays.
fn arrays(kernel: &Kernel) -> String {
    let shared = kernel.shared_locals();
    let declare = |(position, local): (usize, &alula_kernel::Local)| {
        let bytes = local.elements as usize * local.dtype.size_bytes();
        let space = if shared[position] { "shared" } else { "local" };
        format!("\t.{space} .align 16 .b8 {space}{position}[{bytes}];\n")
    };
    kernel.locals.iter().enumerate().map(declare).collect()
}
