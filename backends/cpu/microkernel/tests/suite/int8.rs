//! Integer products of every family, with and without byte instructions, against plain sums.

use alula_microkernel::{
    ARows, BStrides, Batch, Bias, ByteSign, CStore, ChannelOrder, DepthwiseSpec, EpilogueTile,
    GemmSpec, Hook, Init, IntDepthwise, IntDepthwiseOperands, IntGemm, IntGemmOperands, Isa,
    KernelError, Offsets, PackedLayout, Stored, Window, pack_b_i8, repack_b_i8,
};

use crate::support::values;

/// All byte values, extremes often.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let byte = |x: f32| match (x * 1e6) as i64 {
        n if n % 5 == 0 => 0x80,
        n if n % 5 == 1 => 0x7f,
        n if n % 5 == 2 => 0xff,
        n => n as u8,
    };
    values(seed, count).into_iter().map(byte).collect()
}

/// By what a product is made; tiles are emulated where the CPU has none.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kernels {
    Best,
    NoByteProducts,
    Tiles,
}

struct Case {
    spec: GemmSpec,
    sign: ByteSign,
    a: Vec<u8>,
    b: Vec<u8>,
    b_sign: ByteSign,
    c: Vec<i32>,
    bias: Vec<i32>,
    a_zero: i32,
    b_zero: Vec<i32>,
}

impl Case {
    fn new(spec: GemmSpec, sign: ByteSign, a_len: usize, c_len: usize) -> Self {
        let b_len = spec.batch.count * spec.taps() * spec.k * spec.n;
        let n = spec.n;
        Self {
            a: bytes(1, a_len),
            b: bytes(2, b_len),
            b_sign: ByteSign::Signed,
            c: (0..c_len as i32).map(|i| i * 77 - 900).collect(),
            bias: (0..(n * spec.batch.count) as i32)
                .map(|i| i * 1001 - 5000)
                .collect(),
            a_zero: if sign == ByteSign::Signed { -7 } else { 131 },
            b_zero: (0..n as i32).map(|i| i % 11 - 5).collect(),
            spec,
            sign,
        }
    }

    fn a_at(&self, batch: usize, m: usize, tap: usize, k: usize) -> i64 {
        let inner = k as isize * self.spec.a_k_stride + self.spec.batch.a.at(batch);
        let at = match &self.spec.a_rows {
            ARows::Affine { rows, taps } => rows.at(m) + taps[tap] + inner,
            ARows::Window(w) => {
                let (ow, oh) = (m % w.out[1], m / w.out[1]);
                let (kh, kw) = (tap / w.kernel[1], tap % w.kernel[1]);
                let h = (oh * w.stride[0] + kh).wrapping_sub(w.pad[0]);
                let x = (ow * w.stride[1] + kw).wrapping_sub(w.pad[1]);
                if h >= w.input[0] || x >= w.input[1] {
                    return i64::from(self.a_zero);
                }
                h as isize * w.strides[1] + x as isize * w.strides[2] + inner
            }
        };
        let byte = self.a[at as usize];
        if self.sign == ByteSign::Signed {
            i64::from(byte as i8)
        } else {
            i64::from(byte)
        }
    }

    fn c_at(&self, batch: usize, m: usize, n: usize) -> usize {
        let stride = if let CStore::Strided(stride) = self.spec.c_store {
            stride
        } else {
            1
        };
        let at = self.spec.c_rows.at(m) + n as isize * stride + self.spec.batch.c.at(batch);
        at as usize
    }

    fn expected(&self) -> Vec<i32> {
        let s = &self.spec;
        let mut out = self.c.clone();
        for batch in 0..s.batch.count {
            for m in 0..s.m {
                for n in 0..s.n {
                    let at = self.c_at(batch, m, n);
                    let mut sum = if s.init == Init::Accumulate {
                        out[at].into()
                    } else {
                        0i64
                    };
                    let b_zero = match self.b_zero.len() {
                        0 => 0,
                        1 => self.b_zero[0],
                        _ => self.b_zero[n],
                    };
                    for tap in 0..s.taps() {
                        for k in 0..s.k {
                            let b = ((batch * s.taps() + tap) * s.k + k) * s.n + n;
                            let b = match self.b_sign {
                                ByteSign::Signed => i64::from(self.b[b] as i8),
                                ByteSign::Unsigned => i64::from(self.b[b]) - 128,
                            } - i64::from(b_zero);
                            sum += (self.a_at(batch, m, tap, k) - i64::from(self.a_zero)) * b;
                        }
                    }
                    if s.bias == Bias::PerN {
                        sum += i64::from(self.bias[s.batch.bias.at(batch) as usize + n]);
                    }
                    out[at] = sum as i32;
                }
            }
        }
        out
    }

