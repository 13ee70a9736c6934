//! Shared by the tests: seeded data, an f64 reference, a checked run.

use alula_microkernel::{
    ARows, BStrides, BatchReduceGemm, Bias, BlockLimit, CStore, GemmOperands, GemmSpec, Hook, Init,
    Products, Stored, pack_b,
};

/// Values in [-1, 1) from a seed.
pub(crate) fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Values as bf16, by cutting off what it has no room for.
fn narrow(values: &[f32]) -> Vec<u16> {
    values.iter().map(|x| (x.to_bits() >> 16) as u16).collect()
}

fn wide(values: &[u16]) -> Vec<f32> {
    let bits = values.iter().map(|&x| u32::from(x) << 16);
    bits.map(f32::from_bits).collect()
}

/// What a case starts from: B is unpacked, `[batch][tap][k][n]` dense.
pub(crate) struct Case {
    pub(crate) spec: GemmSpec,
    pub(crate) a: Vec<f32>,
    pub(crate) b: Vec<f32>,
    pub(crate) c: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) residual: Vec<f32>,
    /// Whether the residual is C itself.
    pub(crate) in_place: bool,
}

impl Case {
    pub(crate) fn new(spec: GemmSpec, a_len: usize, c_len: usize) -> Self {
        let b_len = spec.batch.count * spec.taps() * spec.k * spec.n;
        let bias_len = spec.m.max(spec.n) * spec.batch.count;
        let stored = |seed, len, stored| match stored {
            Stored::F32 => values(seed, len),
            Stored::Bf16 => wide(&narrow(&values(seed, len))),
        };
        Self {
            a: stored(1, a_len, spec.a_stored),
            b: values(2, b_len),
            c: stored(3, c_len, spec.c_store.stored()),
            bias: values(4, bias_len),
            residual: stored(5, c_len, spec.residual_stored),
            in_place: false,
            spec,
        }
    }

    /// The same with the residual in C.
    pub(crate) fn in_place(mut self) -> Self {
        self.c.clone_from(&self.residual);
        self.in_place = true;
        self
    }

    /// Checks that limits of blocks cut the product otherwise and change no bit.
    pub(crate) fn check_limits(mut self) {
        let plain = self.actual(2, None);
        let blocks = |spec: &GemmSpec| BatchReduceGemm::new(spec.clone(), 2).unwrap().blocks();
        let [most, least] = [blocks(&self.spec), [self.spec.m, self.spec.n]];
        for (rows, cols) in [
            (Some(1), None),
            (Some(40), None),
            (Some(1 << 20), None),
            (None, Some(1)),
            (None, Some(70)),
            (Some(64), Some(64)),
        ] {
            self.spec.limit = BlockLimit { rows, cols };
            let cut = blocks(&self.spec);
            if rows == Some(1) {
                assert!(cut[0] >= most[0] && cut[0] <= least[0], "{cut:?}");
            }
            if cols == Some(1) {
                assert!(cut[1] >= most[1] && cut[1] <= least[1], "{cut:?}");
            }
            assert_eq!(
                self.actual(2, None),
                plain,
                "{:?}: {cut:?}",
                self.spec.limit
            );
        }
    }

    fn a_at(&self, batch: usize, m: usize, tap: usize, k: usize) -> f64 {
        let inner = k as isize * self.spec.a_k_stride + self.spec.batch.a.at(batch);
        match &self.spec.a_rows {
            ARows::Affine { rows, taps } => {
                f64::from(self.a[(rows.at(m) + taps[tap] + inner) as usize])
            }
            ARows::Window(w) => {
                let (ow, rest) = (m % w.out[1], m / w.out[1]);
                let (oh, image) = (rest % w.out[0], rest / w.out[0]);
                let (kh, kw) = (tap / w.kernel[1], tap % w.kernel[1]);
                let h = (oh * w.stride[0] + kh * w.dilation[0]) as isize - w.pad[0] as isize;
                let x = (ow * w.stride[1] + kw * w.dilation[1]) as isize - w.pad[1] as isize;
                let inside =
                    (0..w.input[0] as isize).contains(&h) && (0..w.input[1] as isize).contains(&x);
                let at = image as isize * w.strides[0] + h * w.strides[1] + x * w.strides[2];
                if inside {
                    f64::from(self.a[(at + inner) as usize])
                } else {
                    0.0
                }
            }
        }
    }

    /// Where element `(m, n)` of C lies.
    pub(crate) fn c_at(&self, batch: usize, m: usize, n: usize) -> usize {
        let stride = if let CStore::Strided(stride) = self.spec.c_store {
            stride
        } else {
            1
        };
        let at = self.spec.c_rows.at(m) + n as isize * stride + self.spec.batch.c.at(batch);
        at as usize
    }

