//! Branches, loops, and operators whose extents the data decide.

use alula_ir::{Attr, Attrs, Graph, ValueId};
use alula_ops::registry;
use alula_tensor::{DType, TensorType};

use super::{Draw, Maker};

/// A few operators on the graph's first inputs; gives a value of the type of input `of`.
fn body(maker: &mut Maker, graph: &mut Graph, of: ValueId, with: Option<ValueId>) -> ValueId {
    let dtype = graph.ty(of).as_tensor().map_or(DType::F32, |ty| ty.dtype);
    let mut value = of;
    for _ in 0..1 + maker.random.below(3) {
        let (op, other) = match (maker.random.below(4), with, dtype.is_float()) {
            (0, Some(other), _) => ("add", Some(other)),
            (1, Some(other), _) => ("max", Some(other)),
            (2, _, true) => ("tanh", None),
            (3, _, true) => ("sigmoid", None),
            _ => ("relu", None),
        };
        let row = registry().get(op).expect("a known operator");
        let operands: Vec<ValueId> = [Some(value), other].into_iter().flatten().collect();
        if let Ok(next) = graph.apply(row, &operands, Attrs::new(), "inner") {
            value = next;
        }
    }
    value
}

/// `if` and `loop`.
pub(super) fn branch_or_loop(maker: &mut Maker) -> Option<()> {
    let x = maker.pick(|ty| ty.dtype != DType::Bool && ty.dtype != DType::String)?;
    let ty = maker.ty(x).clone();
    let y = maker.pick(|other| *other == ty).unwrap_or(x);
    if maker.random.chance(2) {
        let cond = maker.leaf(DType::Bool, vec![], Draw::Bools);
        let branch = |maker: &mut Maker, name: &str| {
            let mut graph = Graph::new(name);
            let (a, b) = (graph.input("a", ty.clone()), graph.input("b", ty.clone()));
            let result = body(maker, &mut graph, a, Some(b));
            graph.output("r", result);
            Attr::Graph(Box::new(graph))
        };
        let mut attrs = Attrs::new().with("then_inputs", 2_i64);
        attrs.set("then", branch(maker, "then"));
        attrs.set("else", branch(maker, "else"));
        let operands = [cond, x, y, y, x].map(Some);
        maker.push("if", &operands, attrs, 1)?;
        return Some(());
    }
    let trips = maker.leaf(DType::I64, vec![], Draw::Ints(0, 3));
    let mut graph = Graph::new("body");
    let scalar = |dtype| TensorType::new(dtype, vec![]);
    graph.input("i", scalar(DType::I64));
    let cond = graph.input("c", scalar(DType::Bool));
    let (a, b) = (graph.input("a", ty.clone()), graph.input("b", ty));
    let result = body(maker, &mut graph, a, Some(b));
    graph.output("c", cond);
    graph.output("r", result);
    let slices = maker.random.chance(2);
    if slices {
        graph.output("s", result);
    }
    let mut attrs = Attrs::new().with("carried", 1_i64);
    attrs.set("body", Attr::Graph(Box::new(graph)));
    let operands = [Some(trips), None, Some(x), Some(y)];
    maker.push("loop", &operands, attrs, 1 + usize::from(slices))?;
    Some(())
}

/// `nonzero`, `compress`, `unique`, `topk`.
pub(super) fn decided_by_data(maker: &mut Maker) -> Option<()> {
    match maker.random.below(3) {
        0 => {
            let x = maker.pick(|ty| !ty.dtype.is_float())?;
            maker.push("nonzero", &[Some(x)], Attrs::new(), 1)?;
        }
        1 => {
            let x = maker.pick(|ty| ty.rank() > 0)?;
            let extent = maker.shape(x)[0].clone();
            let cond = maker.leaf(DType::Bool, vec![extent], Draw::Bools);
            maker.apply("compress", &[x, cond], Attrs::new().with("axis", 0_i64))?;
        }
        _ => {
            let x = maker.pick(|ty| ty.rank() > 0 && ty.dtype != DType::Bool)?;
            let k = maker.scalar(DType::I64, 1.0);
            let axis = maker.rank(x) as i64 - 1;
            maker.push(
                "topk",
                &[Some(x), Some(k)],
                Attrs::new().with("axis", axis),
                2,
            )?;
        }
    }
    Some(())
}
