//! Packing of B into panels of bf16 parts, and back.

use super::{Form, Found, take_part, to_bf16};
use crate::{
    isa::Isa,
    layout::{PackedElement, PackedLayout, SPLIT_COLS, SPLIT_STEP, SPLIT_TRAILER, SPLIT_WORDS},
    pack::BStrides,
};

/// One step of a panel, `[k][column]`.
type Step = [[f32; SPLIT_COLS]; SPLIT_STEP];

/// Packs one panel. The layout and the source were checked; `out` is the panel.
pub(crate) fn pack_panel(
    layout: &PackedLayout,
    source: &[f32],
    strides: BStrides,
    panel: usize,
    out: &mut [f32],
) {
    let parts = parts(layout);
    let (data, trailer) = out.split_at_mut(out.len() - SPLIT_TRAILER);
    let mut found = Found::NOTHING;
    let mut step = [[0f32; SPLIT_COLS]; SPLIT_STEP];
    let split = splitter(layout.isa, parts);
    for (at, out) in data.chunks_exact_mut(parts * SPLIT_WORDS).enumerate() {
        fill(layout, source, strides, panel, at, &mut step);
        // SAFETY: the function's set is available, or it has none.
        let here = unsafe { split(&step, out) };
        found = found.join(here);
    }
    let mut form = Form::Parts;
    if parts > 1 && !found.is_splittable() {
        form = Form::Whole;
        for (at, out) in data.chunks_exact_mut(SPLIT_STEP * SPLIT_COLS).enumerate() {
            if at >= layout.split_steps() {
                out.fill(0.0);
                continue;
            }
            fill(layout, source, strides, panel, at, &mut step);
            out.copy_from_slice(step.as_flattened());
        }
        let rest = data.len() / (SPLIT_STEP * SPLIT_COLS) * (SPLIT_STEP * SPLIT_COLS);
        data[rest..].fill(0.0);
    }
    trailer.fill(0.0);
    trailer[0] = f32::from_bits(u32::from(form == Form::Whole));
    trailer[1] = f32::from_bits(found.least);
    trailer[2] = f32::from_bits(found.most);
}

/// What is written at the end of a panel.
///
/// # Safety
/// `panel` is a packed panel of `layout`.
pub(super) unsafe fn trailer(layout: &PackedLayout, panel: *const f32) -> (Form, Found) {
    // SAFETY: the caller's.
    let word = |at: usize| unsafe {
        let trailer = panel.add(layout.panel_len() - SPLIT_TRAILER);
        trailer.add(at).cast::<u32>().read()
    };
    let form = if word(0) == 0 {
        Form::Parts
    } else {
        Form::Whole
    };
    let found = Found {
        least: word(1),
        most: word(2),
    };
    (form, found)
}

/// Puts together steps of a panel of parts: `[k][32]`. What comes of three parts is exact.
///
/// # Safety
/// `from` is the first of the steps, `out` has room for them.
pub(super) unsafe fn restore(parts: usize, from: *const f32, steps: usize, out: *mut f32) {
    let from = from.cast::<u16>();
    for k in 0..steps * SPLIT_STEP {
        let (step, at) = (k / SPLIT_STEP, k % SPLIT_STEP);
        for n in 0..SPLIT_COLS {
            let mut sum = 0f32;
            // The smallest first, so that no bit is lost.
            for part in (0..parts).rev() {
                let tile = (step * parts + part) * 2 + n / 16;
                let (pair, upper) = match parts {
                    1 => (at / 2, at % 2),
                    _ => (at % (SPLIT_STEP / 2), at / (SPLIT_STEP / 2)),
                };
                let word = tile * SPLIT_WORDS + pair * 32 + n % 16 * 2 + upper;
                // SAFETY: the caller's.
                let bits = unsafe { from.add(word).read() };
                sum += f32::from_bits(u32::from(bits) << 16);
            }
            // SAFETY: the caller's.
            unsafe { out.add(k * SPLIT_COLS + n).write(sum) };
        }
    }
}

/// The panel as `[k][32]` f32 again, `SPLIT_STEP * SPLIT_COLS` for each step.
pub(crate) fn unpack_panel(layout: &PackedLayout, panel: &[f32]) -> Vec<f32> {
    assert_eq!(panel.len(), layout.panel_len());
    let steps = layout.split_steps();
    let len = steps * SPLIT_STEP * SPLIT_COLS;
    // SAFETY: the length was checked.
    unsafe {
        match trailer(layout, panel.as_ptr()).0 {
            Form::Whole => panel[..len].to_vec(),
            Form::Parts => {
                let mut out = vec![0f32; len];
                restore(parts(layout), panel.as_ptr(), steps, out.as_mut_ptr());
                out
            }
        }
    }
}

fn parts(layout: &PackedLayout) -> usize {
    match layout.element {
        PackedElement::Bf16(parts) => usize::from(parts),
        PackedElement::F32 | PackedElement::I8 => unreachable!("the caller checked the element"),
    }
}

