//! Dims: integers known at compile time, or expressions over named symbols.
//!
//! A [`Dim`] is kept in canonical form: a sum of products of atoms with integer coefficients,
//! sorted, without zero terms. Two dims that are equal as polynomials are therefore `==`.
//! Constants saturate at 64 bits, so that an absurd extent stays absurd and is refused by limits.
//! Division, remainder, minimum and maximum that do not simplify become opaque atoms.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of an unknown extent, e.g. `N` or `sequence_length`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// A symbol with this name.
    pub fn new(name: impl AsRef<str>) -> Symbol {
        Symbol(Arc::from(name.as_ref()))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A factor of a term that no algebra looks into.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Atom {
    /// A symbol.
    Sym(Symbol),
    /// Floor division, rounding towards minus infinity.
    FloorDiv(Dim, Dim),
    /// Remainder with the sign of the divisor.
    Mod(Dim, Dim),
    /// The greater one.
    Max(Dim, Dim),
    /// The lesser one.
    Min(Dim, Dim),
}

/// A product of atoms with exponents, sorted by atom.
pub type Monomial = Vec<(Atom, u32)>;

/// A dim: a constant or an expression over symbols, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dim(Repr);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
enum Repr {
    Const(i64),
    /// At least one monomial is not empty; monomials are sorted and unique, coefficients not 0.
    Sum(Arc<Vec<(Monomial, i64)>>),
}

/// Why a dim has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DimError {
    /// A symbol has no binding.
    #[error("symbol {} is not bound", .0.name())]
    Unbound(Symbol),
    /// The value does not fit 64 bits.
    #[error("dim {0} overflows 64 bits")]
    Overflow(String),
    /// A divisor evaluated to 0.
    #[error("dim {0} divides by zero")]
    DivideByZero(String),
}

impl Dim {
    /// A known extent.
    pub const fn new(value: i64) -> Dim {
        Dim(Repr::Const(value))
    }

    /// A symbol as a dim.
    pub fn symbol(symbol: Symbol) -> Dim {
        Dim::atom(Atom::Sym(symbol))
    }

    /// A symbol by name.
    pub fn named(name: &str) -> Dim {
        Dim::symbol(Symbol::new(name))
    }

    fn atom(atom: Atom) -> Dim {
        Dim(Repr::Sum(Arc::new(vec![(vec![(atom, 1)], 1)])))
    }

    /// The value, if it does not depend on a symbol.
    pub const fn as_const(&self) -> Option<i64> {
        match &self.0 {
            Repr::Const(value) => Some(*value),
            Repr::Sum(_) => None,
        }
    }

    /// Whether the dim is this constant.
    pub fn is(&self, value: i64) -> bool {
        self.as_const() == Some(value)
    }

    /// The symbol, if the dim is exactly one.
    pub fn as_symbol(&self) -> Option<&Symbol> {
        match self.terms_ref() {
            Some([(monomial, 1)]) => match monomial.as_slice() {
                [(Atom::Sym(symbol), 1)] => Some(symbol),
                _ => None,
            },
            _ => None,
        }
    }

    fn terms_ref(&self) -> Option<&[(Monomial, i64)]> {
        match &self.0 {
            Repr::Const(_) => None,
            Repr::Sum(terms) => Some(terms),
        }
    }

    /// The terms of the sum: monomial and coefficient. A constant term has an empty monomial.
    pub fn terms(&self) -> Vec<(Monomial, i64)> {
        match &self.0 {
            Repr::Const(0) => Vec::new(),
            Repr::Const(value) => vec![(Monomial::new(), *value)],
            Repr::Sum(terms) => terms.as_ref().clone(),
        }
    }

    fn from_terms(mut terms: Vec<(Monomial, i64)>) -> Dim {
        terms.sort();
        let mut merged: Vec<(Monomial, i64)> = Vec::with_capacity(terms.len());
        for (monomial, coefficient) in terms {
            match merged.last_mut() {
                Some((last, sum)) if *last == monomial => *sum = sum.saturating_add(coefficient),
                _ => merged.push((monomial, coefficient)),
            }
        }
        merged.retain(|(_, coefficient)| *coefficient != 0);
        match merged.as_slice() {
            [] => Dim::new(0),
            [(monomial, value)] if monomial.is_empty() => Dim::new(*value),
            _ => Dim(Repr::Sum(Arc::new(merged))),
        }
    }

