//! Valid random graphs, from a seed.
//!
//! A graph grows operator by operator. Each is applied to values that are there, or to new inputs
//! and constants of the types that it needs; inference and the reference evaluation judge, and
//! what one of them refuses is left out. So every graph is valid, its values are finite, and it
//! runs at least with the first of its bindings of symbols. Recent values are used more often than
//! old ones, and small operators more often than large ones: graphs are deep, and fuse.

mod arrange;
mod contract;
mod control;
mod elementwise;
mod patterns;
mod quantize;
mod reduce;

use std::collections::{BTreeMap, BTreeSet};

use alula_ir::{Attrs, Graph, HostValue, ValueId};
use alula_ops::registry;
use alula_tensor::{DType, DTypeClass, Dim, Scalar, Symbol, Tensor, TensorType};
use alula_testkit::SplitMix64;
use alula_testkit::values::{Domain, floats};

use crate::differential::evaluate::State;

/// Most elements of a value, with the first binding.
const ELEMENTS_MAX: usize = 1500;

/// What the elements of an input are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// Floats of a domain.
    Floats(Domain),
    /// Integers between two, both included.
    Ints(i64, i64),
    /// Truth values.
    Bools,
}

impl Draw {
    /// What suits a dtype.
    pub fn of(dtype: DType) -> Draw {
        match dtype.class() {
            DTypeClass::Float => Draw::Floats(Domain::Ordinary),
            DTypeClass::Bool => Draw::Bools,
            DTypeClass::Signed => Draw::Ints(if dtype.bits() < 4 { -2 } else { -5 }, 1),
            DTypeClass::Unsigned | DTypeClass::String => Draw::Ints(0, 3),
        }
    }
}

/// A tensor of drawn elements.
pub fn draw(random: &mut SplitMix64, dtype: DType, shape: &[usize], from: Draw) -> Tensor {
    let count = shape.iter().product();
    let values: Vec<Scalar> = match from {
        Draw::Floats(domain) => floats(random, count, domain, dtype)
            .into_iter()
            .map(Scalar::Float)
            .collect(),
        Draw::Ints(low, high) => (0..count)
            .map(|_| Scalar::Int(random.integer(low, high).into()))
            .collect(),
        Draw::Bools => (0..count)
            .map(|_| Scalar::Int(random.below(2).into()))
            .collect(),
    };
    Tensor::from_scalars(dtype, shape, &values).expect("the count fits")
}

/// A graph and inputs to run it on.
#[derive(Clone, Debug)]
pub struct Case {
    /// The graph.
    pub graph: Graph,
    /// Inputs in order, once for each binding of the symbols.
    pub feeds: Vec<Vec<HostValue>>,
}

/// The graph of a seed: about `nodes` operators at most.
pub fn case(seed: u64) -> Case {
    let mut maker = Maker::new(seed);
    let steps = 2 + maker.random.below(14);
    maker.leaf_of_main();
    for _ in 0..steps {
        // Some steps come to nothing; so does a graph that they all do, which is empty then.
        let _ = maker.step();
    }
    maker.finish()
}

/// What a step does; `None` if it came to nothing.
type Step = fn(&mut Maker) -> Option<()>;

/// A graph that grows.
struct Maker {
    random: SplitMix64,
    state: State,
    /// What each input is drawn from.
    draws: Vec<Draw>,
    /// Values that operators may be applied to, oldest first.
    pool: Vec<ValueId>,
    /// The dtype of most values.
    main: DType,
    /// The symbols that extents may be, and their values in each binding.
    bindings: Vec<BTreeMap<Symbol, i64>>,
    symbols: Vec<Symbol>,
}

impl Maker {
    fn new(seed: u64) -> Maker {
        let mut random = SplitMix64::new(seed);
        let main = match random.below(20) {
            0..14 => DType::F32,
            14 | 15 => DType::F16,
            16 => DType::BF16,
            17 => DType::F64,
            18 => DType::I32,
            _ => DType::I64,
        };
        let symbols: Vec<Symbol> = match random.below(3) {
            0 => vec![],
            1 => vec![Symbol::new("N")],
            _ => vec![Symbol::new("N"), Symbol::new("M")],
        };
        let count = if symbols.is_empty() { 1 } else { 4 };
        let extents = [[3, 4], [1, 2], [0, 5], [9, 1]];
        let bindings = (0..count)
            .map(|k: usize| symbols.iter().cloned().zip(extents[k]).collect())
            .collect();
        Maker {
            random,
            state: State::new(Graph::new("g")),
            draws: Vec::new(),
            pool: Vec::new(),
            main,
            bindings,
            symbols,
        }
    }

