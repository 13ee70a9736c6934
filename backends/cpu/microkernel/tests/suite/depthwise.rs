//! Depthwise convolution of every family and layout against an f64 reference.

use crate::support::values;
use alula_microkernel::{
    ChannelOrder, Depthwise, DepthwiseOperands, DepthwiseSpec, EpilogueTile, Hook, Isa, Stored,
    Window, pack_depthwise,
};

/// Adds 1 to each element of the tile.
unsafe extern "C" fn increment(tile: *const EpilogueTile) {
    // SAFETY: the driver passes a live tile.
    unsafe {
        let tile = &*tile;
        for r in 0..tile.rows {
            for n in 0..tile.cols {
                let p = tile.c.offset(tile.row_offsets.add(r).read()).add(n);
                p.write(p.read() + 1.0);
            }
        }
    }
}

fn check(isa: Isa, w: Window, channels: usize, channels_first: bool) {
    let (area, out_area) = (w.input[0] * w.input[1], w.out[0] * w.out[1]);
    let strides = |size: [usize; 2]| -> ([isize; 3], isize) {
        let area = (size[0] * size[1]) as isize;
        let c = channels as isize;
        if channels_first {
            ([area * c, size[1] as isize, 1], area)
        } else {
            ([area * c, size[1] as isize * c, c], 1)
        }
    };
    let ((x_strides, x_channel), (y_strides, y_channel)) = (strides(w.input), strides(w.out));
    let taps = w.kernel[0] * w.kernel[1];
    let x = values(1, w.images * area * channels);
    let filters = values(2, channels * taps);
    let bias = values(3, channels);
    let residual = values(4, w.images * out_area * channels);
    let order = if channels_first {
        ChannelOrder::First {
            x: x_channel,
            y: y_channel,
        }
    } else {
        ChannelOrder::Last
    };
    let plan = Depthwise::new(DepthwiseSpec {
        isa,
        window: Window {
            strides: x_strides,
            ..w
        },
        channels,
        order,
        y_strides,
        bias: true,
        residual: true,
        clip: Some((-1.0, 2.0)),
        x_stored: Stored::F32,
        y_stored: Stored::F32,
    })
    .unwrap();
    let mut packed = filters.clone();
    if !channels_first {
        pack_depthwise(&filters, channels, taps, &mut packed).unwrap();
    }
    let mut y = vec![f32::NAN; residual.len()];
    let mut scratch = vec![0xffu8; plan.scratch_bytes()];
    let mut operands = DepthwiseOperands::new(&x, &packed, &mut y)
        .with_bias(&bias)
        .with_residual(&residual);
    operands.hook = Some(Hook {
        function: increment,
        user: std::ptr::null_mut(),
    });
    // SAFETY: the vectors outlive the call.
    unsafe { plan.run(&operands, 0..plan.tasks(), &mut scratch) }.unwrap();
    for position in 0..w.images * out_area {
        let (image, rest) = (position / out_area, position % out_area);
        let (oh, ow) = (rest / w.out[1], rest % w.out[1]);
        for c in 0..channels {
            let mut sum = f64::from(bias[c]);
            for tap in 0..taps {
                let (kh, kw) = (tap / w.kernel[1], tap % w.kernel[1]);
                let h = (oh * w.stride[0] + kh * w.dilation[0]).wrapping_sub(w.pad[0]);
                let v = (ow * w.stride[1] + kw * w.dilation[1]).wrapping_sub(w.pad[1]);
                if h < w.input[0] && v < w.input[1] {
                    let at = image * x_strides[0] as usize
                        + h * x_strides[1] as usize
                        + v * x_strides[2] as usize
                        + c * x_channel as usize;
                    sum += f64::from(x[at]) * f64::from(filters[c * taps + tap]);
                }
            }
            let at = image * y_strides[0] as usize
                + oh * y_strides[1] as usize
                + ow * y_strides[2] as usize
                + c * y_channel as usize;
            let expected = (sum + f64::from(residual[at])).clamp(-1.0, 2.0) + 1.0;
            let apart = (f64::from(y[at]) - expected).abs();
            assert!(
                apart < 1e-5,
                "{} is not {expected} at {at}: {isa:?} {w:?}",
                y[at]
            );
        }
    }
}

