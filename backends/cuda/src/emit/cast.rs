//! Conversions between dtypes, as `Scalar::cast` defines them.

use alula_tensor::{DType, DTypeClass};

use super::printer::Printer;
use super::repr::{Repr, arithmetic};

/// Reduces an integer to the width of its dtype.
pub(super) fn wrap(printer: &mut Printer, value: String, dtype: DType) -> String {
    match (dtype.class(), dtype.bits()) {
        (DTypeClass::Signed, bits @ ..32) => {
            printer.op(Repr::Word, "bfe.s32", &format!("{value}, 0, {bits}"))
        }
        (DTypeClass::Unsigned, bits @ ..32) => {
            let mask = (1_u32 << bits) - 1;
            printer.op(Repr::Word, "and.b32", &format!("{value}, {mask:#x}"))
        }
        _ => value,
    }
}

/// A conversion. `None`: not printed.
pub(super) fn cast(printer: &mut Printer, value: &str, from: DType, to: DType) -> Option<String> {
    let (source, target) = (Repr::of(from)?, Repr::of(to)?);
    Some(match (source, target) {
        _ if from == to => value.to_owned(),
        (Repr::Half, _) => {
            let single = printer.op(Repr::F32, "cvt.f32.f16", value);
            return cast(printer, &single, DType::F32, to);
        }
        (Repr::Pred, _) => from_bool(printer, value, target),
        (_, Repr::Pred) => {
            let (unordered, zero) = match source {
                Repr::F32 => ("neu.f32", "0f00000000"),
                Repr::F64 => ("neu.f64", "0d0000000000000000"),
                Repr::Long => ("ne.s64", "0"),
                _ => ("ne.s32", "0"),
            };
            printer.op(
                Repr::Pred,
                &format!("setp.{unordered}"),
                &format!("{value}, {zero}"),
            )
        }
        (Repr::F32, Repr::F64) => printer.op(Repr::F64, "cvt.f64.f32", value),
        (Repr::F32 | Repr::F64, Repr::F32 | Repr::F64 | Repr::Half) => {
            let name = format!("cvt.rn.{}.{}", arithmetic(to), arithmetic(from));
            printer.op(target, &name, value)
        }
        (Repr::F32 | Repr::F64, Repr::Word | Repr::Long) => float_to_int(printer, value, from, to),
        (Repr::Word | Repr::Long, Repr::F32 | Repr::F64 | Repr::Half) => {
            // Every 32-bit integer is an `f64`: rounding to one would be no rounding.
            let name = format!("cvt.rn.{}.{}", arithmetic(to), arithmetic(from));
            printer.op(target, &name, value)
        }
        (Repr::Word | Repr::Long, Repr::Word | Repr::Long) => int_to_int(printer, value, from, to),
    })
}

fn from_bool(printer: &mut Printer, value: &str, target: Repr) -> String {
    let (one, zero) = match target {
        Repr::Half => ("0x3c00", "0x0000"),
        Repr::F32 => ("0f3F800000", "0f00000000"),
        Repr::F64 => ("0d3FF0000000000000", "0d0000000000000000"),
        Repr::Pred | Repr::Word | Repr::Long => ("1", "0"),
    };
    printer.op(
        target,
        &format!("selp.{}", target.bits()),
        &format!("{one}, {zero}, {value}"),
    )
}

fn int_to_int(printer: &mut Printer, value: &str, from: DType, to: DType) -> String {
    let fits = match (from.int_range(), to.int_range()) {
        (Some(a), Some(b)) => a.0 >= b.0 && a.1 <= b.1,
        _ => false,
    };
    let resized = match (Repr::of(from), Repr::of(to)) {
        (Some(Repr::Word), Some(Repr::Long)) => {
            let signed = from.class() == DTypeClass::Signed;
            let name = if signed { "cvt.s64.s32" } else { "cvt.u64.u32" };
            printer.op(Repr::Long, name, value)
        }
        (Some(Repr::Long), Some(Repr::Word)) => printer.op(Repr::Word, "cvt.u32.u64", value),
        _ => value.to_owned(),
    };
    if fits {
        resized
    } else {
        wrap(printer, resized, to)
    }
}

/// Truncates and saturates; `cvt` does, but for the NaN of some widths and for narrow integers.
fn float_to_int(printer: &mut Printer, value: &str, from: DType, to: DType) -> String {
    let target = if to.bits() == 64 {
        Repr::Long
    } else {
        Repr::Word
    };
    let (int, float) = (arithmetic(to), arithmetic(from));
    let mut whole = printer.op(target, &format!("cvt.rzi.{int}.{float}"), value);
    if let Some((least, greatest)) = to.int_range().filter(|_| to.bits() < 32) {
        whole = printer.op(target, &format!("max.{int}"), &format!("{whole}, {least}"));
        whole = printer.op(
            target,
            &format!("min.{int}"),
            &format!("{whole}, {greatest}"),
        );
    }
    if from == DType::F32 && target == Repr::Word {
        return whole;
    }
    let nan = printer.op(
        Repr::Pred,
        &format!("setp.nan.{float}"),
        &format!("{value}, {value}"),
    );
    printer.op(
        target,
        &format!("selp.{}", target.bits()),
        &format!("0, {whole}, {nan}"),
    )
}

/// The same bits as another dtype of the same size. `None`: not printed.
pub(super) fn bitcast(
    printer: &mut Printer,
    value: &str,
    from: DType,
    to: DType,
) -> Option<String> {
    let (source, target) = (Repr::of(from)?, Repr::of(to)?);
    Some(match (source, target) {
        (Repr::Half, Repr::Word) if to.class() == DTypeClass::Signed => {
            printer.op(target, "cvt.s32.s16", value)
        }
        (Repr::Half, Repr::Word) => printer.op(target, "cvt.u32.u16", value),
        (Repr::Word, Repr::Half) => printer.op(target, "cvt.u16.u32", value),
        _ if source == target => wrap(printer, value.to_owned(), to),
        (Repr::F64 | Repr::Long, _) => printer.op(target, "mov.b64", value),
        _ => printer.op(target, "mov.b32", value),
    })
}