/// Copies one step of a panel; what lies outside of B is zero.
fn fill(
    layout: &PackedLayout,
    source: &[f32],
    strides: BStrides,
    panel: usize,
    at: usize,
    step: &mut Step,
) {
    let first = panel * SPLIT_COLS;
    let cols = (layout.n - first).min(SPLIT_COLS);
    let (mut tap, mut k) = (at * SPLIT_STEP / layout.k, at * SPLIT_STEP % layout.k);
    let start = |tap: usize, k: usize| {
        tap as isize * strides.tap + k as isize * strides.k + first as isize * strides.n
    };
    let is_whole = tap < layout.taps && k + SPLIT_STEP <= layout.k && strides.k == 1;
    if is_whole && strides.n != 1 {
        for n in 0..cols {
            let from = (start(tap, k) + n as isize * strides.n) as usize;
            for (row, &x) in step.iter_mut().zip(&source[from..from + SPLIT_STEP]) {
                row[n] = x;
            }
        }
        step.iter_mut().for_each(|row| row[cols..].fill(0.0));
        return;
    }
    for row in step.iter_mut() {
        row.fill(0.0);
        if tap < layout.taps {
            let from = start(tap, k);
            if strides.n == 1 {
                let from = from as usize;
                row[..cols].copy_from_slice(&source[from..from + cols]);
            } else {
                for (n, slot) in row[..cols].iter_mut().enumerate() {
                    *slot = source[(from + n as isize * strides.n) as usize];
                }
            }
        }
        k += 1;
        if k == layout.k {
            (tap, k) = (tap + 1, 0);
        }
    }
}

/// The two of K in a step that are neighbours in the lines of a panel.
#[inline(always)]
fn pair_of<const PARTS: usize>(pair: usize) -> [usize; 2] {
    match PARTS {
        1 => [2 * pair, 2 * pair + 1],
        _ => [pair, pair + SPLIT_STEP / 2],
    }
}

/// Splits one step into its parts, one after another, and says what it found.
type Split = unsafe fn(&Step, &mut [f32]) -> Found;

#[inline(always)]
fn split<const PARTS: usize>(step: &Step, out: &mut [f32]) -> Found {
    let (mut least, mut most) = ([u32::MAX; SPLIT_COLS], [0u32; SPLIT_COLS]);
    for pair in 0..SPLIT_STEP / 2 {
        let mut rest = pair_of::<PARTS>(pair).map(|k| step[k]);
        if PARTS > 1 {
            for row in &rest {
                for n in 0..SPLIT_COLS {
                    let bits = row[n].to_bits() & 0x7fff_ffff;
                    most[n] = most[n].max(bits);
                    least[n] = least[n].min(bits.wrapping_sub(1));
                }
            }
        }
        for part in 0..PARTS {
            for (tile, line) in [0, 16].into_iter().enumerate() {
                let to = (part * 2 + tile) * SPLIT_WORDS / 2 + pair * 16;
                for n in 0..16 {
                    let [low, high] = [0, 1].map(|i| match PARTS {
                        1 => u32::from(to_bf16(rest[i][line + n])),
                        _ => take_part(&mut rest[i][line + n]) >> 16,
                    });
                    out[to + n] = f32::from_bits(low | high << 16);
                }
            }
        }
    }
    let least = least.into_iter().fold(u32::MAX, u32::min);
    Found {
        least: least.saturating_add(1),
        most: most.into_iter().fold(0, u32::max),
    }
}

/// [`split`] of one part, by the instruction that rounds.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]
fn native(step: &Step, out: &mut [f32]) -> Found {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_loadu_si512,
        _mm512_permutexvar_epi16, _mm512_storeu_si512,
    };
    // One of the first sixteen, one of the second.
    let order: [u16; SPLIT_COLS] = std::array::from_fn(|i| (i % 2 * 16 + i / 2) as u16);
    assert!(out.len() >= SPLIT_WORDS);
    // SAFETY: the lengths of the arrays are known, that of `out` was checked.
    unsafe {
        let order = _mm512_loadu_si512(order.as_ptr().cast());
        for (pair, rows) in step.as_chunks::<2>().0.iter().enumerate() {
            for tile in 0..2 {
                let [low, high] = rows
                    .each_ref()
                    .map(|row| _mm512_loadu_ps(row.as_ptr().add(tile * SPLIT_COLS / 2)));
                let both = _mm512_cvtne2ps_pbh(high, low);
                let both = std::mem::transmute::<__m512bh, __m512i>(both);
                let line = _mm512_permutexvar_epi16(order, both);
                let to = tile * SPLIT_WORDS / 2 + pair * 16;
                _mm512_storeu_si512(out.as_mut_ptr().add(to).cast(), line);
            }
        }
    }
    Found::NOTHING
}

/// The function for this family.
fn splitter(isa: Isa, parts: usize) -> Split {
    unsafe fn plain<const PARTS: usize>(step: &Step, out: &mut [f32]) -> Found {
        split::<PARTS>(step, out)
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    unsafe fn wide<const PARTS: usize>(step: &Step, out: &mut [f32]) -> Found {
        split::<PARTS>(step, out)
    }
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Amx && parts == 1 && isa.is_available() {
        return native;
    }
    #[cfg(target_arch = "x86_64")]
    if matches!(isa, Isa::Avx512 | Isa::Amx) && isa.is_available() {
        return [wide::<1>, wide::<2>, wide::<3>][parts - 1];
    }
    let _ = isa;
    [plain::<1> as Split, plain::<2>, plain::<3>][parts - 1]
}
