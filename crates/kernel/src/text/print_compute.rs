//! Definitions and contractions as text.

use std::fmt::{self, Display, Formatter};

use alula_tensor::DType;
use indexmap::IndexMap;

use super::Printed;
use super::print::literal_text;
use crate::{Affine, Compute, Contract, ContractOperand, Expr, ExprId, Operand, Pool, Role, VarId};

impl Display for Printed<'_, Compute> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let compute = self.0;
        let axes: Vec<String> = compute
            .axes
            .iter()
            .map(|axis| format!("{} < {}", var(axis.var), axis.extent))
            .collect();
        write!(
            f,
            "compute {} over ({}) ",
            signature(compute),
            axes.join(", ")
        )?;
        writeln!(f, "{{")?;
        body(f, compute)?;
        writeln!(f, "}}")
    }
}

impl Display for Printed<'_, Contract> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let contract = self.0;
        let pool = &contract.epilogue.pool;
        writeln!(
            f,
            "contract {} in {} {{",
            signature(&contract.epilogue),
            contract.acc
        )?;
        for (role, name) in [
            (Role::Batch, "batch"),
            (Role::M, "m"),
            (Role::N, "n"),
            (Role::K, "k"),
        ] {
            let vars = contract.axes_of(role).into_iter();
            let vars: Vec<String> = vars
                .map(|v| format!("{} < {}", var(v), pool.extent(v)))
                .collect();
            if !vars.is_empty() {
                writeln!(f, "  {name} {}", vars.join(", "))?;
            }
        }
        writeln!(f, "  a = {}", side(&contract.a))?;
        writeln!(f, "  b = {}", side(&contract.b))?;
        let out: Vec<String> = contract.out.iter().map(affine).collect();
        writeln!(f, "  acc[{}] = sum of a * b", out.join(", "))?;
        let axes: Vec<String> = contract
            .epilogue
            .axes
            .iter()
            .map(|axis| var(axis.var))
            .collect();
        writeln!(f, "  out[{}]:", axes.join(", "))?;
        body(f, &contract.epilogue)?;
        writeln!(f, "}}")
    }
}

fn var(var: VarId) -> String {
    format!("i{}", var.0)
}

fn operand(operand: &Operand) -> String {
    let shape: Vec<String> = operand.shape.iter().map(ToString::to_string).collect();
    format!("{}[{}]", operand.dtype, shape.join(", "))
}

/// Operands and result with their types.
fn signature(compute: &Compute) -> String {
    let operands: Vec<String> = compute
        .operands
        .iter()
        .enumerate()
        .map(|(position, spec)| format!("x{position}: {}", operand(spec)))
        .collect();
    let result = Operand {
        dtype: compute.dtype,
        shape: compute.shape(),
    };
    format!("({}) -> {}", operands.join(", "), operand(&result))
}

fn side(side: &ContractOperand) -> String {
    let index: Vec<String> = side.index.iter().map(affine).collect();
    let mut text = format!("x{}[{}]", side.operand, index.join(", "));
    if let Some(zero_point) = side.zero_point {
        text.push_str(&format!(" - x{zero_point}"));
    }
    if !side.padded.is_empty() {
        let axes: Vec<String> = side.padded.iter().map(ToString::to_string).collect();
        text.push_str(&format!(" padded on axes {}", axes.join(", ")));
    }
    text
}

/// `2*i0 + i1 - 3`; factors that are sums stand in parentheses.
fn affine(index: &Affine) -> String {
    let mut text = String::new();
    let mut add = |part: String| match (text.is_empty(), part.strip_prefix('-')) {
        (true, _) => text.push_str(&part),
        (false, Some(magnitude)) => text.push_str(&format!(" - {magnitude}")),
        (false, None) => text.push_str(&format!(" + {part}")),
    };
    for (&v, coefficient) in &index.terms {
        let factor = coefficient.to_string();
        add(match factor.as_str() {
            "1" => var(v),
            "-1" => format!("-{}", var(v)),
            _ if factor.contains(' ') => format!("({factor})*{}", var(v)),
            _ => format!("{factor}*{}", var(v)),
        });
    }
    if !index.offset.is(0) || index.terms.is_empty() {
        let offset = index.offset.to_string();
        add(offset);
    }
    text
}