    fn actual(&self, kernels: Kernels, threads: usize, hook: Option<Hook<i32>>) -> Vec<i32> {
        let mut spec = self.spec.clone();
        let new = match kernels {
            Kernels::Best => IntGemm::new,
            Kernels::NoByteProducts => IntGemm::new_without_vnni,
            Kernels::Tiles => IntGemm::new_by_tiles,
        };
        if kernels == Kernels::Tiles && spec.batch.count > 1 {
            let layout = PackedLayout::i8(Isa::Amx, spec.taps(), spec.k, spec.n);
            spec.batch.b = Offsets::Uniform(layout.len() as isize);
        }
        let gemm = new(spec, self.sign, threads).unwrap();
        let layout = gemm.b_layout();
        let s = &self.spec;
        let each = s.taps() * s.k * s.n;
        let mut packed = vec![0xffu8; layout.len() * s.batch.count];
        for batch in 0..s.batch.count {
            let strides = BStrides {
                tap: (s.k * s.n) as isize,
                k: s.n as isize,
                n: 1,
            };
            let out = &mut packed[batch * layout.len()..][..layout.len()];
            let source = &self.b[batch * each..][..each];
            pack_b_i8(
                &layout,
                (source, self.b_sign),
                strides,
                0..layout.panels(),
                out,
            )
            .unwrap();
        }
        let mut c = self.c.clone();
        let mut scratch = vec![0xffu8; gemm.scratch_bytes()];
        let mut operands = IntGemmOperands::new(&self.a, &packed, &mut c)
            .with_bias(&self.bias)
            .with_zeros(self.a_zero, &self.b_zero);
        operands.hook = hook;
        for task in (0..gemm.tasks()).rev() {
            // SAFETY: the vectors outlive the call, and C overlaps nothing.
            unsafe { gemm.run(&operands, task..task + 1, &mut scratch) }.unwrap();
        }
        c
    }

    #[track_caller]
    fn check(&self) {
        let expected = self.expected();
        for kernels in [Kernels::Best, Kernels::NoByteProducts, Kernels::Tiles] {
            let actual = self.actual(kernels, 2, None);
            assert_eq!(actual, expected, "{kernels:?}: {:?}", self.spec);
        }
    }
}

const SIGNS: [ByteSign; 2] = [ByteSign::Unsigned, ByteSign::Signed];

#[test]
fn every_tile_size_is_exact() {
    for isa in Isa::available() {
        let (mr, nr) = isa.tile_i8();
        for m in 1..=2 * mr + 1 {
            for n in 1..=2 * nr + 1 {
                let mut spec = GemmSpec::matmul(isa, m, (m + n) % 14, n);
                spec.bias = if n % 3 == 0 { Bias::PerN } else { Bias::None };
                spec.init = if m % 3 == 0 {
                    Init::Accumulate
                } else {
                    Init::Zero
                };
                let (a_len, c_len) = (m * spec.k, m * n);
                let mut case = Case::new(spec, SIGNS[n % 2], a_len, c_len);
                case.b_zero.truncate([0, 1, n][(m + n) % 3]);
                case.check();
            }
        }
    }
}

#[test]
fn every_depth_is_exact_at_the_extremes() {
    for isa in Isa::available() {
        for k in [0, 1, 3, 4, 5, 255, 2047, 2048, 2050, 5001] {
            for sign in SIGNS {
                let mut case = Case::new(GemmSpec::matmul(isa, 5, k, 35), sign, 5 * k, 5 * 35);
                case.check();
                case.a
                    .fill(if sign == ByteSign::Signed { 0x80 } else { 0xff });
                case.b.fill(0x80);
                case.check();
            }
        }
    }
}

