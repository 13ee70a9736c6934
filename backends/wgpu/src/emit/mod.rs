//! Kernels to shaders, one module with one entry point for each.
//!
//! A kernel that comes here is legalized for [`is_native`] and built for a GPU; printing takes no
//! decisions. Values that are constants are printed where they are used, all others are `let`s of
//! the kernel's own numbers, so that text and kernel can be read side by side.

mod body;
mod caps;
mod cast;
mod error;
mod functions;
mod kinds;
mod math;
mod memory;
mod ops;
mod repr;
mod validate;

use alula_kernel::{Access, Kernel};
use alula_program::{KernelEntry, KernelParam, ParamAccess};
use alula_tensor::Dim;

use crate::code::{PARAMS_MAX, PARAMS_PORTABLE, POINTS_PER_GROUP, ROW_GROUPS, WgpuKernel};
use body::{Body, size};
pub use caps::{is_native, is_native_cast, is_stored};
pub use error::EmitError;
use repr::Repr;

/// One kernel's shader, not yet placed among others.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// The kernel's place in the program; `code` is filled in by [`link`].
    pub entry: KernelEntry,
    /// What the device needs; the offset is 0.
    pub kernel: WgpuKernel,
    /// WGSL.
    pub text: String,
}

/// Several kernels, as a program holds them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WgpuCode {
    /// For `Program::kernels`.
    pub kernels: Vec<KernelEntry>,
    /// For `Program::code`.
    pub code: Vec<u8>,
    /// For `Program::features`: `int64` if a kernel computes with 64-bit integers, `buffersN` if
    /// one binds N storage buffers, more than every adapter does.
    pub features: Vec<String>,
}

/// Prints a kernel and validates the text.
///
/// # Errors
/// [`EmitError`] if the kernel needs what WGSL or this back end lacks.
pub fn emit_kernel(kernel: &Kernel) -> Result<Emitted, EmitError> {
    let name = || kernel.name.clone();
    if kernel.params.len() > PARAMS_MAX {
        let (count, max) = (kernel.params.len(), PARAMS_MAX);
        return Err(EmitError::Params {
            kernel: name(),
            count,
            max,
        });
    }
    let points = kernel.num_points();
    let sizes = kernel
        .params
        .iter()
        .map(|param| (param.name.as_str(), &param.elements));
    for (what, dim) in sizes.chain([("the grid", &points)]) {
        if let Some(size) = dim.as_const().filter(|&size| size > i64::from(i32::MAX)) {
            return Err(EmitError::TooLarge {
                kernel: name(),
                what: what.to_owned(),
                size,
            });
        }
    }
    let buffers = memory::buffers(kernel).map_err(|dtype| EmitError::Unsupported {
        kernel: name(),
        what: format!("parameters of {dtype}"),
    })?;
    let mut body = Body::new(kernel, &buffers, kinds::wide_values(kernel));
    let statements = body.print()?;
    let entry = entry_name(&kernel.name);
    let mut text = format!("// {}\n", kernel.name.replace(char::is_control, " "));
    for (position, buffer) in buffers.iter().enumerate() {
        text.push_str(&buffer.declare(position));
    }
    let element_bytes = kernel
        .params
        .iter()
        .map(|param| param.dtype.size_bytes() as u32)
        .collect();
    let points_per_group = if kernel.lanes > 1 {
        1
    } else {
        POINTS_PER_GROUP
    };
    let mut data = WgpuKernel {
        offset: 0,
        len: 0,
        entry: entry.clone(),
        points_per_group,
        points,
        element_bytes,
        dims: body.dims.clone(),
        needs_int64: false,
    };
    let (binding, words) = (buffers.len(), data.sizes() / 4);
    text.push_str(&format!(
        "@group(0) @binding({binding})\nvar<uniform> sizes: array<vec4<i32>, {words}>;\n"
    ));
    locals(kernel, &mut text, "workgroup").map_err(|what| EmitError::Unsupported {
        kernel: name(),
        what,
    })?;
    text.push_str(&body.functions.text());
    text.push_str(&header(kernel, &entry));
    if text_needs_zero(&statements) {
        text.push_str(&format!("  let zero = u32({});\n", size(0)));
    }
    locals(kernel, &mut text, "function").map_err(|what| EmitError::Unsupported {
        kernel: name(),
        what,
    })?;
    text.push_str(&format!(
        "  if (point < {}) {{\n{statements}  }}\n}}\n",
        size(1)
    ));
    data.needs_int64 = text.contains("i64") || text.contains("u64");
    validate::validate(&text).map_err(|detail| EmitError::Invalid {
        kernel: name(),
        detail,
    })?;
    data.len = text.len() as u64;
    Ok(Emitted {
        entry: program_entry(kernel),
        kernel: data,
        text,
    })
}

/// Places shaders one after another, in the order given.
pub fn link(emitted: impl IntoIterator<Item = Emitted>) -> WgpuCode {
    let mut linked = WgpuCode::default();
    let mut buffers = PARAMS_PORTABLE;
    for Emitted {
        mut entry,
        mut kernel,
        text,
    } in emitted
    {
        kernel.offset = linked.code.len() as u64;
        linked.code.extend_from_slice(text.as_bytes());
        if kernel.needs_int64 && linked.features.is_empty() {
            linked.features.push("int64".to_owned());
        }
        buffers = buffers.max(kernel.element_bytes.len());
        entry.code = postcard::to_stdvec(&kernel).expect("plain data can be serialised");
        linked.kernels.push(entry);
    }
    if buffers > PARAMS_PORTABLE {
        linked.features.push(format!("buffers{buffers}"));
    }
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

/// The entry point up to the test that its grid point exists.
fn header(kernel: &Kernel, entry: &str) -> String {
    let (lanes, point) = if kernel.lanes > 1 {
        (kernel.lanes, format!("group.x + group.y * {ROW_GROUPS}u"))
    } else {
        let lanes = POINTS_PER_GROUP;
        (
            lanes,
            format!("(group.x + group.y * {ROW_GROUPS}u) * {lanes}u + lane"),
        )
    };
    format!(
        "@compute @workgroup_size({lanes})\nfn {entry}(\n  @builtin(workgroup_id) group: \
         vec3<u32>,\n  @builtin(local_invocation_index) lane: u32,\n) {{\n  let point = \
         i32({point});\n"
    )
}

fn text_needs_zero(statements: &str) -> bool {
    statements.contains("zero")
}

/// Declares the arrays of one address space.
fn locals(kernel: &Kernel, text: &mut String, space: &str) -> Result<(), String> {
    let shared = kernel.shared_locals();
    for (position, local) in kernel.locals.iter().enumerate() {
        let repr = Repr::of(local.dtype, true)
            .ok_or_else(|| format!("a local array of {}", local.dtype))?;
        let (name, ty) = (
            &local.name,
            format!("array<{}, {}>", repr.name(), local.elements),
        );
        match (space, shared[position]) {
            ("workgroup", true) => {
                text.push_str(&format!("var<workgroup> s{position}_{name}: {ty};\n"));
            }
            ("function", false) => text.push_str(&format!("  var l{position}_{name}: {ty};\n")),
            _ => {}
        }
    }
    Ok(())
}
