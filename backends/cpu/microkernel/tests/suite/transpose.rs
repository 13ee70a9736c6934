//! Layout moves against their definition.

use alula_microkernel::{Isa, KernelError, pad_rows, transpose, transpose_any};

use crate::support::values;

#[test]
fn transposes_of_every_size_keep_what_lies_between_rows() {
    for isa in Isa::available() {
        for rows in [1, 2, 7, 8, 9, 17, 64, 65, 130] {
            for cols in [1, 3, 8, 15, 16, 63, 72, 129] {
                let (source_row, out_row) = (cols + 3, rows + 2);
                let source = values(1, rows * source_row);
                let mut out = vec![-9.0; cols * out_row];
                transpose(isa, &source, source_row, &mut out, out_row, [rows, cols]).unwrap();
                let mut any = vec![-9.0; cols * out_row];
                transpose_any(&source, source_row, &mut any, out_row, [rows, cols]).unwrap();
                for (i, &x) in out.iter().enumerate() {
                    let (c, r) = (i / out_row, i % out_row);
                    let expected = if r < rows {
                        source[r * source_row + c]
                    } else {
                        -9.0
                    };
                    assert_eq!((x, any[i]), (expected, expected), "{isa:?} {rows}x{cols}");
                }
            }
        }
    }
}

#[test]
fn short_slices_are_refused() {
    let source = [0.0; 11];
    let refused = transpose(Isa::Portable, &source, 4, &mut [0.0; 12], 3, [3, 4]);
    assert_eq!(
        refused,
        Err(KernelError::Short {
            operand: "source",
            needed: 12,
            found: 11
        })
    );
    let refused = pad_rows(&[0u8; 11], [3, 4, 1], [0; 4], 0, &mut [0; 12]);
    assert_eq!(
        refused,
        Err(KernelError::Short {
            operand: "source",
            needed: 12,
            found: 11
        })
    );
}

#[test]
fn padding_surrounds_the_image() {
    let source: Vec<u8> = (1..=12).collect();
    let mut out = [255u8; 70];
    pad_rows(&source, [2, 3, 2], [1, 2, 2, 1], 0, &mut out).unwrap();
    let expected = |y: usize, x: usize, c: usize| {
        let inside = (1..3).contains(&y) && (2..5).contains(&x);
        if inside {
            source[((y - 1) * 3 + x - 2) * 2 + c]
        } else {
            0
        }
    };
    for (i, &byte) in out[..60].iter().enumerate() {
        assert_eq!(byte, expected(i / 12, i / 2 % 6, i % 2));
    }
    assert_eq!(out[60..], [255; 10]);
}