#[test]
fn taps_strides_and_batches_are_exact() {
    for isa in Isa::available() {
        for (k, k_stride) in [(5, 1), (300, 1), (130, 3), (2100, 2)] {
            for (n, store) in [(70, CStore::Rows), (33, CStore::Strided(50))] {
                let mut spec = GemmSpec::matmul(isa, 31, k, n);
                spec.a_k_stride = k_stride;
                spec.a_rows = ARows::Affine {
                    rows: Offsets::Grid {
                        inner: [2, 4],
                        strides: [90, 30, 1],
                    },
                    taps: vec![0, 7, 3],
                };
                spec.batch = Batch {
                    count: 2,
                    a: Offsets::Uniform(11),
                    b: Offsets::Uniform(PackedLayout::i8(isa, 3, k, n).len() as isize),
                    c: Offsets::Uniform(2500),
                    bias: Offsets::Uniform(n as isize),
                };
                spec.bias = Bias::PerN;
                if store != CStore::Rows {
                    spec.c_rows = Offsets::Uniform(1);
                }
                spec.c_store = store;
                let a_len = 3 * 90 + 30 + 4 + 20 + k * k_stride as usize;
                Case::new(spec, SIGNS[k % 2], a_len, 5000).check();
            }
        }
    }
}

#[test]
fn windows_pad_with_the_zero_point() {
    for isa in Isa::available() {
        for (channels, n, step) in [(3, 5, 1), (64, 40, 2), (30, 33, 1)] {
            for first in [false, true] {
                let (side, out) = (9usize, 9usize.div_ceil(step));
                let c = channels as isize;
                let window = Window {
                    images: 1,
                    input: [side, side],
                    out: [out, out],
                    kernel: [3, 3],
                    stride: [step, step],
                    dilation: [1, 1],
                    pad: [1, 1],
                    strides: if first { [0, 9, 1] } else { [0, 9 * c, c] },
                };
                let mut spec = GemmSpec::conv2d(isa, window, channels, n);
                spec.a_k_stride = if first { 81 } else { 1 };
                let c_len = spec.m * n;
                for sign in SIGNS {
                    Case::new(spec.clone(), sign, 81 * channels, c_len).check();
                }
            }
        }
    }
}

#[test]
fn windows_of_few_channels_are_exact() {
    // Rows of a window that a line cuts in two, and images that are narrower than a window.
    let geometries = [
        (3, [11, 12], [7, 7], 2, 3),
        (3, [5, 4], [7, 7], 1, 3),
        (3, [8, 9], [2, 10], 1, 5),
        (1, [7, 40], [3, 30], 1, 4),
        (2, [7, 18], [9, 16], 1, 4),
        (4, [9, 9], [4, 3], 2, 1),
    ];
    for isa in Isa::available() {
        for (channels, input, kernel, step, pad) in geometries {
            let out = std::array::from_fn(|i| (input[i] + 2 * pad - kernel[i]) / step + 1);
            let c = channels as isize;
            let window = Window {
                images: 1,
                input,
                out,
                kernel,
                stride: [step, step],
                dilation: [1, 1],
                pad: [pad, pad],
                strides: [0, input[1] as isize * c, c],
            };
            let spec = GemmSpec::conv2d(isa, window, channels, 33);
            let c_len = spec.m * 33;
            for sign in SIGNS {
                Case::new(spec.clone(), sign, input[0] * input[1] * channels, c_len).check();
            }
        }
    }
}

/// Stores the tile to the dense `[20, 50]` i32 at `user`.
unsafe extern "C" fn deliver(tile: *const EpilogueTile<i32>) {
    // SAFETY: the driver passes a live tile; `user` is the test's own buffer.
    unsafe {
        let tile = &*tile;
        for r in 0..tile.rows {
            for n in 0..tile.cols {
                let x = tile.c.offset(tile.row_offsets.add(r).read()).add(n).read();
                tile.user
                    .cast::<i32>()
                    .add((tile.m0 + r) * 50 + tile.n0 + n)
                    .write(x);
            }
        }
    }
}

#[test]
fn a_hook_can_store_alone() {
    for isa in Isa::available() {
        let spec = GemmSpec {
            c_store: CStore::ByHook,
            ..GemmSpec::matmul(isa, 20, 3000, 50)
        };
        let mut case = Case::new(spec, ByteSign::Unsigned, 20 * 3000, 0);
        let mut out = vec![0i32; 20 * 50];
        let hook = Hook {
            function: deliver,
            user: out.as_mut_ptr().cast(),
        };
        case.actual(Kernels::Best, 2, Some(hook));
        case.spec.c_store = CStore::Rows;
        case.c = vec![0; 20 * 50];
        assert_eq!(out, case.expected());
    }
}

