//! What makes a descriptor one of a product: sizes that agree, and offsets within operands.

use crate::{
    error::KernelError,
    gemm::spec::{ARows, CStore, GemmSpec, Init, Products, Stored, Window},
    offsets::{Offsets, span},
};

#[derive(Clone, Debug)]
pub(crate) struct Needed {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) c: usize,
    pub(crate) bias: usize,
}

/// Checks what all kinds of products share.
pub(crate) fn check(spec: &GemmSpec) -> Result<(), KernelError> {
    let fail = |what, detail: String| Err(KernelError::spec(what, detail));
    if spec.c_store == CStore::ByHook && spec.init == Init::Accumulate {
        return fail(
            "c_store",
            "a tile stored by the hook cannot accumulate into c".into(),
        );
    }
    if spec.init == Init::Accumulate && spec.residual && spec.c_store != CStore::Rows {
        return fail(
            "c_store",
            "strided accumulation leaves no room for a residual".into(),
        );
    }
    if spec.a_stored == Stored::Bf16 && spec.products != Products::One {
        return fail("a_stored", "bf16 is multiplied as bf16 only".into());
    }
    if spec.c_store == CStore::Bf16 && spec.init == Init::Accumulate {
        return fail("c_store", "bf16 is not accumulated onto".into());
    }
    let is_apart = matches!(spec.c_store, CStore::Strided(_));
    let is_c = spec.init == Init::Accumulate && spec.c_store != CStore::Rows;
    if spec.residual_stored == Stored::Bf16 && (is_apart || is_c) {
        return fail("residual_stored", "bf16 is not strided".into());
    }
    check_rows(&spec.a_rows, spec.m)?;
    let batch = &spec.batch;
    let maps = [
        ("c_rows", &spec.c_rows, spec.m),
        ("batch a", &batch.a, batch.count),
        ("batch b", &batch.b, batch.count),
        ("batch c", &batch.c, batch.count),
        ("batch bias", &batch.bias, batch.count),
    ];
    for (what, map, count) in maps {
        if !map.covers(count) {
            return fail(what, format!("the offsets do not cover {count} entries"));
        }
    }
    Ok(())
}

/// Checks that `a_rows` describes `m` rows.
fn check_rows(a_rows: &ARows, m: usize) -> Result<(), KernelError> {
    match a_rows {
        ARows::Window(window) => check_window(window, m),
        ARows::Affine { rows, .. } if !rows.covers(m) => Err(KernelError::spec(
            "a_rows",
            format!("the offsets do not cover {m} rows"),
        )),
        ARows::Affine { .. } => Ok(()),
    }
}

pub(crate) fn check_window(w: &Window, m: usize) -> Result<(), KernelError> {
    let rows = w
        .images
        .checked_mul(w.out[0])
        .and_then(|r| r.checked_mul(w.out[1]));
    if rows != Some(m) {
        let detail = format!(
            "{} x {} x {} positions, but m is {m}",
            w.images, w.out[0], w.out[1]
        );
        return Err(KernelError::spec("window", detail));
    }
    let sizes = [w.input, w.out, w.kernel, w.stride, w.dilation, w.pad];
    if sizes.iter().flatten().any(|&size| size > i32::MAX as usize) {
        return Err(KernelError::spec("window", "a size exceeds 31 bits"));
    }
    if w.kernel.contains(&0) || w.stride.contains(&0) || w.dilation.contains(&0) {
        return Err(KernelError::spec(
            "window",
            "kernel, stride and dilation must be positive",
        ));
    }
    Ok(())
}

/// Checks that no operand is reached below its start, and returns how far each is reached.
pub(crate) fn extents(spec: &GemmSpec, b_len: usize) -> Result<Needed, KernelError> {
    let none = Needed {
        a: 0,
        b: 0,
        c: 0,
        bias: 0,
    };
    if spec.m == 0 || spec.n == 0 || spec.batch.count == 0 {
        return Ok(none);
    }
    let count = spec.batch.count;
    let depth = span(&[(spec.k.max(1) - 1, spec.a_k_stride)]);
    let a = match &spec.a_rows {
        _ if spec.k == 0 || spec.taps() == 0 => 0,
        ARows::Affine { rows, taps } => {
            let taps = Offsets::Table(taps.clone()).extent(taps.len());
            reach(
                "a",
                &[rows.extent(spec.m), taps, depth, spec.batch.a.extent(count)],
            )?
        }
        ARows::Window(w) if w.input.contains(&0) => 0,
        ARows::Window(w) => {
            let last = [w.images - 1, w.input[0] - 1, w.input[1] - 1];
            let image = span(&[
                (last[0], w.strides[0]),
                (last[1], w.strides[1]),
                (last[2], w.strides[2]),
            ]);
            reach("a", &[image, depth, spec.batch.a.extent(count)])?
        }
    };
    let b = match b_len.checked_sub(1) {
        Some(last) => reach("b", &[span(&[(last, 1)]), spec.batch.b.extent(count)])?,
        None => 0,
    };
    let columns = match spec.c_store {
        CStore::Rows | CStore::Bf16 | CStore::ByHook => span(&[(spec.n - 1, 1)]),
        CStore::Strided(stride) => span(&[(spec.n - 1, stride)]),
    };
    let c = reach(
        "c",
        &[
            spec.c_rows.extent(spec.m),
            columns,
            spec.batch.c.extent(count),
        ],
    )?;
    let bias_last = match spec.bias {
        crate::gemm::Bias::None => return Ok(Needed { a, b, c, bias: 0 }),
        crate::gemm::Bias::PerN => spec.n - 1,
        crate::gemm::Bias::PerM => spec.m - 1,
    };
    let bias = reach(
        "bias",
        &[span(&[(bias_last, 1)]), spec.batch.bias.extent(count)],
    )?;
    Ok(Needed { a, b, c, bias })
}

/// One more than the highest offset of a sum of ranges; the lowest must not be negative.
pub(crate) fn reach(
    operand: &'static str,
    ranges: &[Option<(isize, isize)>],
) -> Result<usize, KernelError> {
    let (mut low, mut high) = (0isize, 0isize);
    for range in ranges {
        let sums = range.and_then(|(l, h)| Some((low.checked_add(l)?, high.checked_add(h)?)));
        (low, high) = sums.ok_or_else(|| KernelError::spec(operand, "offsets overflow"))?;
    }
    if low < 0 {
        return Err(KernelError::Negative {
            operand,
            offset: low,
        });
    }
    Ok(high as usize + 1)
}
