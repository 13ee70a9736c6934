//! The greedy pass that merges items, producers first.

use std::collections::{BTreeMap, BTreeSet};

use alula_ir::{Graph, Origin, ValueId};
use alula_kernel::{Compute, Contract, Expr};
use alula_tensor::{DType, Dim, ScalarOp};

use super::inline::{dependencies, inline, into_contract, into_epilogue, reachable};
use super::wanted::{Wanted, labels};
use super::{Decision, FusionReport, Item, Strategy, Work};

/// Most expressions of a fused definition.
const EXPRS_MAX: usize = 600;

/// Whether a contraction with a longer epilogue is worth it, beside the same without; the reason if
/// not.
pub type EpilogueCost = fn(&Contract, &Contract) -> Result<(), String>;

/// What may fuse.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'r> {
    /// The strategy, which a list of groups overrules.
    pub strategy: Strategy,
    /// Groups by the labels of nodes, and nothing else fuses.
    pub groups: Option<&'r [Vec<String>]>,
    /// Most values that a fused definition loads.
    pub operands_max: usize,
    /// What a target says of a contraction, and of the same with more in its epilogue.
    pub epilogue: Option<EpilogueCost>,
}

impl From<Strategy> for Rules<'_> {
    fn from(strategy: Strategy) -> Self {
        Rules {
            strategy,
            groups: None,
            operands_max: 12,
            epilogue: None,
        }
    }
}

/// Merges items. The order stays topological.
///
/// # Errors
/// Groups that name no node or cannot be one kernel, all of them; none without groups.
pub fn cluster<'r>(
    graph: &Graph,
    items: Vec<Item>,
    rules: impl Into<Rules<'r>>,
) -> Result<(Vec<Item>, FusionReport), String> {
    let labels = labels(graph, &items);
    let mut fusion = Fusion::new(graph, items, rules.into(), &labels)?;
    for consumer in 0..fusion.items.len() {
        fusion.visit(consumer);
    }
    for consumer in std::mem::take(&mut fusion.put_off) {
        fusion.try_epilogue(consumer);
    }
    let made = fusion.items.iter().zip(&fusion.parts);
    let made: Vec<(&Item, &BTreeSet<usize>)> = made
        .filter_map(|(item, parts)| Some((item.as_ref()?, parts)))
        .collect();
    if let Some(wanted) = &fusion.wanted {
        let made = made.iter().map(|(_, parts)| (*parts).clone()).collect();
        wanted.check(&labels, &made, &fusion.refusals)?;
    }
    let names = |item: &Item| {
        let names = item.nodes.iter().map(|id| graph.node(*id).name.clone());
        names.collect()
    };
    let report = FusionReport {
        graph: graph.name.clone(),
        labels: made
            .iter()
            .map(|(_, parts)| parts.iter().map(|&k| labels[k].clone()).collect())
            .collect(),
        groups: made.iter().map(|(item, _)| names(item)).collect(),
        decisions: std::mem::take(&mut fusion.decisions),
    };
    Ok((fusion.items.into_iter().flatten().collect(), report))
}

struct Fusion<'g> {
    graph: &'g Graph,
    strategy: Strategy,
    operands_max: usize,
    epilogue: Option<EpilogueCost>,
    wanted: Option<Wanted>,
    items: Vec<Option<Item>>,
    /// The items that each one is made of by now.
    parts: Vec<BTreeSet<usize>>,
    /// The item that makes each value.
    maker: BTreeMap<ValueId, usize>,
    /// The items that read each value.
    readers: BTreeMap<ValueId, BTreeSet<usize>>,
    /// Values that must exist in memory whoever reads them.
    kept: BTreeSet<ValueId>,
    /// Items that are epilogues only if nobody else takes them.
    put_off: Vec<usize>,
    decisions: Vec<Decision>,
    /// The same by items, producer and consumer.
    refusals: Vec<(usize, usize, String)>,
}