/// One expression on each line; indices, constants and dims in place.
fn body(f: &mut Formatter<'_>, compute: &Compute) -> fmt::Result {
    let pool = &compute.pool;
    let mut names: IndexMap<ExprId, String> = IndexMap::new();
    for (left, right) in &compute.equal {
        writeln!(f, "  equal {left} = {right}")?;
    }
    for id in lines(compute) {
        let name = format!("e{}", names.len());
        let node = pool.node(id);
        let at = |operand: &ExprId| in_place(pool, *operand, &names);
        let list = |operands: &[ExprId]| operands.iter().map(at).collect::<Vec<_>>().join(", ");
        let text = match &node.expr {
            Expr::Load { operand, index } => format!("load x{operand}[{}]", list(index)),
            Expr::Apply { op, operands } if op.is_predicate() => {
                // Literals do not say of which dtype they are: one must, if nothing else does.
                let is_bare = |id: &ExprId| matches!(pool.node(*id).expr, Expr::Const(_));
                let wraps = operands.iter().all(is_bare);
                let texts: Vec<String> = operands
                    .iter()
                    .map(|id| match wraps {
                        true => format!("{}({})", pool.dtype(*id), at(id)),
                        false => at(id),
                    })
                    .collect();
                format!("{op} {}", texts.join(", "))
            }
            Expr::Apply { op, operands } => format!("{op} {}", list(operands)),
            Expr::Cast(value) => format!("cast {}", at(value)),
            Expr::Fold { op, vars, body } => {
                let vars: Vec<String> = vars
                    .iter()
                    .map(|&v| format!("{} < {}", var(v), pool.extent(v)))
                    .collect();
                format!(
                    "fold {} over ({}) of {}",
                    op.name(),
                    vars.join(", "),
                    at(body)
                )
            }
            Expr::Const(_) | Expr::Dim(_) | Expr::Var(_) | Expr::Acc => at(&id),
        };
        writeln!(f, "  {name}: {} = {text}", node.dtype)?;
        names.insert(id, name);
    }
    writeln!(f, "  result {}", in_place(pool, compute.body, &names))
}

/// Whether an expression is printed where it is used.
fn is_in_place(pool: &Pool, id: ExprId) -> bool {
    match pool.node(id).expr {
        Expr::Const(_) | Expr::Dim(_) | Expr::Var(_) | Expr::Acc => true,
        Expr::Load { .. } | Expr::Cast(_) | Expr::Fold { .. } => false,
        Expr::Apply { .. } => pool.dtype(id) == DType::I64 && pool.as_affine(id).is_some(),
    }
}

fn in_place(pool: &Pool, id: ExprId, names: &IndexMap<ExprId, String>) -> String {
    if let Some(name) = names.get(&id) {
        return name.clone();
    }
    let node = pool.node(id);
    match &node.expr {
        Expr::Const(literal) => literal_text(Some(node.dtype), *literal),
        Expr::Acc => "acc".to_owned(),
        _ => pool
            .as_affine(id)
            .map_or_else(|| format!("{:?}", node.expr), |index| affine(&index)),
    }
}

/// Expressions with a line of their own, operands first.
fn lines(compute: &Compute) -> Vec<ExprId> {
    let pool = &compute.pool;
    let mut needed = vec![false; pool.len()];
    needed[compute.body.0 as usize] = true;
    for id in (0..pool.len() as u32).rev() {
        if needed[id as usize] && !is_in_place(pool, ExprId(id)) {
            pool.for_each_operand(ExprId(id), |operand| needed[operand.0 as usize] = true);
        }
    }
    let ids = (0..pool.len() as u32).map(ExprId);
    ids.filter(|&id| needed[id.0 as usize] && !is_in_place(pool, id))
        .collect()
}
