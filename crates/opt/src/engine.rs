//! Applies rules until none fires.
//!
//! Each sweep visits the nodes in order with a worklist: a rewrite puts what it made and what
//! uses it back, so that chains collapse within one sweep; a last sweep finds nothing. What every
//! rule is held to is checked here: inner nodes of a match have no other user (unless the rule
//! allows it) and are no outputs, and are not quantized by an annotation, the replaced value keeps
//! its dtype, extents and annotations, and the number of rewrites is bounded by the size of the
//! graph.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use alula_ir::{Graph, NodeId, ValueId};
use alula_tensor::DType;

use crate::fold::Folder;
use crate::options::{NearMiss, OptError, Options, Report};
use crate::patch::{Patch, live_uses};
use crate::pattern::{Match, Pattern, Replacement, matches, parse_pattern, parse_replacement};
use crate::rule::{Miss, Right, Rule};

/// Sweeps after which a graph is left as it is; two or three are usual.
const SWEEPS_MAX: usize = 32;
/// Near misses that are kept.
const MISSES_MAX: usize = 2000;
/// How far users of a new value are visited again, and how many.
const AGAIN_DEPTH: usize = 4;
const AGAIN_MAX: usize = 64;

/// A rule whose text is parsed.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub rule: Rule,
    spellings: Vec<(Pattern, Option<Replacement>)>,
}

impl Compiled {
    /// Parses the rule's text.
    pub(crate) fn new(rule: &Rule) -> Result<Compiled, String> {
        let registry = alula_ops::registry();
        let mut spellings = Vec::new();
        for text in rule.patterns {
            let pattern = parse_pattern(text, registry)?;
            let replacement = match rule.right {
                Right::Text(text) => Some(parse_replacement(text, &pattern, registry)?),
                Right::Build(_) => None,
            };
            spellings.push((pattern, replacement));
        }
        if spellings.is_empty() {
            return Err("a rule has a pattern".to_owned());
        }
        Ok(Compiled {
            rule: *rule,
            spellings,
        })
    }
}

/// Rules that are applied together, by the operators of their roots.
pub(crate) struct RuleSet<'r> {
    by_op: BTreeMap<&'static str, Vec<&'r Compiled>>,
}

impl<'r> RuleSet<'r> {
    /// The rules of a set that the options let pass, in order.
    pub(crate) fn new(rules: &'r [Compiled], options: &Options) -> RuleSet<'r> {
        let mut by_op: BTreeMap<&'static str, Vec<&Compiled>> = BTreeMap::new();
        for compiled in rules
            .iter()
            .filter(|compiled| options.applies(&compiled.rule))
        {
            for op in compiled
                .spellings
                .iter()
                .flat_map(|(pattern, _)| &pattern.root.ops)
            {
                let listed = by_op.entry(op.name).or_default();
                if !listed.iter().any(|known| std::ptr::eq(*known, compiled)) {
                    listed.push(compiled);
                }
            }
        }
        RuleSet { by_op }
    }

    fn for_op(&self, op: &str) -> &[&'r Compiled] {
        self.by_op.get(op).map_or(&[], Vec::as_slice)
    }
}

/// Applies the rules of a set to a graph until none fires; returns the number of rewrites.
///
/// # Errors
/// [`OptError::Verify`], if verification is asked for.
pub(crate) fn apply_rules(
    graph: &mut Graph,
    set: &RuleSet<'_>,
    options: &Options,
    folder: &mut Folder,
    report: &mut Report,
) -> Result<usize, OptError> {
    let mut driver = Driver {
        graph,
        dead: BTreeSet::new(),
        options,
        folder,
        report,
    };
    let fires_max = 1000 + 20 * driver.graph.num_nodes();
    let mut total = 0;
    for _ in 0..SWEEPS_MAX {
        let fired = driver.sweep(set, fires_max - total)?;
        driver.dead.clear();
        driver.graph.remove_dead();
        total += fired;
        if fired == 0 {
            return Ok(total);
        }
        if total >= fires_max {
            break;
        }
    }
    driver.report.is_incomplete = true;
    Ok(total)
}

struct Driver<'g> {
    graph: &'g mut Graph,
    /// Nodes that nothing uses; they leave the graph after the sweep.
    dead: BTreeSet<NodeId>,
    options: &'g Options,
    folder: &'g mut Folder,
    report: &'g mut Report,
}

/// Nodes to visit, each at most once at a time.
#[derive(Default)]
struct Worklist {
    queue: VecDeque<NodeId>,
    waiting: BTreeSet<NodeId>,
}