impl<'g> Fusion<'g> {
    fn new(
        graph: &'g Graph,
        items: Vec<Item>,
        rules: Rules<'_>,
        labels: &[String],
    ) -> Result<Fusion<'g>, String> {
        let wanted = rules.groups.map(|groups| Wanted::new(labels, groups));
        let mut kept: BTreeSet<ValueId> = graph.outputs().iter().map(|(_, id)| *id).collect();
        for origin in graph.origins().values() {
            if let Origin::Content { value, .. } | Origin::Extent { value, .. } = origin {
                kept.insert(*value);
            }
        }
        let (mut maker, mut readers) = (BTreeMap::new(), BTreeMap::<_, BTreeSet<_>>::new());
        for (position, item) in items.iter().enumerate() {
            maker.extend(item.results.iter().map(|id| (*id, position)));
            for id in item.reads() {
                readers.entry(id).or_default().insert(position);
            }
        }
        let parts = (0..items.len()).map(|k| BTreeSet::from([k])).collect();
        let items = items.into_iter().map(Some).collect();
        Ok(Fusion {
            graph,
            strategy: match rules.groups {
                Some(_) => Strategy::Auto,
                None => rules.strategy,
            },
            operands_max: rules.operands_max,
            epilogue: rules.epilogue,
            wanted: wanted.transpose()?,
            items,
            parts,
            maker,
            readers,
            kept,
            put_off: Vec::new(),
            decisions: Vec::new(),
            refusals: Vec::new(),
        })
    }

    /// Pulls into an item everything that may fuse into it.
    fn visit(&mut self, consumer: usize) {
        if !self.strategy.inlines() {
            return;
        }
        self.pull_all(consumer, false);
        // What the plan asks for beyond what counting says.
        if self.wanted.as_ref().is_some_and(|w| w.is_root(consumer)) {
            self.pull_all(consumer, true);
        }
        // Last, so that what is pulled in comes along into the epilogue. What makes elements larger
        // is better done where they are read.
        match self.items[consumer].as_ref().map(|item| &item.work) {
            Some(Work::Compute(target)) if widens(target) => self.put_off.push(consumer),
            _ => self.try_epilogue(consumer),
        }
    }

    /// Pulls in what may fuse; `forced` overrules what is only a matter of cost.
    fn pull_all(&mut self, consumer: usize, forced: bool) {
        let mut tried = BTreeSet::new();
        while let Some(item) = &self.items[consumer] {
            let Some(value) = item.reads().find(|id| !tried.contains(id)) else {
                break;
            };
            tried.insert(value);
            let Some(&producer) = self.maker.get(&value) else {
                continue;
            };
            // Contractions and host functions are not pulled in; epilogues are filled below.
            let is_definition = |item: &Item| matches!(item.work, Work::Compute(_));
            if !self.items[producer].as_ref().is_some_and(is_definition) {
                continue;
            }
            if !self.permits(consumer, producer) {
                continue;
            }
            let outcome = self.try_pull(consumer, producer, value, forced);
            if let Err(reason) = &outcome {
                self.refusals.push((producer, consumer, reason.clone()));
            }
            self.record(producer, value, outcome.err());
        }
    }

    /// Whether the plan, if there is one, has the two in one kernel.
    fn permits(&self, consumer: usize, producer: usize) -> bool {
        let parts = |item: usize| &self.parts[item];
        let wanted = self.wanted.as_ref();
        wanted.is_none_or(|wanted| wanted.permits(parts(consumer), parts(producer)))
    }

    fn record(&mut self, producer: usize, value: ValueId, refused: Option<String>) {
        let node = self.items[producer]
            .as_ref()
            .and_then(|item| item.nodes.last());
        let producer = node.map_or(String::new(), |id| self.graph.node(*id).name.clone());
        let name = self.graph.value(value).name.clone().unwrap_or_default();
        self.decisions.push(Decision {
            value: name,
            producer,
            refused,
        });
    }

    /// Whether only this item reads the value.
    fn is_private(&self, value: ValueId, consumer: usize) -> bool {
        !self.kept.contains(&value)
            && self
                .readers
                .get(&value)
                .is_some_and(|r| r.iter().all(|&k| k == consumer))
    }

    fn try_pull(
        &mut self,
        consumer: usize,
        producer: usize,
        value: ValueId,
        forced: bool,
    ) -> Result<(), String> {
        let (Some(from), Some(into)) = (&self.items[producer], &self.items[consumer]) else {
            return Err("made elsewhere already".to_owned());
        };
        let Work::Compute(source) = &from.work else {
            return Err("not a definition".to_owned());
        };
        let source_operands: Vec<ValueId> = from.reads().collect();
        let into_operands: Vec<ValueId> = into.reads().collect();
        let is_private = self.is_private(value, consumer);
        let is_move = is_move(source);
        if !is_private && !is_move && !forced {
            return Err("used more than once".to_owned());
        }
        let (work, operands) = match &into.work {
            Work::Compute(target) => {
                self.check_size(source, target)?;
                if !forced {
                    self.check_inline(source, target, &into_operands, value)?;
                }
                let fused = inline(target, &into_operands, value, source, &source_operands);
                (Work::Compute(Box::new(fused.compute)), fused.operands)
            }
            Work::Contract(target) => {
                let (mut contract, mut operands) = (target.as_ref().clone(), into_operands);
                // Both sides may be the same value.
                while operands.contains(&value) {
                    let moved =
                        into_contract(&contract, &operands, value, source, &source_operands);
                    (contract, operands) =
                        moved.ok_or("more than a move in front of a contraction")?;
                }
                (Work::Contract(Box::new(contract)), operands)
            }
            _ => return Err("its user is not a definition".to_owned()),
        };
        self.replace(consumer, work, operands, producer);
        if is_private {
            self.drop_item(producer);
        }
        Ok(())
    }

    /// Inlining must not grow a kernel beyond bounds.
    fn check_size(&self, source: &Compute, target: &Compute) -> Result<(), String> {
        if source.operands.len() + target.operands.len() - 1 > self.operands_max {
            return Err("too many operands".to_owned());
        }
        let size = reachable(&source.pool, source.body).count()
            + reachable(&target.pool, target.body).count();
        if size > EXPRS_MAX {
            return Err("the kernel would be too large".to_owned());
        }
        Ok(())
    }

    /// Inlining must not repeat work.
    fn check_inline(
        &self,
        source: &Compute,
        target: &Compute,
        target_operands: &[ValueId],
        value: ValueId,
    ) -> Result<(), String> {
        let has_fold = |c: &Compute| {
            reachable(&c.pool, c.body).any(|(_, expr)| matches!(expr, Expr::Fold { .. }))
        };
        let (folds_in, folds_out) = (has_fold(target), has_fold(source));
        if (folds_in || folds_out) && !self.strategy.crosses_folds() {
            return Err(format!("strategy {} does not cross folds", self.strategy));
        }
        let Some(position) = target_operands.iter().position(|id| *id == value) else {
            return Err("not loaded".to_owned());
        };
        let elements: Dim = source.shape().into_iter().product();
        let depends = dependencies(&target.pool, target.body);
        let mut sites = 0;
        for (id, expr) in reachable(&target.pool, target.body) {
            let Expr::Load { operand, .. } = expr else {
                continue;
            };
            if *operand as usize != position {
                continue;
            }
            sites += 1;
            let times: Dim = depends[&id]
                .iter()
                .map(|v| target.pool.extent(*v).clone())
                .product();
            let exact = times == elements || fewer(&times, &elements);
            if !exact && !is_cheap(source) {
                return Err(format!(
                    "would be computed {times} times for {elements} elements"
                ));
            }
            if folds_out && !exact {
                return Err("a fold would be repeated".to_owned());
            }
        }
        if folds_out && folds_in && sites > 1 {
            return Err("a fold would be repeated".to_owned());
        }
        // The same element is needed in several loops of the target: worth it only if cheap.
        if sites > 1 && !is_cheap(source) && (folds_in || folds_out) {
            return Err("would be computed in several loops".to_owned());
        }
        if folds_in && sites == 1 && !is_cheap(source) && loops_over(target) > 1 {
            return Err("would be computed in several loops".to_owned());
        }
        // A fold over everything, hoisted into each block of its user, would be repeated.
        if folds_out && !rows_lead(source, target, position) {
            return Err("its rows are not the leading axes of its user".to_owned());
        }
        Ok(())
    }

    /// Makes a definition part of the epilogue of a contraction that it reads.
    fn try_epilogue(&mut self, consumer: usize) {
        if !self.strategy.fills_epilogues() {
            return;
        }
        let Some(item) = self.items[consumer].clone() else {
            return;
        };
        let Work::Compute(target) = &item.work else {
            return;
        };
        let operands: Vec<ValueId> = item.reads().collect();
        // The contraction that comes last: the others must be complete before it runs.
        let mut candidates: Vec<(usize, ValueId)> = operands
            .iter()
            .filter_map(|id| self.maker.get(id).map(|&producer| (producer, *id)))
            .collect();
        candidates.sort_unstable();
        for (producer, value) in candidates.into_iter().rev() {
            let Some(from) = self.items[producer].clone() else {
                continue;
            };
            let Work::Contract(before) = &from.work else {
                continue;
            };
            if !self.permits(consumer, producer) {
                continue;
            }
            if !self.is_private(value, consumer) {
                self.refuse(producer, consumer, "used more than once");
                self.record(producer, value, Some("used more than once".to_owned()));
                continue;
            }
            let source_operands: Vec<ValueId> = from.reads().collect();
            if source_operands.len() + operands.len() > self.operands_max {
                self.refuse(producer, consumer, "too many operands");
                continue;
            }
            let fused = into_epilogue(before, &source_operands, target, &operands, value);
            let Some((contract, operands)) = fused else {
                self.refuse(producer, consumer, "not element by element");
                self.record(producer, value, Some("not element by element".to_owned()));
                continue;
            };
            // A list of groups overrules what is a matter of cost: it holds for every target.
            let cost = self.epilogue.filter(|_| self.wanted.is_none());
            if let Some(Err(reason)) = cost.map(|cost| cost(before, &contract)) {
                self.refuse(producer, consumer, &reason);
                self.record(producer, value, Some(reason));
                continue;
            }
            let work = Work::Contract(Box::new(contract));
            self.replace(consumer, work, operands, producer);
            self.drop_item(producer);
            self.record(producer, value, None);
            return;
        }
    }

    fn refuse(&mut self, producer: usize, consumer: usize, reason: &str) {
        self.refusals.push((producer, consumer, reason.to_owned()));
    }

    /// Gives an item other work, operands, and a producer's nodes to stand for.
    fn replace(&mut self, position: usize, work: Work, operands: Vec<ValueId>, producer: usize) {
        let from = self.items[producer].as_ref();
        let mut nodes = from.map_or(Vec::new(), |item| item.nodes.clone());
        let parts = self.parts[producer].clone();
        self.parts[position].extend(parts);
        let Some(item) = &mut self.items[position] else {
            return;
        };
        for id in item.operands.iter().flatten() {
            if let Some(readers) = self.readers.get_mut(id) {
                readers.remove(&position);
            }
        }
        for id in &operands {
            self.readers.entry(*id).or_default().insert(position);
        }
        item.work = work;
        item.operands = operands.into_iter().map(Some).collect();
        nodes.retain(|id| !item.nodes.contains(id));
        nodes.append(&mut item.nodes);
        item.nodes = nodes;
    }

    fn drop_item(&mut self, position: usize) {
        if let Some(item) = self.items[position].take() {
            for id in item.reads() {
                if let Some(readers) = self.readers.get_mut(&id) {
                    readers.remove(&position);
                }
            }
        }
    }
}