    /// Floor division. Exact where every coefficient divides; `x / 1` and `x / x` simplify.
    pub fn floor_div(&self, divisor: &Dim) -> Dim {
        if divisor.is(1) {
            return self.clone();
        }
        if let (Some(a), Some(b)) = (self.as_const(), divisor.as_const())
            && b != 0
            && !(a == i64::MIN && b == -1)
        {
            return Dim::new(floor_div_i64(a, b));
        }
        if let Some(quotient) = self.exact_div(divisor) {
            return quotient;
        }
        // (c * x + rest) / c = x + rest / c for integer c: pull the multiples out.
        if let Some(c) = divisor.as_const()
            && c > 1
        {
            let (multiples, rest): (Vec<_>, Vec<_>) = self
                .terms()
                .into_iter()
                .partition(|(m, k)| !m.is_empty() && k % c == 0);
            if !multiples.is_empty() {
                let whole = multiples.into_iter().map(|(m, k)| (m, k / c)).collect();
                return Dim::from_terms(whole) + Dim::from_terms(rest).floor_div(divisor);
            }
        }
        Dim::atom(Atom::FloorDiv(self.clone(), divisor.clone()))
    }

    /// Division rounding up; the divisor must be positive for this to be the ceiling.
    pub fn ceil_div(&self, divisor: &Dim) -> Dim {
        (self.clone() + divisor.clone() - Dim::new(1)).floor_div(divisor)
    }

    /// The quotient, if `divisor` is one monomial that divides every term.
    pub fn exact_div(&self, divisor: &Dim) -> Option<Dim> {
        if self == divisor && !divisor.is(0) {
            return Some(Dim::new(1));
        }
        if self.is(0) && !divisor.is(0) {
            return Some(Dim::new(0));
        }
        let divisor_terms = divisor.terms();
        let [(divisor_monomial, divisor_coefficient)] = divisor_terms.as_slice() else {
            return self.exact_div_sum(divisor);
        };
        let mut quotient = Vec::new();
        for (monomial, coefficient) in self.terms() {
            if *divisor_coefficient == 0 || coefficient.checked_rem(*divisor_coefficient)? != 0 {
                return None;
            }
            let mut rest = monomial;
            for (atom, power) in divisor_monomial {
                let slot = rest.iter_mut().find(|(a, _)| a == atom)?;
                slot.1 = slot.1.checked_sub(*power)?;
            }
            rest.retain(|(_, power)| *power > 0);
            quotient.push((rest, coefficient / divisor_coefficient));
        }
        Some(Dim::from_terms(quotient))
    }

    /// Division by a sum: tries the quotient of the leading terms and checks it by multiplying.
    fn exact_div_sum(&self, divisor: &Dim) -> Option<Dim> {
        let lead = divisor.terms().pop()?;
        let lead = Dim::from_terms(vec![lead]);
        let mut rest = self.clone();
        let mut quotient = Dim::new(0);
        for _ in 0..8 {
            if rest.is(0) {
                return Some(quotient);
            }
            let top = Dim::from_terms(vec![rest.terms().pop()?]);
            let step = top.exact_div(&lead)?;
            quotient = quotient + step.clone();
            rest = rest - step * divisor.clone();
        }
        None
    }