    fn step(&mut self) -> Option<()> {
        const STEPS: &[(u64, Step)] = &[
            (14, elementwise::unary),
            (22, elementwise::binary),
            (8, elementwise::activation),
            (6, elementwise::choose),
            (4, elementwise::convert),
            (10, reduce::reduce),
            (6, reduce::normalize),
            (3, reduce::position),
            (9, contract::matrices),
            (6, contract::window),
            (16, arrange::move_whole),
            (10, arrange::cut_and_join),
            (6, arrange::index),
            (2, arrange::generate),
            (6, quantize::quantize),
            (2, control::branch_or_loop),
            (1, control::decided_by_data),
            (10, patterns::pattern),
        ];
        let total: u64 = STEPS.iter().map(|(weight, _)| weight).sum();
        let mut at = self.random.below(total);
        for (weight, step) in STEPS {
            match at.checked_sub(*weight) {
                None => return step(self),
                Some(rest) => at = rest,
            }
        }
        None
    }

    /// The graph with its last values as outputs.
    fn finish(mut self) -> Case {
        let graph = &self.state.graph;
        // Users that were left out do not count.
        let makers: BTreeSet<_> = self
            .pool
            .iter()
            .filter_map(|id| graph.producer(*id))
            .collect();
        let is_sink = |id: &ValueId| {
            let users = graph.uses(*id);
            graph.producer(*id).is_some() && !users.iter().any(|(user, _)| makers.contains(user))
        };
        let last = self.pool.iter().rev().copied();
        let mut outputs: Vec<ValueId> = last.filter(is_sink).take(6).collect();
        // A value that has users may be an output, too.
        if self.random.chance(3) && !self.pool.is_empty() {
            let id = *self.random.pick(&self.pool);
            if self.state.graph.producer(id).is_some() && !outputs.contains(&id) {
                outputs.push(id);
            }
        }
        for (k, id) in outputs.into_iter().enumerate() {
            self.state.graph.output(format!("y{k}"), id);
        }
        self.state.graph.remove_dead();
        let seed = self.random.next_u64();
        let graph = self.state.graph;
        let feeds = self
            .bindings
            .iter()
            .enumerate()
            .filter_map(|(number, binding)| {
                if number == 0 {
                    let own = graph.inputs().iter();
                    return Some(own.map(|id| self.state.values[id].clone()).collect());
                }
                let mut random = SplitMix64::new(seed.wrapping_add(number as u64));
                let inputs = graph.inputs().iter().zip(&self.draws);
                inputs
                    .map(|(id, from)| {
                        let ty = graph.ty(*id).as_tensor().expect("inputs are tensors");
                        let shape = extents(&ty.shape, binding)?;
                        Some(draw(&mut random, ty.dtype, &shape, *from).into())
                    })
                    .collect()
            })
            .collect();
        Case { graph, feeds }
    }

    /// The type of a value.
    fn ty(&self, id: ValueId) -> &TensorType {
        self.state
            .graph
            .ty(id)
            .as_tensor()
            .expect("only tensors are in the pool")
    }

    fn dtype(&self, id: ValueId) -> DType {
        self.ty(id).dtype
    }

    fn shape(&self, id: ValueId) -> Vec<Dim> {
        self.ty(id).shape.clone()
    }

    fn rank(&self, id: ValueId) -> usize {
        self.ty(id).rank()
    }

    /// A value of the pool that will do, recent ones before old ones.
    fn pick(&mut self, will_do: impl Fn(&TensorType) -> bool) -> Option<ValueId> {
        let fitting: Vec<ValueId> = self
            .pool
            .iter()
            .copied()
            .filter(|&id| will_do(self.ty(id)))
            .collect();
        if fitting.is_empty() {
            return None;
        }
        let draw = self.random.unit_f64();
        let back = (draw * draw * fitting.len() as f64) as usize;
        Some(fitting[fitting.len() - 1 - back.min(fitting.len() - 1)])
    }

    /// A value of the main dtype.
    fn pick_main(&mut self) -> Option<ValueId> {
        let main = self.main;
        self.pick(|ty| ty.dtype == main)
    }

    /// A value of floats.
    fn pick_float(&mut self) -> Option<ValueId> {
        self.pick(|ty| ty.dtype.is_float())
    }

    fn extent(&mut self) -> Dim {
        match self.random.below(16) {
            0 if !self.symbols.is_empty() => Dim::symbol(self.symbols[0].clone()),
            1..4 if !self.symbols.is_empty() => {
                let symbol = self.random.pick(&self.symbols).clone();
                Dim::symbol(symbol)
            }
            4..6 => Dim::new(1),
            6 => Dim::new(8),
            7 if self.random.chance(6) => Dim::new(0),
            7 => Dim::new(17),
            _ => Dim::new(self.random.integer(2, 6)),
        }
    }