/// Whether `a <= b` for positive symbols, provably.
fn fewer(a: &Dim, b: &Dim) -> bool {
    match (a.as_const(), b.as_const()) {
        (Some(a), Some(b)) => a <= b,
        _ => b.exact_div(a).is_some(),
    }
}

/// Nothing but loads, index arithmetic, casts and constants.
fn is_move(compute: &Compute) -> bool {
    let mut loads = 0;
    let plain = reachable(&compute.pool, compute.body).all(|(id, expr)| match expr {
        Expr::Load { .. } => {
            loads += 1;
            true
        }
        Expr::Fold { .. } | Expr::Acc => false,
        Expr::Apply { .. } => compute.pool.dtype(id) == DType::I64,
        Expr::Const(_) | Expr::Dim(_) | Expr::Var(_) | Expr::Cast(_) => true,
    });
    plain && loads <= 1
}

/// Little enough arithmetic that computing it twice costs less than storing and loading it.
fn is_cheap(compute: &Compute) -> bool {
    let mut cost = 0;
    for (_, expr) in reachable(&compute.pool, compute.body) {
        cost += match expr {
            Expr::Load { .. } => 2,
            Expr::Fold { .. } => 1000,
            Expr::Apply { op, .. } => match op {
                ScalarOp::Add
                | ScalarOp::Sub
                | ScalarOp::Mul
                | ScalarOp::Min
                | ScalarOp::Max
                | ScalarOp::Neg
                | ScalarOp::Abs
                | ScalarOp::Select
                | ScalarOp::Eq
                | ScalarOp::Ne
                | ScalarOp::Lt
                | ScalarOp::Le
                | ScalarOp::Gt
                | ScalarOp::Ge
                | ScalarOp::And
                | ScalarOp::Or
                | ScalarOp::Not => 1,
                _ => 10,
            },
            _ => 0,
        };
    }
    cost <= 12
}