#[test]
fn every_geometry_is_right_in_both_layouts() {
    let mut cases = 0;
    for isa in Isa::available() {
        let geometries: [[[usize; 2]; 4]; 8] = [
            [[3, 3], [1, 1], [1, 1], [1, 1]],
            [[3, 3], [2, 2], [1, 1], [1, 1]],
            [[5, 5], [1, 1], [1, 1], [2, 2]],
            [[5, 3], [2, 1], [1, 2], [2, 2]],
            [[3, 3], [3, 3], [2, 2], [0, 1]],
            [[1, 1], [2, 2], [1, 1], [0, 0]],
            [[3, 3], [2, 2], [1, 1], [0, 0]],
            [[1, 7], [1, 4], [1, 1], [0, 5]],
        ];
        for [kernel, stride, dilation, pad] in geometries {
            for input in [[7, 23], [12, 9], [6, 7], [1, 40]] {
                let out: [usize; 2] = std::array::from_fn(|i| {
                    let reach = dilation[i] * (kernel[i] - 1) + 1;
                    (input[i] + 2 * pad[i]).saturating_sub(reach) / stride[i] + 1
                });
                let w = Window {
                    images: 2,
                    input,
                    out,
                    kernel,
                    stride,
                    dilation,
                    pad,
                    strides: [0; 3],
                };
                for channels in [1, 3, 16, 37, 70] {
                    check(isa, w, channels, false);
                    check(isa, w, channels, true);
                    cases += 2;
                }
            }
        }
    }
    assert!(cases >= 640);
}

/// The same image as bf16 gives what it does as f32, and a result as bf16 is that of f32 rounded.
fn check_narrow(isa: Isa, [kernel, stride]: [usize; 2], channels: usize) {
    let (input, pad) = ([9, 13], kernel / 2);
    let out = input.map(|size| (size + 2 * pad - kernel) / stride + 1);
    let strides = |size: [usize; 2]| {
        let row = size[1] * channels;
        [(size[0] * row) as isize, row as isize, channels as isize]
    };
    let bits = |x: f32| (x.to_bits() >> 16) as u16;
    let back = |bits: u16| f32::from_bits(u32::from(bits) << 16);
    let x: Vec<u16> = values(1, input[0] * input[1] * channels)
        .into_iter()
        .map(bits)
        .collect();
    let wide: Vec<f32> = x.iter().copied().map(back).collect();
    let filters = values(2, channels * kernel * kernel);
    let bias = values(3, channels);
    let count = out[0] * out[1] * channels;
    let run = |x_stored: Stored, y_stored: Stored| {
        let plan = Depthwise::new(DepthwiseSpec {
            isa,
            window: Window {
                images: 1,
                input,
                out,
                kernel: [kernel; 2],
                stride: [stride; 2],
                dilation: [1; 2],
                pad: [pad; 2],
                strides: strides(input),
            },
            channels,
            order: ChannelOrder::Last,
            y_strides: strides(out),
            bias: true,
            residual: false,
            clip: Some((-1.0, 2.0)),
            x_stored,
            y_stored,
        })
        .unwrap();
        let (mut y, mut narrow) = (vec![f32::NAN; count], vec![0xffff_u16; count]);
        let mut operands = DepthwiseOperands::new(&wide, &filters, &mut y).with_bias(&bias);
        if x_stored == Stored::Bf16 {
            operands.x = (x.as_ptr().cast(), x.len());
        }
        if y_stored == Stored::Bf16 {
            operands.y = (narrow.as_mut_ptr().cast(), count);
        }
        // SAFETY: the vectors outlive the call.
        unsafe { plan.run(&operands, 0..plan.tasks(), &mut []) }.unwrap();
        match y_stored {
            Stored::F32 => y,
            Stored::Bf16 => narrow.into_iter().map(back).collect(),
        }
    };
    let whole = run(Stored::F32, Stored::F32);
    assert_eq!(run(Stored::Bf16, Stored::F32), whole, "{isa:?}");
    for x_stored in [Stored::F32, Stored::Bf16] {
        for (got, whole) in run(x_stored, Stored::Bf16).iter().zip(&whole) {
            assert!(
                (got - whole).abs() <= whole.abs() / 256.0,
                "{got} of {whole}: {isa:?}"
            );
        }
    }
}

#[test]
fn images_of_bf16_are_those_of_f32_rounded() {
    for isa in Isa::available() {
        for geometry in [[3, 1], [3, 2], [5, 1], [5, 2], [7, 1]] {
            for channels in [3, 16, 40, 144] {
                check_narrow(isa, geometry, channels);
            }
        }
    }
}

#[test]
fn bf16_is_refused_where_it_has_no_loops() {
    let spec = |order: ChannelOrder, residual: bool| DepthwiseSpec {
        isa: Isa::Portable,
        window: Window {
            images: 1,
            input: [4; 2],
            out: [4; 2],
            kernel: [1; 2],
            stride: [1; 2],
            dilation: [1; 2],
            pad: [0; 2],
            strides: [32, 8, 1],
        },
        channels: 1,
        order,
        y_strides: [32, 8, 1],
        bias: false,
        residual,
        clip: None,
        x_stored: Stored::F32,
        y_stored: Stored::Bf16,
    };
    assert!(Depthwise::new(spec(ChannelOrder::Last, false)).is_ok());
    assert!(Depthwise::new(spec(ChannelOrder::Last, true)).is_err());
    let first = ChannelOrder::First { x: 4, y: 4 };
    assert!(Depthwise::new(spec(first, false)).is_err());
}
