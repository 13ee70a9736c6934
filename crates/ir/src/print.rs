//! The canonical text of a graph.
//!
//! ```text
//! graph @main(%x: f32[N, 4]) {
//!   %w = const f32[4] [1.0, 2.0, 3.0, 4.0]
//!   %0 = add %x, %w : f32[N, 4]
//!   return y: %0
//! }
//! ```
//!
//! Annotations follow the extents of a type: `quant<u8, scale [0.5], zero [128]>`,
//! `sparse<2:4, axis 0, zeros 500>`.
//!
//! Constants of more than 64 elements print as `blob "hash"` and need their data from elsewhere
//! when parsed; constants of one repeated value print as `splat value`.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use alula_tensor::{DTypeClass, Scalar, Tensor};

use crate::{Attr, Graph, NodeId, Requirement, ValueId};

/// Most elements that are printed one by one.
const INLINE_MAX: usize = 64;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("graph ")?;
        self.write_body(f, 0)?;
        f.write_char('\n')
    }
}

impl Graph {
    fn write_body(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        let names = self.text_names();
        let pad = "  ".repeat(indent);
        write!(f, "@{}(", word(&self.name))?;
        for (position, input) in self.inputs().iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}%{}: {}", names[input], self.ty(*input))?;
        }
        f.write_str(") {\n")?;
        for (id, _) in self.values() {
            if let Some(tensor) = self.as_constant(id) {
                write!(f, "{pad}  %{} = const {} ", names[&id], self.ty(id))?;
                write_elements(f, tensor)?;
                f.write_char('\n')?;
            }
        }
        for node in self.nodes() {
            write!(f, "{pad}  ")?;
            self.write_node(f, node, &names, indent)?;
            f.write_char('\n')?;
        }
        for requirement in self.requirements() {
            let Requirement {
                left,
                right,
                who,
                reason,
            } = requirement;
            write!(f, "{pad}  require [{left}, {right}] {who:?}")?;
            match reason {
                Some(reason) => writeln!(f, " because {reason:?}")?,
                None => f.write_char('\n')?,
            }
        }
        write!(f, "{pad}  return")?;
        for (position, (name, value)) in self.outputs().iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma} {}: %{}", word(name), names[value])?;
        }
        write!(f, "\n{pad}}}")
    }

    fn write_node(
        &self,
        f: &mut fmt::Formatter<'_>,
        id: NodeId,
        names: &BTreeMap<ValueId, String>,
        indent: usize,
    ) -> fmt::Result {
        let node = self.node(id);
        for (position, result) in node.results.iter().enumerate() {
            write!(
                f,
                "{}%{}",
                if position == 0 { "" } else { ", " },
                names[result]
            )?;
        }
        write!(f, " = {}", node.op.name)?;
        for (position, operand) in node.operands.iter().enumerate() {
            f.write_str(if position == 0 { " " } else { ", " })?;
            match operand {
                Some(value) => write!(f, "%{}", names[value])?,
                None => f.write_str("_")?,
            }
        }
        let shown: Vec<_> = node
            .attrs
            .iter()
            .filter(|(name, value)| {
                node.op
                    .attr(name)
                    .and_then(crate::AttrSpec::default_value)
                    .as_ref()
                    != Some(value)
            })
            .collect();
        if !shown.is_empty() {
            f.write_str(" {")?;
            for (position, (name, value)) in shown.into_iter().enumerate() {
                write!(f, "{}{name} = ", if position == 0 { "" } else { ", " })?;
                write_attr(f, value, indent + 1)?;
            }
            f.write_str("}")?;
        }
        for (position, result) in node.results.iter().enumerate() {
            write!(
                f,
                "{} {}",
                if position == 0 { " :" } else { "," },
                self.ty(*result)
            )?;
        }
        Ok(())
    }

    /// One node as a line of text, for messages.
    pub fn node_text(&self, id: NodeId) -> String {
        struct Line<'g>(&'g Graph, NodeId);
        impl fmt::Display for Line<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write_node(f, self.1, &self.0.text_names(), 0)
            }
        }
        Line(self, id).to_string()
    }
}

/// A name as it is, or quoted where it has characters beyond words.
fn word(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

fn write_list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut write_item: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_char('[')?;
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        write_item(f, item)?;
    }
    f.write_char(']')
}

fn write_attr(f: &mut fmt::Formatter<'_>, attr: &Attr, indent: usize) -> fmt::Result {
    match attr {
        Attr::Bool(value) => write!(f, "{value}"),
        Attr::Int(value) => write!(f, "{value}"),
        Attr::Float(value) => write!(f, "{value:?}"),
        Attr::Str(value) => write!(f, "{value:?}"),
        Attr::DType(value) => write!(f, "{value}"),
        Attr::Ints(values) => write_list(f, values, |f, v| write!(f, "{v}")),
        Attr::Floats(values) => write_list(f, values, |f, v| write!(f, "{v:?}")),
        Attr::Strs(values) => write_list(f, values, |f, v| write!(f, "{v:?}")),
        Attr::Dims(values) => write_list(f, values, |f, v| write!(f, "{v}")),
        Attr::Tensor(tensor) => {
            write!(f, "{} ", tensor.ty())?;
            write_elements(f, tensor)
        }
        Attr::Graph(graph) => {
            f.write_str("graph ")?;
            graph.write_body(f, indent)
        }
    }
}

fn write_elements(f: &mut fmt::Formatter<'_>, tensor: &Tensor) -> fmt::Result {
    if let Some(strings) = tensor.strings() {
        return write_list(f, strings, |f, s| write!(f, "{s:?}"));
    }
    let size = tensor.dtype().size_bytes();
    let bytes = tensor.bytes();
    let is_bool = tensor.dtype().class() == DTypeClass::Bool;
    let write_one = |f: &mut fmt::Formatter<'_>, value: &Scalar| match value {
        Scalar::Float(value) => write!(f, "{value:?}"),
        Scalar::Int(value) if is_bool => write!(f, "{}", *value != 0),
        Scalar::Int(value) => write!(f, "{value}"),
    };
    if tensor.len() > 1
        && bytes
            .chunks_exact(size)
            .all(|chunk| chunk == &bytes[..size])
    {
        let value = Scalar::load(tensor.dtype(), &bytes[..size]);
        f.write_str("splat ")?;
        return write_one(f, &value);
    }
    if tensor.len() <= INLINE_MAX {
        let values = tensor.to_scalars();
        return write_list(f, &values, |f, v| write_one(f, v));
    }
    write!(f, "blob \"{}\"", blake3::hash(bytes).to_hex())
}

/// Graphs are equal when they print the same: names and order count, ids do not.
impl PartialEq for Graph {
    fn eq(&self, other: &Graph) -> bool {
        self.to_string() == other.to_string()
    }
}
