//! Rotary position embeddings of halves: `x * cos + concat(-x[h:], x[:h]) * sin`. The operator may round
//! once where its parts round three times.

use alula_ir::{Attrs, Graph, ValueId};
use alula_tensor::Dim;

use crate::axes::axis_of;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

/// Whether a value is a slice of the last axis between these places.
fn cuts(graph: &Graph, found: &Match<'_>, name: &str, from: i64, to: i64, size: i64) -> bool {
    let attrs = &graph.node(found.node(graph, name)).attrs;
    let rank = graph
        .ty(found.value("x"))
        .as_tensor()
        .map_or(0, |ty| ty.rank());
    let place = |name: &str| {
        let [at] = attrs.dims(name) else { return None };
        let at = at.as_const()?;
        Some((if at < 0 { at.saturating_add(size) } else { at }).clamp(0, size))
    };
    let is_plain = !attrs.has("steps") || attrs.ints("steps") == [1];
    let is_last = matches!(attrs.ints("axes"), [axis] if axis_of(*axis, rank) + 1 == rank);
    is_plain && is_last && place("starts") == Some(from) && place("ends") == Some(to)
}

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let graph = patch.graph();
    let shape = patch.shape(found.value("x"))?;
    let rank = shape.len();
    let size = shape.last().and_then(Dim::as_const).ok_or(Miss::NONE)?;
    let joined = &graph.node(found.node(graph, "j")).attrs;
    fits(axis_of(joined.int("axis"), rank) + 1 == rank && size % 2 == 0)?;
    let half = size / 2;
    let halves = if found.optional("l").is_some() {
        cuts(graph, found, "l", 0, half, size) && cuts(graph, found, "h", half, size, size)
    } else {
        let split = &graph.node(found.node(graph, "p")).attrs;
        let sizes: Vec<Dim> = split.dims("sizes").to_vec();
        axis_of(split.int("axis"), rank) + 1 == rank && sizes == [Dim::new(half), Dim::new(half)]
    };
    require(halves, "x is not cut into halves")?;
    let operands = [found.value("x"), found.value("cos"), found.value("sin")];
    patch.apply("rotary", &operands, Attrs::new())
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_rotary",
    "x * cos + concat(-x[h:], x[:h]) * sin becomes rotary(x, cos, sin)",
)
.matching(&[
    "add(mul(?x:float, ?cos), mul(%j=concat(neg(%h=slice(?x){..}), %l=slice(?x){..}){..}, ?sin))",
    "add(mul(?x:float, ?cos), mul(%j=concat(neg(split#1(?x){..}), %p=split(?x){..}){..}, ?sin))",
])
.build(build);