    /// A new input of the main dtype and any shape.
    fn leaf_of_main(&mut self) -> ValueId {
        let rank = *self.random.pick(&[0, 1, 2, 2, 3, 3, 4, 4]);
        let shape: Vec<Dim> = (0..rank).map(|_| self.extent()).collect();
        let dtype = self.main;
        self.input(dtype, shape, Draw::of(dtype))
    }

    /// A new input or constant of a type.
    fn leaf(&mut self, dtype: DType, shape: Vec<Dim>, from: Draw) -> ValueId {
        let known = TensorType::new(dtype, shape.clone()).static_shape();
        match known {
            Some(known) if self.random.chance(2) && known.iter().product::<usize>() <= 600 => {
                let tensor = draw(&mut self.random, dtype, &known, from);
                self.constant(tensor)
            }
            _ => self.input(dtype, shape, from),
        }
    }

    fn input(&mut self, dtype: DType, mut shape: Vec<Dim>, from: Draw) -> ValueId {
        // An input cannot have extents that operators decide.
        let known = |dim: &Dim| extents(std::slice::from_ref(dim), &self.bindings[0]).is_some();
        for dim in &mut shape {
            if !known(dim) {
                *dim = Dim::new(1);
            }
        }
        let extents = extents(&shape, &self.bindings[0]).expect("all are known");
        let tensor = draw(&mut self.random, dtype, &extents, from);
        let name = format!("x{}", self.draws.len());
        self.draws.push(from);
        let id = self.state.graph.input(name, TensorType::new(dtype, shape));
        self.state.set(id, tensor.into());
        self.pool.push(id);
        id
    }

    fn constant(&mut self, tensor: Tensor) -> ValueId {
        let id = self.state.graph.constant(tensor.clone());
        self.state.set(id, tensor.into());
        id
    }

    /// A constant of one element.
    fn scalar(&mut self, dtype: DType, value: f64) -> ValueId {
        let value = Scalar::Float(value).cast(dtype);
        let shape: &[usize] = if self.random.chance(4) { &[1] } else { &[] };
        self.constant(Tensor::from_scalars(dtype, shape, &[value]).expect("one element"))
    }

    /// Applies an operator with one result.
    fn apply(&mut self, op: &str, operands: &[ValueId], attrs: Attrs) -> Option<ValueId> {
        let operands: Vec<Option<ValueId>> = operands.iter().copied().map(Some).collect();
        self.push(op, &operands, attrs, 1).map(|all| all[0])
    }

    /// Applies an operator; its results go to the pool if inference and the reference take it, and
    /// all of their elements are of moderate size.
    fn push(
        &mut self,
        op: &str,
        operands: &[Option<ValueId>],
        attrs: Attrs,
        wanted: usize,
    ) -> Option<Vec<ValueId>> {
        let row = registry().get(op);
        let row = row.unwrap_or_else(|| panic!("there is no operator {op}"));
        let name = format!("n{}", self.state.graph.num_nodes());
        let graph = &mut self.state.graph;
        let results = graph
            .push_with_results(row, operands, attrs, &name, wanted)
            .ok()?;
        let node = graph.producer(results[0]).expect("it was just pushed");
        let values = match self.state.node(node) {
            Ok(values) => values,
            Err(error) => {
                let text = error.to_string();
                // Data may be refused, but what inference said must hold.
                assert!(!text.contains("inference gives"), "{text}");
                return None;
            }
        };
        if !values.iter().all(is_moderate) {
            return None;
        }
        for (id, value) in results.iter().zip(values) {
            self.state.set(*id, value);
        }
        for &id in &results {
            let ty = self.state.graph.ty(id).as_tensor();
            if ty.is_some_and(|ty| ty.dtype != DType::String) {
                self.pool.push(id);
            }
        }
        Some(results)
    }
}

/// Extents under a binding, unless one is negative then.
fn extents(shape: &[Dim], binding: &BTreeMap<Symbol, i64>) -> Option<Vec<usize>> {
    let known = |symbol: &Symbol| binding.get(symbol).copied();
    let extent = |dim: &Dim| usize::try_from(dim.eval(&known).ok()?).ok();
    shape.iter().map(extent).collect()
}

/// Whether a value is a tensor of few elements, finite and not large.
fn is_moderate(value: &HostValue) -> bool {
    let Some(tensor) = value.as_tensor() else {
        return false;
    };
    let largest = match tensor.dtype() {
        DType::F16 => 2e3,
        dtype if dtype.is_float() => 1e6,
        _ => f64::INFINITY,
    };
    tensor.len() <= ELEMENTS_MAX
        && (!tensor.dtype().is_float() || tensor.to_f64s().iter().all(|x| x.abs() <= largest))
}