/// Whether a definition makes little more of bytes than larger elements, as dequantizing does.
fn widens(compute: &Compute) -> bool {
    let elements: Dim = compute.shape().into_iter().product();
    let mut full = compute.operands.iter().filter(|operand| {
        let own: Dim = operand.shape.iter().cloned().product();
        own == elements
    });
    let is_byte = |dtype: DType| dtype.is_integer() && dtype.bits() == 8;
    full.next().is_some_and(|operand| is_byte(operand.dtype))
        && full.next().is_none()
        && compute.dtype.size_bytes() > 1
        && !elements.is(1)
        && is_cheap(compute)
}

/// Number of loops over whole rows in a definition: each fold, and the result itself.
fn loops_over(compute: &Compute) -> usize {
    let folds = reachable(&compute.pool, compute.body)
        .filter(|(_, expr)| matches!(expr, Expr::Fold { .. }))
        .count();
    let body_is_fold = matches!(compute.pool.node(compute.body).expr, Expr::Fold { .. });
    folds + usize::from(!body_is_fold && folds > 1)
}

/// Whether each row of the folded source is used by one run of the target's trailing axes: its
/// index is the leading axes of the target, then zeros.
fn rows_lead(source: &Compute, target: &Compute, position: usize) -> bool {
    let rows: Dim = source.shape().into_iter().product();
    if rows.is(1) && !target.shape().into_iter().product::<Dim>().is(1) {
        return false;
    }
    reachable(&target.pool, target.body).all(|(_, expr)| {
        let Expr::Load { operand, index } = expr else {
            return true;
        };
        if *operand as usize != position {
            return true;
        }
        let mut next = 0;
        for &id in index {
            match target.pool.as_affine(id) {
                Some(affine) if affine.is_uniform() => {}
                Some(affine) => {
                    while next < target.axes.len() && target.axes[next].extent.is(1) {
                        next += 1;
                    }
                    let Some(axis) = target.axes.get(next) else {
                        return false;
                    };
                    if affine != alula_kernel::Affine::var(axis.var) {
                        return false;
                    }
                    next += 1;
                }
                None => return false,
            }
        }
        true
    })
}