    /// Remainder of [`Dim::floor_div`].
    pub fn modulo(&self, divisor: &Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_const(), divisor.as_const())
            && b != 0
            && !(a == i64::MIN && b == -1)
        {
            return Dim::new(a - floor_div_i64(a, b) * b);
        }
        if divisor.is(1) || self.exact_div(divisor).is_some() {
            return Dim::new(0);
        }
        Dim::atom(Atom::Mod(self.clone(), divisor.clone()))
    }

    /// The greater of two dims. Symbols stand for extents, so they count as not negative.
    pub fn maximum(&self, other: &Dim) -> Dim {
        let difference = self.clone() - other.clone();
        match difference.as_const() {
            Some(difference) if difference >= 0 => self.clone(),
            Some(_) => other.clone(),
            None if difference.is_nonnegative() => self.clone(),
            None if (-difference).is_nonnegative() => other.clone(),
            None if self <= other => Dim::atom(Atom::Max(self.clone(), other.clone())),
            None => Dim::atom(Atom::Max(other.clone(), self.clone())),
        }
    }

    /// The lesser of two dims. Symbols stand for extents, so they count as not negative.
    pub fn minimum(&self, other: &Dim) -> Dim {
        let difference = self.clone() - other.clone();
        match difference.as_const() {
            Some(difference) if difference <= 0 => self.clone(),
            Some(_) => other.clone(),
            None if difference.is_nonnegative() => other.clone(),
            None if (-difference).is_nonnegative() => self.clone(),
            None if self <= other => Dim::atom(Atom::Min(self.clone(), other.clone())),
            None => Dim::atom(Atom::Min(other.clone(), self.clone())),
        }
    }

    /// Whether the value is provably not negative, as no symbol is: a symbol that stands for an
    /// element of a tensor (its name begins with `$`, but not with `$e`) may be.
    pub fn is_nonnegative(&self) -> bool {
        match self.terms_ref() {
            None => self.as_const().is_some_and(|value| value >= 0),
            Some(terms) => terms.iter().all(|(monomial, coefficient)| {
                *coefficient >= 0 && monomial.iter().all(|(atom, _)| atom.is_nonnegative())
            }),
        }
    }

    /// How large the expression is: the number of symbols and constants in it.
    pub fn size(&self) -> usize {
        self.terms_ref().map_or(1, |terms| {
            let atoms = terms.iter().flat_map(|(monomial, _)| monomial);
            terms.len() + atoms.map(|(atom, _)| atom.size()).sum::<usize>()
        })
    }

    /// The value under a binding of symbols.
    ///
    /// # Errors
    /// An unbound symbol, division by zero, or a value beyond 64 bits.
    pub fn eval(&self, bind: &dyn Fn(&Symbol) -> Option<i64>) -> Result<i64, DimError> {
        let Some(terms) = self.terms_ref() else {
            return Ok(self.as_const().unwrap_or_default());
        };
        let overflow = || DimError::Overflow(self.to_string());
        let mut sum = 0_i64;
        for (monomial, coefficient) in terms {
            let mut product = *coefficient;
            for (atom, power) in monomial {
                let value = atom.eval(bind)?;
                for _ in 0..*power {
                    product = product.checked_mul(value).ok_or_else(overflow)?;
                }
            }
            sum = sum.checked_add(product).ok_or_else(overflow)?;
        }
        Ok(sum)
    }

    /// The dim with symbols replaced where `map` gives something.
    pub fn substitute(&self, map: &dyn Fn(&Symbol) -> Option<Dim>) -> Dim {
        let Some(terms) = self.terms_ref() else {
            return self.clone();
        };
        let mut sum = Dim::new(0);
        for (monomial, coefficient) in terms {
            let mut product = Dim::new(*coefficient);
            for (atom, power) in monomial {
                let value = atom.substitute(map);
                for _ in 0..*power {
                    product = product * value.clone();
                }
            }
            sum = sum + product;
        }
        sum
    }

    /// Adds every symbol that the dim depends on.
    pub fn collect_symbols(&self, into: &mut BTreeSet<Symbol>) {
        for (monomial, _) in self.terms_ref().unwrap_or_default() {
            for (atom, _) in monomial {
                match atom {
                    Atom::Sym(symbol) => {
                        into.insert(symbol.clone());
                    }
                    Atom::FloorDiv(a, b) | Atom::Mod(a, b) | Atom::Max(a, b) | Atom::Min(a, b) => {
                        a.collect_symbols(into);
                        b.collect_symbols(into);
                    }
                }
            }
        }
    }
}