#[test]
fn unsigned_filters_are_stored_128_lower() {
    for isa in Isa::available() {
        let mut case = Case::new(
            GemmSpec::matmul(isa, 5, 70, 35),
            ByteSign::Signed,
            5 * 70,
            5 * 35,
        );
        case.b_sign = ByteSign::Unsigned;
        case.check();
    }
}

/// Stores the tile where it says that it belongs, columns next to each other.
unsafe extern "C" fn place(tile: *const EpilogueTile<i32>) {
    // SAFETY: the driver passes a live tile; `user` is the test's own buffer.
    unsafe {
        let tile = &*tile;
        for r in 0..tile.rows {
            let to = tile.out + tile.out_rows.add(r).read() + tile.n0 as isize;
            for n in 0..tile.cols {
                let x = tile.c.offset(tile.row_offsets.add(r).read()).add(n).read();
                tile.user.cast::<i32>().offset(to + n as isize).write(x);
            }
        }
    }
}

#[test]
fn tiles_know_where_they_belong() {
    for isa in Isa::available() {
        let mut spec = GemmSpec::matmul(isa, 20, 30, 50);
        spec.batch = Batch {
            count: 2,
            a: Offsets::Uniform(600),
            b: Offsets::Uniform(PackedLayout::i8(isa, 1, 30, 50).len() as isize),
            c: Offsets::Uniform(1000),
            bias: Offsets::Uniform(0),
        };
        spec.c_store = CStore::ByHook;
        let mut case = Case::new(spec, ByteSign::Unsigned, 1200, 0);
        let mut out = vec![0i32; 2000];
        let hook = Hook {
            function: place,
            user: out.as_mut_ptr().cast(),
        };
        case.actual(Kernels::Best, 2, Some(hook));
        case.spec.c_store = CStore::Rows;
        case.c = vec![0; 2000];
        assert_eq!(out, case.expected());
    }
}

