//! Finds all ways in which a pattern matches at a value.

use alula_ir::{Attr, Graph, NodeId, ValueId};
use alula_tensor::{DType, Scalar};

use super::{AttrPat, HoleKind, Literal, Match, NodePat, Pat, Pattern, splat_of};

/// Most ways of matching at one place; more than one arises from commutative operators only.
const WAYS_MAX: usize = 8;

/// Every way in which `pattern` matches with its root at `node`.
pub(crate) fn matches<'p>(graph: &Graph, pattern: &'p Pattern, node: NodeId) -> Vec<Match<'p>> {
    let root = &pattern.root;
    let Some(&result) = graph.node(node).results.get(root.result) else {
        return Vec::new();
    };
    let mut search = Search {
        graph,
        pattern,
        values: vec![None; pattern.values.len()],
        attrs: vec![None; pattern.attrs.len()],
        nodes: Vec::new(),
        found: Vec::new(),
    };
    search.node(root, result, &[]);
    search.found
}

type Goal<'p> = (&'p Pat, Option<ValueId>);

struct Search<'g, 'p> {
    graph: &'g Graph,
    pattern: &'p Pattern,
    values: Vec<Option<ValueId>>,
    attrs: Vec<Option<Attr>>,
    nodes: Vec<NodeId>,
    found: Vec<Match<'p>>,
}

impl<'p> Search<'_, 'p> {
    /// Meets the last goal and then the others; records every way to meet all.
    fn solve(&mut self, goals: &[Goal<'p>]) {
        let Some(((pat, value), rest)) = goals.split_last() else {
            return self.record();
        };
        match (pat, value) {
            (Pat::Absent, None) | (Pat::Hole { optional: true, .. }, None) => self.solve(rest),
            (Pat::Hole { slot, kind, .. }, Some(value)) => match self.values[*slot] {
                Some(bound) if bound == *value => self.solve(rest),
                Some(_) => {}
                None if self.fits(*kind, *value) => {
                    self.values[*slot] = Some(*value);
                    self.solve(rest);
                    self.values[*slot] = None;
                }
                None => {}
            },
            (Pat::Literal(literal), Some(value)) => {
                if is_literal(self.graph, *value, *literal) {
                    self.solve(rest);
                }
            }
            (Pat::Node(node), Some(value)) => self.node(node, *value, rest),
            (Pat::Absent, Some(_)) | (_, None) => {}
        }
    }

    fn record(&mut self) {
        let root = self.nodes[0];
        if self.found.len() < WAYS_MAX {
            self.found.push(Match {
                pattern: self.pattern,
                root,
                result: self.graph.node(root).results[self.pattern.root.result],
                values: self.values.clone(),
                attrs: self.attrs.clone(),
                nodes: self.nodes.clone(),
            });
        }
    }

    fn fits(&self, kind: HoleKind, value: ValueId) -> bool {
        let dtype = || self.graph.ty(value).as_tensor().map(|ty| ty.dtype);
        match kind {
            HoleKind::Any => true,
            HoleKind::Constant => self.graph.as_constant(value).is_some(),
            HoleKind::Splat => splat_of(self.graph, value).is_some(),
            HoleKind::Class(class) => dtype().is_some_and(|dtype| dtype.class() == class),
            HoleKind::Integer => dtype().is_some_and(|dtype| dtype.is_integer()),
        }
    }

    fn node(&mut self, pat: &'p NodePat, value: ValueId, rest: &[Goal<'p>]) {
        let Some(id) = self.graph.producer(value) else {
            return;
        };
        let node = self.graph.node(id);
        let enough = node.operands.len() >= pat.operands.len();
        // Absent operands at the end are not stored; a pattern may still speak of them.
        let missing = pat.operands.get(node.operands.len()..).unwrap_or_default();
        let may_lack = |pat: &Pat| matches!(pat, Pat::Absent | Pat::Hole { optional: true, .. });
        if !pat.ops.contains(&node.op)
            || node.results.get(pat.result) != Some(&value)
            || !(enough || missing.iter().all(may_lack))
            || (node.operands.len() > pat.operands.len() && !pat.open_operands)
        {
            return;
        }
        let newly_bound = match pat.bind {
            Some(slot) if self.values[slot].is_some_and(|bound| bound != value) => return,
            Some(slot) if self.values[slot].is_none() => Some(slot),
            Some(_) | None => None,
        };
        let saved = self.attrs.clone();
        if !self.attrs(pat, id) {
            self.attrs = saved;
            return;
        }
        if let Some(slot) = newly_bound {
            self.values[slot] = Some(value);
        }
        let is_new = !self.nodes.contains(&id);
        if is_new {
            self.nodes.push(id);
        }
        let operand = |k: usize| node.operands.get(k).copied().flatten();
        let both_ways =
            node.op.traits.commutative && pat.operands.len() == 2 && node.operands.len() == 2;
        for exchanged in [false, true] {
            if exchanged && !both_ways {
                break;
            }
            let mut goals = rest.to_vec();
            for (k, pat) in pat.operands.iter().enumerate().rev() {
                goals.push((pat, operand(if exchanged { 1 - k } else { k })));
            }
            self.solve(&goals);
        }
        if is_new {
            self.nodes.retain(|known| *known != id);
        }
        if let Some(slot) = newly_bound {
            self.values[slot] = None;
        }
        self.attrs = saved;
    }

    fn attrs(&mut self, pat: &NodePat, id: NodeId) -> bool {
        let node = self.graph.node(id);
        for (name, expected) in &pat.attrs {
            let given = node.attrs.get(name);
            match expected {
                AttrPat::Value(value) => {
                    if given != Some(value) {
                        return false;
                    }
                }
                AttrPat::Hole(slot) => match (&self.attrs[*slot], given) {
                    (None, given) => self.attrs[*slot] = given.cloned(),
                    (Some(bound), Some(given)) if bound == given => {}
                    (Some(_), _) => return false,
                },
            }
        }
        pat.open_attrs
            || node.op.attrs.iter().all(|spec| {
                pat.attrs.iter().any(|(name, _)| name == spec.name)
                    || node.attrs.get(spec.name) == spec.default_value().as_ref()
            })
    }
}

/// Whether a constant is a literal, as its dtype holds it.
fn is_literal(graph: &Graph, value: ValueId, literal: Literal) -> bool {
    let Some(tensor) = graph.as_constant(value) else {
        return false;
    };
    let Some(given) = splat_of(graph, value) else {
        return false;
    };
    let (given, dtype) = (given.to_f64(), tensor.dtype());
    if !literal.is_near {
        return match dtype.is_float() {
            true => given == Scalar::Float(literal.value).cast(dtype).to_f64(),
            false => given == literal.value,
        };
    }
    let part = match dtype {
        DType::F32 | DType::F64 => f64::from(1 << 17),
        DType::F16 => f64::from(1 << 10),
        _ => f64::from(1 << 7),
    };
    (given - literal.value).abs() <= literal.value.abs() / part
}