impl Atom {
    fn is_nonnegative(&self) -> bool {
        match self {
            Atom::Sym(symbol) => !symbol.name().starts_with('$') || symbol.name().starts_with("$e"),
            Atom::FloorDiv(a, b) => a.is_nonnegative() && b.is_nonnegative(),
            Atom::Mod(_, b) => b.is_nonnegative(),
            Atom::Max(a, b) => a.is_nonnegative() || b.is_nonnegative(),
            Atom::Min(a, b) => a.is_nonnegative() && b.is_nonnegative(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Atom::Sym(_) => 1,
            Atom::FloorDiv(a, b) | Atom::Mod(a, b) | Atom::Max(a, b) | Atom::Min(a, b) => {
                1 + a.size() + b.size()
            }
        }
    }

    fn eval(&self, bind: &dyn Fn(&Symbol) -> Option<i64>) -> Result<i64, DimError> {
        let both = |a: &Dim, b: &Dim| Ok::<_, DimError>((a.eval(bind)?, b.eval(bind)?));
        match self {
            Atom::Sym(symbol) => bind(symbol).ok_or_else(|| DimError::Unbound(symbol.clone())),
            Atom::FloorDiv(a, b) | Atom::Mod(a, b) => {
                let (x, y) = both(a, b)?;
                if y == 0 {
                    return Err(DimError::DivideByZero(format!("{a} / {b}")));
                }
                if x == i64::MIN && y == -1 {
                    return Err(DimError::Overflow(format!("{a} / {b}")));
                }
                let quotient = floor_div_i64(x, y);
                Ok(if matches!(self, Atom::FloorDiv(..)) {
                    quotient
                } else {
                    x - quotient * y
                })
            }
            Atom::Max(a, b) => both(a, b).map(|(x, y)| x.max(y)),
            Atom::Min(a, b) => both(a, b).map(|(x, y)| x.min(y)),
        }
    }

    fn substitute(&self, map: &dyn Fn(&Symbol) -> Option<Dim>) -> Dim {
        match self {
            Atom::Sym(symbol) => map(symbol).unwrap_or_else(|| Dim::symbol(symbol.clone())),
            Atom::FloorDiv(a, b) => a.substitute(map).floor_div(&b.substitute(map)),
            Atom::Mod(a, b) => a.substitute(map).modulo(&b.substitute(map)),
            Atom::Max(a, b) => a.substitute(map).maximum(&b.substitute(map)),
            Atom::Min(a, b) => a.substitute(map).minimum(&b.substitute(map)),
        }
    }
}

fn floor_div_i64(a: i64, b: i64) -> i64 {
    let quotient = a / b;
    if a % b != 0 && (a < 0) != (b < 0) {
        quotient - 1
    } else {
        quotient
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Dim {
        Dim::new(value)
    }
}

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        Dim::new(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl std::ops::Add for Dim {
    type Output = Dim;
    fn add(self, other: Dim) -> Dim {
        match (self.as_const(), other.as_const()) {
            (Some(a), Some(b)) => Dim::new(a.saturating_add(b)),
            _ => Dim::from_terms([self.terms(), other.terms()].concat()),
        }
    }
}

impl std::ops::Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        Dim::from_terms(
            self.terms()
                .into_iter()
                .map(|(m, k)| (m, k.saturating_neg()))
                .collect(),
        )
    }
}

impl std::ops::Sub for Dim {
    type Output = Dim;
    fn sub(self, other: Dim) -> Dim {
        self + (-other)
    }
}

#[expect(
    clippy::suspicious_arithmetic_impl,
    reason = "powers of equal factors add"
)]
impl std::ops::Mul for Dim {
    type Output = Dim;
    fn mul(self, other: Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_const(), other.as_const()) {
            return Dim::new(a.saturating_mul(b));
        }
        let mut product = Vec::new();
        for (left, a) in self.terms() {
            for (right, b) in other.terms() {
                let mut monomial = left.clone();
                for (atom, power) in right {
                    match monomial.iter_mut().find(|(known, _)| *known == atom) {
                        Some(slot) => slot.1 += power,
                        None => monomial.push((atom, power)),
                    }
                }
                monomial.sort();
                product.push((monomial, a.saturating_mul(b)));
            }
        }
        Dim::from_terms(product)
    }
}

impl std::iter::Product for Dim {
    fn product<I: Iterator<Item = Dim>>(dims: I) -> Dim {
        dims.fold(Dim::new(1), |product, dim| product * dim)
    }
}

impl std::iter::Sum for Dim {
    fn sum<I: Iterator<Item = Dim>>(dims: I) -> Dim {
        dims.fold(Dim::new(0), |sum, dim| sum + dim)
    }
}