#[test]
fn depthwise_sums_are_exact_in_both_orders() {
    let geometries = [
        (70, [9, 8], [3, 3], [1, 1], [1, 1], [1, 1]),
        (128, [6, 7], [5, 5], [2, 1], [1, 1], [2, 2]),
        (32, [7, 11], [3, 5], [2, 2], [1, 2], [0, 3]),
        (5, [4, 6], [1, 2], [3, 1], [2, 2], [2, 1]),
        // Windows of three by three: registers of one, two and four strips, and rows of several
        // columns, some of them apart; tasks of several rows and of one.
        (130, [13, 5], [3, 3], [1, 1], [1, 1], [1, 1]),
        (144, [5, 7], [3, 3], [1, 1], [1, 1], [1, 1]),
        (96, [5, 8], [3, 3], [2, 2], [1, 1], [1, 1]),
        (1, [2, 70], [3, 3], [1, 1], [1, 1], [1, 1]),
        (63, [6, 1], [3, 3], [1, 1], [1, 1], [1, 1]),
        (64, [4, 9], [3, 3], [1, 3], [1, 1], [1, 0]),
        (65, [9, 9], [3, 3], [1, 1], [2, 2], [2, 2]),
        // Other heights and widths, and columns that are further apart than is kept.
        (65, [7, 9], [1, 3], [1, 3], [1, 2], [0, 2]),
        (130, [9, 4], [4, 1], [1, 1], [1, 1], [2, 0]),
        (20, [6, 7], [7, 7], [1, 2], [1, 1], [3, 3]),
        (400, [3, 3], [5, 1], [2, 1], [1, 1], [2, 0]),
        (5, [3, 4], [1, 2], [1, 1], [1, 2000], [0, 2000]),
    ];
    for isa in Isa::available() {
        for (channels, input, kernel, stride, dilation, pad) in geometries {
            let out: [usize; 2] = std::array::from_fn(|i| {
                (input[i] + 2 * pad[i] - (kernel[i] - 1) * dilation[i] - 1) / stride[i] + 1
            });
            for last in [true, false] {
                for (x_sign, w_sign, w_zero) in [
                    (SIGNS[0], SIGNS[1], -2),
                    (SIGNS[1], SIGNS[0], -2),
                    (SIGNS[0], ByteSign::Signed, 0),
                    (SIGNS[1], ByteSign::Signed, 0),
                ] {
                    let (plane, spots) = (input[0] * input[1], out[0] * out[1]);
                    let (image, step) = (channels * plane, if last { channels } else { 1 });
                    let window = Window {
                        images: 2,
                        input,
                        out,
                        kernel,
                        stride,
                        dilation,
                        pad,
                        strides: [image, step * input[1], step].map(|s| s as isize),
                    };
                    let order = if last {
                        ChannelOrder::Last
                    } else {
                        ChannelOrder::First {
                            x: plane as isize,
                            y: spots as isize,
                        }
                    };
                    let spec = DepthwiseSpec {
                        isa,
                        window,
                        channels,
                        order,
                        y_strides: [channels * spots, step * out[1], step].map(|s| s as isize),
                        bias: false,
                        residual: false,
                        clip: None,
                        x_stored: Stored::F32,
                        y_stored: Stored::F32,
                    };
                    let taps = kernel[0] * kernel[1];
                    let (x, w) = (bytes(1, 2 * image), bytes(2, channels * taps));
                    let x_zero = 3;
                    let mut filters = w.clone();
                    if last {
                        for (i, slot) in filters.iter_mut().enumerate() {
                            *slot = w[i % channels * taps + i / channels];
                        }
                    }
                    let plan = IntDepthwise::new(spec, [x_sign, w_sign]).unwrap();
                    let mut got = vec![0i32; 2 * channels * spots];
                    let operands = IntDepthwiseOperands {
                        x: (x.as_ptr(), x.len()),
                        w: (filters.as_ptr(), filters.len()),
                        zeros: [x_zero, w_zero],
                        hook: Hook {
                            function: place,
                            user: got.as_mut_ptr().cast(),
                        },
                    };
                    let mut scratch = vec![1u8; plan.scratch_bytes()];
                    for task in 0..plan.tasks() {
                        // SAFETY: the vectors outlive the call.
                        unsafe { plan.run(&operands, task, &mut scratch) }.unwrap();
                    }
                    let value = |byte: u8, sign| match sign {
                        ByteSign::Signed => i32::from(byte as i8),
                        ByteSign::Unsigned => i32::from(byte),
                    };
                    let [xs, ys] = [(window.strides, plane), ([0; 3], spots)];
                    let (x_step, y_step) = if last { (1, 1) } else { (xs.1, ys.1) };
                    for (at, &got) in got.iter().enumerate() {
                        let (image, rest) = (at / (channels * spots), at % (channels * spots));
                        let (c, spot) = if last {
                            (rest % channels, rest / channels)
                        } else {
                            (rest / y_step, rest % y_step)
                        };
                        let mut sum = 0;
                        for tap in 0..taps {
                            let h = (spot / out[1] * stride[0] + tap / kernel[1] * dilation[0])
                                .wrapping_sub(pad[0]);
                            let v = (spot % out[1] * stride[1] + tap % kernel[1] * dilation[1])
                                .wrapping_sub(pad[1]);
                            if h < input[0] && v < input[1] {
                                let from = image * xs.0[0] as usize
                                    + h * xs.0[1] as usize
                                    + v * xs.0[2] as usize
                                    + c * x_step;
                                sum += (value(x[from], x_sign) - x_zero)
                                    * (value(w[c * taps + tap], w_sign) - w_zero);
                            }
                        }
                        assert_eq!(got, sum, "{isa:?} last {last} element {at}");
                    }
                }
            }
        }
    }
}

#[test]
fn packed_bytes_move_between_families() {
    let source = bytes(9, 3 * 13 * 45);
    let strides = BStrides {
        tap: 13 * 45,
        k: 45,
        n: 1,
    };
    let pack = |isa| {
        let layout = PackedLayout::i8(isa, 3, 13, 45);
        let mut out = vec![0u8; layout.len()];
        pack_b_i8(
            &layout,
            (&source, ByteSign::Signed),
            strides,
            0..layout.panels(),
            &mut out,
        )
        .unwrap();
        (layout, out)
    };
    for from in Isa::ALL {
        for to in Isa::ALL {
            let ((from, packed), (to, expected)) = (pack(from), pack(to));
            let mut out = vec![1u8; to.len()];
            repack_b_i8(&from, &packed, &to, &mut out).unwrap();
            assert_eq!(out, expected);
        }
    }
}

#[test]
fn float_epilogues_are_refused() {
    let spec = GemmSpec {
        residual: true,
        ..GemmSpec::matmul(Isa::Portable, 2, 2, 2)
    };
    let refused = IntGemm::new(spec, ByteSign::Signed, 1);
    assert!(matches!(
        refused,
        Err(KernelError::Spec {
            what: "integer epilogue",
            ..
        })
    ));
}
