//! Shapes of products and convolutions out of real models, and memory for them.

use alula_microkernel::{Bias, GemmSpec, Isa, Window};

/// A contraction with the elements of its left side and of its result.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) spec: GemmSpec,
    pub(crate) a: usize,
    pub(crate) c: usize,
}

fn matmul(isa: Isa, name: &'static str, [m, k, n]: [usize; 3]) -> Shape {
    Shape {
        name,
        spec: GemmSpec::matmul(isa, m, k, n),
        a: m * k,
        c: m * n,
    }
}

/// Whole matrices: a square, and products of BERT base and DeiT tiny.
pub(crate) fn products(isa: Isa) -> Vec<Shape> {
    vec![
        matmul(isa, "1024x1024x1024", [1024, 1024, 1024]),
        matmul(isa, "128x768x3072", [128, 768, 3072]),
        matmul(isa, "197x192x576", [197, 192, 576]),
    ]
}

/// One row, as a language model has for each token.
pub(crate) fn rows(isa: Isa) -> Vec<Shape> {
    vec![
        matmul(isa, "768x3072", [1, 768, 3072]),
        matmul(isa, "4096x4096", [1, 4096, 4096]),
    ]
}

/// A window of one image, channels last, padded to keep its size: `[side, side, channels]`.
pub(crate) fn window(side: usize, channels: usize, kernel: usize) -> Window {
    let (s, c) = (side as isize, channels as isize);
    Window {
        images: 1,
        input: [side, side],
        out: [side, side],
        kernel: [kernel, kernel],
        stride: [1, 1],
        dilation: [1, 1],
        pad: [kernel / 2, kernel / 2],
        strides: [s * s * c, s * c, c],
    }
}

/// Convolutions of ResNet-50 and of MobileNet v2, with a bias and a ReLU.
pub(crate) fn convolutions(isa: Isa) -> Vec<Shape> {
    let conv = |name, side: usize, channels: usize, kernel, n: usize| {
        let mut spec = GemmSpec::conv2d(isa, window(side, channels, kernel), channels, n);
        spec.bias = Bias::PerN;
        spec.clip = Some((0.0, f32::INFINITY));
        Shape {
            name,
            spec,
            a: side * side * channels,
            c: side * side * n,
        }
    };
    vec![
        conv("3x3 56x56x64", 56, 64, 3, 64),
        conv("3x3 14x14x256", 14, 256, 3, 256),
        conv("1x1 56x56x256-64", 56, 256, 1, 64),
        conv("1x1 14x14x1024-256", 14, 1024, 1, 256),
        conv("1x1 56x56x144-24", 56, 144, 1, 24),
    ]
}

/// Values that begin on a cache line, as a runtime's buffers do.
pub(crate) struct Lines {
    values: Vec<f32>,
    first: usize,
}

impl Lines {
    pub(crate) fn zeros(len: usize) -> Lines {
        let values = vec![0.0; len + 16];
        let first = values.as_ptr().align_offset(64).min(16);
        Lines { values, first }
    }

    /// Values in -1..1, few of them alike.
    pub(crate) fn filled(len: usize) -> Lines {
        let mut lines = Lines::zeros(len);
        let values = lines.iter_mut().enumerate();
        values.for_each(|(i, x)| *x = ((i * 7919) % 1009) as f32 / 504.5 - 1.0);
        lines
    }
}

impl std::ops::Deref for Lines {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.values[self.first..]
    }
}

impl std::ops::DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.first..]
    }
}
