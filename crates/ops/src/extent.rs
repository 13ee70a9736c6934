//! Extent arithmetic on dims whose sign may not be known: what slices, reshapes and ranges need.
//!
//! Symbols that stand for extents are not negative; those made up for elements of tensors (`$0`)
//! may be. A choice by sign is written with minima and maxima, so that it stays a dim.

use alula_tensor::{Atom, Dim};

/// Starts and ends at least this far out mean "to the end" (ONNX models write `INT_MAX`).
const FAR: i64 = i32::MAX as i64;

/// Whether `dim` is provably not negative.
pub(crate) fn is_not_negative(dim: &Dim) -> bool {
    dim.terms().iter().all(|(monomial, coefficient)| {
        *coefficient >= 0 && monomial.iter().all(|(atom, _)| atom_is_not_negative(atom))
    })
}

fn atom_is_not_negative(atom: &Atom) -> bool {
    match atom {
        Atom::Sym(symbol) => !symbol.name().starts_with('$'),
        Atom::FloorDiv(a, b) => is_not_negative(a) && is_not_negative(b),
        Atom::Mod(_, b) => is_not_negative(b),
        Atom::Max(a, b) => is_not_negative(a) || is_not_negative(b),
        Atom::Min(a, b) => is_not_negative(a) && is_not_negative(b),
    }
}

/// Whether `a >= b`, provably.
pub(crate) fn at_least(a: &Dim, b: &Dim) -> bool {
    is_not_negative(&(a.clone() - b.clone()))
}

pub(crate) fn least(a: &Dim, b: &Dim) -> Dim {
    if at_least(b, a) {
        a.clone()
    } else if at_least(a, b) {
        b.clone()
    } else {
        a.minimum(b)
    }
}

pub(crate) fn greatest(a: &Dim, b: &Dim) -> Dim {
    if at_least(a, b) {
        a.clone()
    } else if at_least(b, a) {
        b.clone()
    } else {
        a.maximum(b)
    }
}

/// 1 where `dim` is negative, else 0.
pub fn is_negative(dim: &Dim) -> Dim {
    if is_not_negative(dim) {
        return Dim::new(0);
    }
    -greatest(&least(dim, &Dim::new(0)), &Dim::new(-1))
}

/// 1 where `dim` is 0, else 0.
pub(crate) fn is_zero(dim: &Dim) -> Dim {
    match dim.as_const() {
        Some(value) => Dim::new(i64::from(value == 0)),
        None => {
            let magnitude = greatest(dim, &-dim.clone());
            Dim::new(1) - least(&magnitude, &Dim::new(1))
        }
    }
}

/// `position`, counted from the end of `extent` if negative.
pub(crate) fn from_end(position: &Dim, extent: &Dim) -> Dim {
    position.clone() + is_negative(position) * extent.clone()
}

/// Start and number of elements of a slice with a constant step, by the rules of ONNX Slice and
/// of numpy: positions count from the end if negative, and are clamped to the extent.
pub(crate) fn slice_bounds(extent: &Dim, start: &Dim, end: &Dim, step: i64) -> (Dim, Dim) {
    let zero = Dim::new(0);
    let is_far = |dim: &Dim| dim.as_const().is_some_and(|value| value >= FAR);
    let is_far_back = |dim: &Dim| dim.as_const().is_some_and(|value| value <= -FAR);
    let clamp = |dim: &Dim, low: &Dim, high: &Dim| {
        if is_far(dim) {
            high.clone()
        } else if is_far_back(dim) {
            low.clone()
        } else {
            greatest(&least(&from_end(dim, extent), high), low)
        }
    };
    if step > 0 {
        let (start_in, end_in) = (clamp(start, &zero, extent), clamp(end, &zero, extent));
        let length = match start.as_const() {
            // `n - min(c, n)` and `max(n - c, 0)` are the same; one form for both.
            Some(from) if end_in == *extent && from >= 0 => {
                greatest(&(extent.clone() - start.clone()), &zero)
            }
            _ => greatest(&(end_in - start_in.clone()), &zero),
        };
        (start_in, length.ceil_div(&Dim::new(step)))
    } else {
        let last = extent.clone() - Dim::new(1);
        let start_in = clamp(start, &zero, &last);
        let end_in = clamp(end, &Dim::new(-1), &last);
        let length = greatest(&(start_in.clone() - end_in), &zero);
        // An empty axis has last = -1 and start 0: nothing is left of it.
        let length = least(&length, extent);
        (start_in, length.ceil_div(&Dim::new(step.saturating_neg())))
    }
}

/// Where a part of an axis starts, within the axis even where the part turns out to be empty: a
/// guarded load from it, once moved to the whole, must stay in bounds.
pub(crate) fn first_within(start: Dim, extent: &Dim, length: &Dim) -> Dim {
    if length.as_const().is_some_and(|length| length > 0) {
        return start;
    }
    let zero = Dim::new(0);
    greatest(&least(&start, &(extent.clone() - Dim::new(1))), &zero)
}

#[cfg(test)]
mod tests {
    use alula_tensor::Dim;

    use super::*;

    #[test]
    fn a_sign_is_chosen_without_a_branch() {
        let x = Dim::named("$0");
        let at = |dim: &Dim, value: i64| dim.substitute(&|_| Some(Dim::new(value))).as_const();
        for value in [-7, -1, 0, 1, 9] {
            assert_eq!(at(&is_negative(&x), value), Some(i64::from(value < 0)));
            assert_eq!(at(&is_zero(&x), value), Some(i64::from(value == 0)));
        }
    }

    #[test]
    fn slices_of_a_symbolic_extent_have_one_form() {
        let n = Dim::named("N");
        let bounds = |start, end| slice_bounds(&n, &Dim::new(start), &Dim::new(end), 1).1;
        assert_eq!(bounds(0, i64::MAX), n);
        assert_eq!(bounds(1, i64::MAX), bounds(0, -1));
        assert_eq!(bounds(0, -1).to_string(), "max(0, N - 1)");
    }

    #[test]
    fn bounds_agree_with_counting() {
        for n in 0..5_i64 {
            for start in -6..7 {
                for end in -6..7 {
                    for step in [-3, -2, -1, 1, 2, 3] {
                        let (_, length) =
                            slice_bounds(&Dim::new(n), &Dim::new(start), &Dim::new(end), step);
                        let mut count = 0;
                        let clamp = |p: i64, low: i64, high: i64| {
                            (if p < 0 { p + n } else { p }).min(high).max(low)
                        };
                        let (mut at, stop) = match step > 0 {
                            true => (clamp(start, 0, n), clamp(end, 0, n)),
                            false => (clamp(start, 0, n - 1), clamp(end, -1, n - 1)),
                        };
                        while n > 0 && ((step > 0 && at < stop) || (step < 0 && at > stop)) {
                            (count, at) = (count + 1, at + step);
                        }
                        assert_eq!(length, Dim::new(count), "{start}..{end} by {step} of {n}");
                    }
                }
            }
        }
    }
}
