//! `SequenceMap`: a sub-graph over the elements of sequences, as a `loop`.

use alula_ir::{Attr, Attrs, ValueId};
use alula_ops::control::LOOP;
use alula_ops::host_ops::{SEQUENCE_AT, SEQUENCE_EMPTY, SEQUENCE_INSERT, SEQUENCE_LENGTH};
use alula_tensor::{DType, Tensor, TensorType, ValueType};

use super::{Built, Row, RowCtx, RowError, row};
use crate::proto::GraphProto;

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row("SequenceMap", &[17], &["body"], sequence_map)];

/// The loop's body: carried sequences get one element more. Returns the types of those elements.
fn body(
    ctx: &mut RowCtx<'_, '_>,
    proto: &GraphProto,
    (carried, given): (&[ValueType], &[ValueType]),
) -> Result<(alula_ir::Graph, Vec<ValueId>, Vec<TensorType>), RowError> {
    let mut elements = Vec::new();
    let (graph, captures) = ctx.in_graph("map", |ctx| {
        let at = ctx
            .graph()
            .input("iteration", TensorType::of(DType::I64, &[]));
        ctx.graph()
            .input("goes_on", TensorType::of(DType::Bool, &[]));
        let mut lists = Vec::new();
        for (k, ty) in carried.iter().enumerate() {
            lists.push(ctx.graph().input(format!("list{k}"), ty.clone()));
        }
        let mut inputs = Vec::new();
        for (k, ty) in given.iter().enumerate() {
            let input = ctx.graph().input(format!("operand{k}"), ty.clone());
            inputs.push(match ty {
                ValueType::Sequence(_) => ctx.op(&SEQUENCE_AT, &[input, at])?,
                _ => input,
            });
        }
        let results = ctx.inline_graph(proto, &inputs)?;
        let on = Tensor::from_bools(&[], &[true]);
        let on = on.map_err(|error| RowError::Invalid(error.to_string()))?;
        let on = ctx.constant(on);
        ctx.graph().output("goes_on", on);
        for (k, &result) in results.iter().enumerate() {
            elements.push(ctx.ty(result)?);
            if let Some(&list) = lists.get(k) {
                let list = ctx.op(&SEQUENCE_INSERT, &[list, result])?;
                ctx.graph().output(format!("list{k}"), list);
            }
        }
        Ok(())
    })?;
    Ok((graph, captures, elements))
}

fn sequence_map(ctx: &mut RowCtx<'_, '_>) -> Built {
    let proto = ctx.graph_attr("body")?;
    let inputs = ctx.all_inputs()?;
    let given: Vec<ValueType> = inputs.iter().map(|&value| ctx.value_type(value)).collect();
    let first = *inputs
        .first()
        .ok_or_else(|| RowError::Invalid("there is no sequence".to_owned()))?;
    // What the body makes says what the sequences hold.
    let (_, _, elements) = body(ctx, proto, (&[], &given))?;
    let mut lists = Vec::new();
    for ty in elements {
        let attrs = Attrs::new()
            .with("dtype", ty.dtype)
            .with("rank", ty.rank() as i64);
        lists.push(ctx.push(&SEQUENCE_EMPTY, &[], attrs)?);
    }
    let carried: Vec<ValueType> = lists.iter().map(|&list| ctx.value_type(list)).collect();
    let (graph, captures, _) = body(ctx, proto, (&carried, &given))?;
    let trips = ctx.op(&SEQUENCE_LENGTH, &[first])?;
    let mut operands = vec![Some(trips), None];
    operands.extend(
        lists
            .iter()
            .chain(&inputs)
            .chain(&captures)
            .copied()
            .map(Some),
    );
    let attrs = Attrs::new()
        .with("carried", lists.len() as i64)
        .with("body", Attr::Graph(Box::new(graph)));
    let name = ctx.name().to_owned();
    let wanted = lists.len();
    Ok(ctx
        .graph()
        .push_with_results(&LOOP, &operands, attrs, &name, wanted)?)
}