    /// C by the definition, in f64; elements that the product does not write keep their value.
    pub(crate) fn expected(&self) -> Vec<f64> {
        let s = &self.spec;
        let mut out: Vec<f64> = self.c.iter().map(|&x| f64::from(x)).collect();
        for batch in 0..s.batch.count {
            for m in 0..s.m {
                for n in 0..s.n {
                    let at = self.c_at(batch, m, n);
                    let mut sum = if s.init == Init::Accumulate {
                        out[at]
                    } else {
                        0.0
                    };
                    for tap in 0..s.taps() {
                        for k in 0..s.k {
                            let b = ((batch * s.taps() + tap) * s.k + k) * s.n + n;
                            sum += self.a_at(batch, m, tap, k) * f64::from(self.b[b]);
                        }
                    }
                    let bias = s.batch.bias.at(batch) as usize;
                    sum += match s.bias {
                        Bias::None => 0.0,
                        Bias::PerN => f64::from(self.bias[bias + n]),
                        Bias::PerM => f64::from(self.bias[bias + m]),
                    };
                    if s.residual {
                        sum += f64::from(self.residual[at]);
                    }
                    if let Some((low, high)) = s.clip {
                        sum = sum.max(f64::from(low)).min(f64::from(high));
                    }
                    out[at] = sum;
                }
            }
        }
        out
    }

    /// C as the kernels compute it, tasks one by one.
    pub(crate) fn actual(&self, threads: usize, hook: Option<Hook>) -> Vec<f32> {
        let gemm = BatchReduceGemm::new(self.spec.clone(), threads).unwrap();
        let layout = gemm.b_layout();
        let mut packed = vec![f32::NAN; layout.len() * self.spec.batch.count];
        let each = self.spec.taps() * self.spec.k * self.spec.n;
        for batch in 0..self.spec.batch.count {
            let strides = BStrides {
                tap: (self.spec.k * self.spec.n) as isize,
                k: self.spec.n as isize,
                n: 1,
            };
            let out = &mut packed[batch * layout.len()..][..layout.len()];
            let source = &self.b[batch * each..][..each];
            pack_b(&layout, source, strides, 0..layout.panels(), out).unwrap();
        }
        let mut c = self.c.clone();
        let (a, residual) = (narrow(&self.a), narrow(&self.residual));
        let mut narrow_c = narrow(&self.c);
        let mut scratch = vec![0xffu8; gemm.scratch_bytes()];
        let mut operands = GemmOperands::new(&self.a, &packed, &mut c)
            .with_bias(&self.bias)
            .with_residual(&self.residual);
        operands.hook = hook;
        if self.spec.a_stored == Stored::Bf16 {
            operands.a.0 = a.as_ptr().cast();
        }
        if self.spec.residual_stored == Stored::Bf16 {
            operands.residual.0 = residual.as_ptr().cast();
        }
        if self.spec.c_store == CStore::Bf16 {
            operands.c.0 = narrow_c.as_mut_ptr().cast();
        }
        if self.in_place {
            operands.residual = (operands.c.0.cast_const(), operands.c.1);
        }
        for task in (0..gemm.tasks()).rev() {
            // SAFETY: the vectors outlive the call, and C overlaps nothing.
            unsafe { gemm.run(&operands, task..task + 1, &mut scratch) }.unwrap();
        }
        match self.spec.c_store.stored() {
            Stored::Bf16 => wide(&narrow_c),
            Stored::F32 => c,
        }
    }

    /// Asserts that both agree to a rounding that grows with the depth of the sum.
    #[track_caller]
    pub(crate) fn check(&self, threads: usize) {
        let depth = (self.spec.k * self.spec.taps()) as f64;
        let unit = match self.spec.products {
            Products::Whole | Products::Six => 1e-6,
            // Four standard deviations: of a product of two numbers up to 1 it is 2e-6.
            Products::Three => 8e-6,
            Products::One => 3e-3,
        };
        let rounding = unit * (depth.sqrt() + 4.0);
        let actual = self.actual(threads, None);
        for (i, (&x, y)) in actual.iter().zip(self.expected()).enumerate() {
            let apart = (f64::from(x) - y).abs();
            let stored = match self.spec.c_store.stored() {
                Stored::Bf16 => y.abs() / 256.0,
                Stored::F32 => 0.0,
            };
            assert!(
                apart <= rounding + 2.0 * unit * y.abs() + stored,
                "element {i}: {x} is not {y} in {:?}",
                self.spec
            );
        }
    }
}