impl Worklist {
    fn add(&mut self, node: NodeId) {
        if self.waiting.insert(node) {
            self.queue.push_back(node);
        }
    }

    fn next(&mut self) -> Option<NodeId> {
        let node = self.queue.pop_front()?;
        self.waiting.remove(&node);
        Some(node)
    }
}

impl Driver<'_> {
    fn sweep(&mut self, set: &RuleSet<'_>, fires_max: usize) -> Result<usize, OptError> {
        let mut work = Worklist::default();
        self.graph
            .nodes()
            .into_iter()
            .for_each(|node| work.add(node));
        let mut fired = 0;
        while let Some(node) = work.next() {
            if self.dead.contains(&node) {
                continue;
            }
            for compiled in set.for_op(self.graph.node(node).op.name) {
                let is_spent = self
                    .options
                    .fires_max
                    .is_some_and(|most| self.report.total_fires() >= most);
                if is_spent || fired >= fires_max {
                    return Ok(fired);
                }
                if self.apply(compiled, node, &mut work)? {
                    fired += 1;
                    break;
                }
            }
        }
        Ok(fired)
    }

    /// Applies a rule at a node, if it matches there and nothing is against it.
    fn apply(
        &mut self,
        compiled: &Compiled,
        node: NodeId,
        work: &mut Worklist,
    ) -> Result<bool, OptError> {
        for (pattern, replacement) in &compiled.spellings {
            for found in matches(self.graph, pattern, node) {
                if self.uses(found.result).is_empty()
                    && self.graph.num_outputs_of(found.result) == 0
                {
                    continue;
                }
                match self.rewrite(compiled, replacement.as_ref(), &found, work) {
                    Ok(()) => {
                        *self.report.fires.entry(compiled.rule.name).or_default() += 1;
                        let at = self.graph.node(node).name.as_str();
                        tracing::debug!(rule = compiled.rule.name, node = at, "applied");
                        self.verify(compiled.rule.name)?;
                        return Ok(true);
                    }
                    Err(miss) => self.note(compiled, node, miss),
                }
            }
        }
        Ok(false)
    }

    fn note(&mut self, compiled: &Compiled, node: NodeId, miss: Miss) {
        if miss == Miss::NONE {
            return;
        }
        let miss = NearMiss {
            rule: compiled.rule.name,
            node: self.graph.node(node).name.clone(),
            reason: miss.0.into_owned(),
        };
        if self.report.near_misses.contains(&miss) {
            return;
        }
        let NearMiss { rule, node, reason } = &miss;
        tracing::debug!(rule, node, reason, "near miss");
        if self.report.near_misses.len() < MISSES_MAX {
            self.report.near_misses.insert(miss);
        } else {
            self.report.near_misses_left_out += 1;
        }
    }

    fn verify(&mut self, rule: &'static str) -> Result<(), OptError> {
        if !self.options.verify {
            return Ok(());
        }
        self.graph.verify().map_err(|errors| OptError::Verify {
            after: rule.to_owned(),
            errors,
        })
    }

    fn uses(&self, value: ValueId) -> Vec<(NodeId, usize)> {
        live_uses(self.graph, &self.dead, value)
    }

    fn rewrite(
        &mut self,
        compiled: &Compiled,
        replacement: Option<&Replacement>,
        found: &Match<'_>,
        work: &mut Worklist,
    ) -> Result<(), Miss> {
        let rule = &compiled.rule;
        if let Some(guard) = rule.guard {
            guard(self.graph, found)?;
        }
        self.check_annotations(found)?;
        if !rule.sharing {
            self.check_sole_use(found)?;
        }
        let name = self.graph.node(found.root).name.clone();
        let dtype = self
            .graph
            .ty(found.result)
            .as_tensor()
            .map_or(DType::F32, |ty| ty.dtype);
        let mut patch = Patch {
            graph: self.graph,
            dead: &mut self.dead,
            folder: self.folder,
            name,
            matched: &found.nodes,
            made: Vec::new(),
        };
        let new = match (rule.right, replacement) {
            (Right::Build(build), _) => build(found, &mut patch),
            (Right::Text(_), Some(made)) => patch.instantiate(made, found, dtype),
            (Right::Text(text), None) => Err(Miss::from(format!("{text:?} was not parsed"))),
        };
        let made = patch.made;
        let new = new.and_then(|new| self.check_type(found.result, new, &made));
        let new = match new {
            Ok(new) => new,
            Err(miss) => {
                self.dead.extend(made);
                return Err(miss);
            }
        };
        self.graph.replace(found.result, new)?;
        made.iter()
            .filter(|node| !self.dead.contains(node))
            .for_each(|node| work.add(*node));
        self.visit_users(new, work);
        for node in &found.nodes {
            self.bury(*node, work);
        }
        Ok(())
    }

    /// Inner values must be what their operators compute, without another rounding.
    fn check_annotations(&self, found: &Match<'_>) -> Result<(), Miss> {
        for node in &found.nodes {
            let mut results = self.graph.node(*node).results.iter();
            let is_rounded = results.any(|result| {
                let ty = self.graph.ty(*result).as_tensor();
                *result != found.result && ty.is_some_and(|ty| ty.quant.is_some())
            });
            if is_rounded {
                return Err(format!("{} is quantized", self.describe(*node)).into());
            }
        }
        Ok(())
    }

    /// Inner nodes must have no user outside of the match.
    fn check_sole_use(&self, found: &Match<'_>) -> Result<(), Miss> {
        for node in &found.nodes {
            let results = self.graph.node(*node).results.iter().copied();
            for result in results.filter(|result| *result != found.result) {
                if self.graph.num_outputs_of(result) > 0 {
                    return Err(format!("{} is an output, too", self.describe(*node)).into());
                }
                let mut users = self.uses(result).into_iter().map(|(user, _)| user);
                if let Some(user) = users.find(|user| !found.nodes.contains(user)) {
                    let (inner, other) = (self.describe(*node), self.describe(user));
                    return Err(format!("{inner} is used by {other}, too").into());
                }
            }
        }
        Ok(())
    }

    fn describe(&self, node: NodeId) -> String {
        let node = self.graph.node(node);
        if node.name.is_empty() {
            node.op.name.to_owned()
        } else {
            format!("{} {}", node.op.name, node.name)
        }
    }

    /// The new value must be of the old one's type; annotations go over to a value that is new.
    fn check_type(&mut self, old: ValueId, new: ValueId, made: &[NodeId]) -> Result<ValueId, Miss> {
        if old == new {
            return Err("the result is what it was".into());
        }
        let (Some(was), Some(is)) = (
            self.graph.ty(old).as_tensor(),
            self.graph.ty(new).as_tensor(),
        ) else {
            return if self.graph.ty(old) == self.graph.ty(new) {
                Ok(new)
            } else {
                Err("the type would change".into())
            };
        };
        if was.dtype != is.dtype || was.shape != is.shape {
            return Err(format!("the type would change from {was} to {is}").into());
        }
        if was != is && (was.quant.is_some() || was.sparsity.is_some()) {
            let was = self.graph.ty(old).clone();
            match self.graph.producer(new) {
                Some(node) if made.contains(&node) => self.graph.refine_type(new, was),
                Some(_) | None => return Err("an annotation would be lost".into()),
            }
        }
        Ok(new)
    }

    /// Nodes that may match now that they use something new.
    fn visit_users(&self, value: ValueId, work: &mut Worklist) {
        let mut layer = vec![value];
        let mut count = 0;
        for _ in 0..AGAIN_DEPTH {
            let mut next = Vec::new();
            for (user, _) in layer.iter().flat_map(|value| self.uses(*value)) {
                count += 1;
                if count > AGAIN_MAX {
                    return;
                }
                work.add(user);
                next.extend(self.graph.node(user).results.iter().copied());
            }
            layer = next;
        }
    }

    /// Notes a node that nothing uses any more as dead, and then what only it used. What shares a
    /// user with it may match now.
    fn bury(&mut self, node: NodeId, work: &mut Worklist) {
        let mut stack = vec![node];
        while let Some(node) = stack.pop() {
            let results = &self.graph.node(node).results;
            let is_needed = results.iter().any(|result| {
                self.graph.num_outputs_of(*result) > 0 || !self.uses(*result).is_empty()
            });
            if is_needed || !self.dead.insert(node) {
                continue;
            }
            for operand in self.graph.node(node).operands.clone().into_iter().flatten() {
                if let Some(producer) = self.graph.producer(operand) {
                    let uses = self.uses(operand);
                    if uses.is_empty() {
                        stack.push(producer);
                    } else if uses.len() <= 2 {
                        uses.into_iter().for_each(|(user, _)| work.add(user));
                    }
                }
            }
        }
    }
}
