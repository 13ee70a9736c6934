//! Replaces integer values whose elements inference knows: by constants where they are numbers, by
//! the operator `dims` where they are expressions of symbols and the value is made by arithmetic.
//! The chains of operators that computed them die.

use std::collections::BTreeSet;

use alula_ir::{Attrs, Def, Graph, Origin, ValueId};
use alula_tensor::{DType, Dim, Scalar, Tensor, TensorType};

/// Replaces what is known; returns how many values.
pub(crate) fn place_known_content(graph: &mut Graph) -> usize {
    let known: Vec<ValueId> = graph
        .values()
        .filter(|(_, value)| value.content.is_some() && matches!(value.def, Def::Result { .. }))
        .map(|(id, _)| id)
        .collect();
    let mut count = 0;
    for id in known {
        if graph.num_uses(id) > 0 && place(graph, id).is_some() {
            count += 1;
        }
    }
    count
}

fn place(graph: &mut Graph, id: ValueId) -> Option<()> {
    let value = graph.value(id);
    let content = value.content.clone()?;
    let ty = value.ty.as_tensor()?.clone();
    let shape = ty.static_shape()?;
    if shape.iter().product::<usize>() != content.len() {
        return None;
    }
    let numbers: Option<Vec<i64>> = content.iter().map(Dim::as_const).collect();
    let new = match numbers {
        Some(numbers) => {
            let scalars: Vec<Scalar> = numbers
                .iter()
                .map(|value| Scalar::Int(i128::from(*value)))
                .collect();
            // What does not fit the dtype has wrapped at run time.
            let fits = scalars.iter().all(|value| value.cast(ty.dtype) == *value);
            let tensor = Tensor::from_scalars(ty.dtype, &shape, &scalars).ok()?;
            fits.then(|| graph.constant(tensor))?
        }
        None => dims(graph, id, content, &ty)?,
    };
    graph.replace(id, new).ok()
}

fn dims(graph: &mut Graph, id: ValueId, content: Vec<Dim>, ty: &TensorType) -> Option<ValueId> {
    let producer = graph.producer(id)?;
    let node = graph.node(producer);
    // `as_dims` makes the symbols; `dims` is what this makes.
    if matches!(node.op.name, "dims" | "as_dims") || node.op.traits.control_flow {
        return None;
    }
    let (name, op) = (node.name.clone(), alula_ops::registry().get("dims")?);
    if ty.rank() > 1 || ty.dtype != DType::I64 || !come_from_inputs(graph, &content) {
        return None;
    }
    let attrs = Attrs::new()
        .with("values", content)
        .with("scalar", ty.rank() == 0);
    graph.apply(op, &[], attrs, &name).ok()
}

/// Whether all symbols are extents of inputs. Those that a node binds while it runs are kept as
/// they are computed, so that nothing comes before what it depends on.
fn come_from_inputs(graph: &Graph, dims: &[Dim]) -> bool {
    let mut symbols = BTreeSet::new();
    dims.iter()
        .for_each(|dim| dim.collect_symbols(&mut symbols));
    symbols
        .iter()
        .all(|symbol| matches!(graph.origins().get(symbol), Some(Origin::Input { .. })))
}
