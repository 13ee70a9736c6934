//! `ldmatrix` and `mma.sync`.
//!
//! Every `m16n8` shape has one fragment layout (PTX ISA, "Matrix Fragments for mma"): with group
//! `g = lane / 4`, thread `t = lane % 4` and `e` elements a register, register `r` of A holds row
//! `g + 8 (r % 2)`, columns `4e (r / 2) + e t ..`; register `r` of B holds column `g`, rows
//! `4e r + e t ..`; register `r` of C and D holds row `g + 8 (r / 2)`, column `2t + r % 2`.
//!
//! Float products are summed in double precision with the accumulator and rounded once; devices
//! sum in an unspecified order and precision, so a kernel's tolerance must allow for that.

use super::block::Launch;
use super::step::Faulty;
use super::warp::{FULL, Lanes, Warp};
use crate::error::Fault;
use crate::program::{Address, Element, Mma, Reg};
use crate::shared::{Access, Touch};

/// Bytes of one row of an 8x8 matrix of 16-bit elements.
const ROW_BYTES: usize = 16;

impl Launch<'_> {
    pub(super) fn load_matrix(
        &mut self,
        index: usize,
        at: u32,
        mask: u32,
        address: Address,
        transpose: bool,
        parts: &[Reg],
    ) -> Result<(), Faulty> {
        require_full(mask)?;
        let access = Access {
            warp: index as u32,
            at,
        };
        for (slot, part) in parts.iter().enumerate() {
            let mut matrix = [[0u64; 8]; 8];
            let mut places = [None; 32];
            for (row, elements) in matrix.iter_mut().enumerate() {
                let lane = slot * 8 + row;
                let value = self
                    .place(index, lane, address, ROW_BYTES)
                    .and_then(|place| {
                        places[row] = Some(place);
                        self.read(place, ROW_BYTES, access, Touch::Read)
                    });
                let value = value.map_err(|fault| (Some(lane), fault))?;
                for (column, element) in elements.iter_mut().enumerate() {
                    *element = (value >> (16 * column)) as u64 & 0xffff;
                }
            }
            self.count(&places, ROW_BYTES, false);
            let out: Lanes = std::array::from_fn(|lane| {
                let (row, column) = (lane / 4, lane % 4 * 2);
                if transpose {
                    matrix[column][row] | matrix[column + 1][row] << 16
                } else {
                    matrix[row][column] | matrix[row][column + 1] << 16
                }
            });
            self.warps[index].set(*part, mask, &out);
        }
        Ok(())
    }

    pub(super) fn multiply(&mut self, index: usize, mask: u32, mma: &Mma) -> Result<(), Faulty> {
        require_full(mask)?;
        self.stats.matrix_flops += 2 * 16 * 8 * mma.k as u64;
        let warp = &mut self.warps[index];
        let integer = matches!(mma.element_a, Element::Int { .. });
        // Integers are exact in double precision too: 32 products of bytes and a 32-bit sum.
        let (mut a, mut b) = ([[0f64; 32]; 16], [[0f64; 8]; 32]);
        for_each(
            mma.element_a,
            warp,
            &mma.a,
            |lane, reg, span, slot, value| {
                let column = 4 * span * (reg / 2) + span * (lane % 4) + slot;
                a[lane / 4 + 8 * (reg % 2)][column] = value;
            },
        );
        for_each(
            mma.element_b,
            warp,
            &mma.b,
            |lane, reg, span, slot, value| {
                b[4 * span * reg + span * (lane % 4) + slot][lane / 4] = value;
            },
        );
        let mut sums = [[0f64; 8]; 16];
        for (row, sums) in sums.iter_mut().enumerate() {
            for (factor, line) in a[row][..mma.k].iter().zip(&b) {
                for (sum, value) in sums.iter_mut().zip(line) {
                    *sum += factor * value;
                }
            }
        }
        for slot in 0..4 {
            let c = *warp.lanes(mma.c[slot]);
            let out = std::array::from_fn(|lane| {
                let sum = sums[lane / 4 + 8 * (slot / 2)][2 * (lane % 4) + slot % 2];
                if integer {
                    let total = sum as i64 + i64::from(c[lane] as i32);
                    let total = if mma.saturate {
                        total.clamp(i64::from(i32::MIN), i64::from(i32::MAX))
                    } else {
                        total
                    };
                    u64::from(total as u32)
                } else {
                    let total = (sum + f64::from(f32::from_bits(c[lane] as u32))) as f32;
                    let bits = if total.is_nan() {
                        0x7fff_ffff
                    } else {
                        total.to_bits()
                    };
                    u64::from(bits)
                }
            });
            warp.set(mma.d[slot], mask, &out);
        }
        Ok(())
    }
}

/// Visits every element of a fragment: lane, register, elements a register, element, value.
fn for_each(
    element: Element,
    warp: &Warp,
    registers: &[Reg],
    mut visit: impl FnMut(usize, usize, usize, usize, f64),
) {
    let bits = match element {
        Element::Int { .. } => 8,
        Element::Float(crate::float::TF32) => 32,
        Element::Float(_) => 16,
    };
    let span = 32 / bits;
    for (index, reg) in registers.iter().enumerate() {
        for (lane, word) in warp.lanes(*reg).iter().enumerate() {
            for slot in 0..span {
                let raw = word >> (slot * bits) & (u64::MAX >> (64 - bits));
                let value = match element {
                    Element::Int { signed: true } => f64::from(raw as u8 as i8),
                    Element::Int { signed: false } => f64::from(raw as u8),
                    // The low 13 bits of a TF32 operand are ignored.
                    Element::Float(crate::float::TF32) => crate::float::TF32.decode(raw & !0x1fff),
                    Element::Float(format) => format.decode(raw),
                };
                visit(lane, index, span, slot, value);
            }
        }
    }
}

fn require_full(mask: u32) -> Result<(), Faulty> {
    if mask == FULL {
        return Ok(());
    }
    Err((
        None,
        Fault::MemberMask {
            member: FULL,
            executing: mask,
        },
    ))
}
