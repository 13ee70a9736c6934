//! Images of few channels, copied with their padding before a convolution reads them.
//!
//! Where columns are adjacent and channels are few, a tap is only a few products deep if channels
//! are summed within it. In a padded copy every tap lies inside, so that the columns of the window
//! can be the depth instead, and channels and rows of the window the taps.

use alula_microkernel::{Offsets, Pool, Window};

use super::bound::{ContractError, SendPointer};

/// A copy of all planes: `[image, channel, height, width]`, dense.
#[derive(Clone, Debug)]
pub(super) struct Image {
    window: Window,
    channels: usize,
    /// Stride of a channel in the source.
    channel: usize,
    /// Height and width of a plane with its padding, as far as the window reaches.
    size: [usize; 2],
    /// Elements that the source has at least.
    needed: usize,
}

impl Image {
    /// Sizes the copy; columns of the source must be adjacent.
    pub(super) fn new(
        window: Window,
        channels: usize,
        channel: isize,
    ) -> Result<Image, ContractError> {
        let mut size = [0; 2];
        for (axis, size) in size.iter_mut().enumerate() {
            let last = |count: usize, step: usize| count.saturating_sub(1).checked_mul(step);
            let moved = last(window.out[axis], window.stride[axis]);
            let taps = last(window.kernel[axis], window.dilation[axis]);
            let reach = moved
                .zip(taps)
                .and_then(|(a, b)| a.checked_add(b)?.checked_add(1));
            *size = reach.ok_or(ContractError::TooLarge)?;
        }
        let mut needed = 1_usize;
        let channel = usize::try_from(channel).map_err(|_| ContractError::TooLarge)?;
        let steps = [
            (window.images, usize::try_from(window.strides[0]).ok()),
            (channels, Some(channel)),
            (window.input[0], usize::try_from(window.strides[1]).ok()),
            (window.input[1], Some(1)),
        ];
        for (count, stride) in steps {
            let last = stride.and_then(|stride| count.saturating_sub(1).checked_mul(stride));
            let sum = last.and_then(|last| needed.checked_add(last));
            needed = sum.ok_or(ContractError::TooLarge)?;
        }
        if window.images == 0 || channels == 0 || window.input.contains(&0) {
            needed = 0;
        }
        let image = Image {
            window,
            channels,
            channel,
            size,
            needed,
        };
        let parts = [window.images, channels, size[0], size[1], 4];
        let bytes = parts
            .iter()
            .try_fold(1_usize, |n, &part| n.checked_mul(part));
        match bytes.filter(|&bytes| bytes <= isize::MAX as usize) {
            Some(_) => Ok(image),
            None => Err(ContractError::TooLarge),
        }
    }

    fn plane(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Elements of the copy.
    pub(super) fn len(&self) -> usize {
        self.window.images * self.channels * self.plane()
    }

    /// Where the window begins for each position.
    pub(super) fn rows(&self) -> Offsets {
        let [height, width] = self.window.out;
        if height == 0 || width == 0 {
            return Offsets::Uniform(0);
        }
        let row = self.window.stride[0] * self.size[1];
        Offsets::Grid {
            inner: [height, width],
            strides: [
                (self.channels * self.plane()) as isize,
                row as isize,
                self.window.stride[1] as isize,
            ],
        }
    }

    /// Distance of neighbouring columns of the window.
    pub(super) fn step(&self) -> isize {
        self.window.dilation[1] as isize
    }

    /// Where each channel of each row of the window begins.
    pub(super) fn taps(&self) -> Vec<isize> {
        let rows = self.window.kernel[0];
        let step = self.window.dilation[0] * self.size[1];
        let channels = 0..self.channels;
        channels
            .flat_map(|c| (0..rows).map(move |r| (c * self.plane() + r * step) as isize))
            .collect()
    }

    /// Copies every plane, one a task.
    ///
    /// # Safety
    /// The source is valid for its length and nobody writes it.
    pub(super) unsafe fn fill(
        &self,
        pool: &Pool,
        source: (*const f32, usize),
        out: &mut [f32],
    ) -> Result<(), ContractError> {
        if self.needed > source.1 {
            let (what, first, len) = ("the left side", self.needed as isize, source.1);
            return Err(ContractError::First { what, first, len });
        }
        // SAFETY: the caller's.
        let source = unsafe { std::slice::from_raw_parts(source.0, source.1) };
        let plane = self.plane();
        let planes = self.window.images * self.channels;
        let base = SendPointer(out[..planes * plane].as_mut_ptr());
        pool.run(planes, |task, _worker| {
            // SAFETY: each task has its own plane within `out`, whose length was checked.
            let out = unsafe { std::slice::from_raw_parts_mut(base.at(task * plane), plane) };
            self.copy(source, task, out);
        })?;
        Ok(())
    }

    fn copy(&self, source: &[f32], task: usize, out: &mut [f32]) {
        let (image, channel) = (task / self.channels, task % self.channels);
        let [height, width] = self.window.input;
        let first = image * self.window.strides[0] as usize + channel * self.channel;
        let left = self.window.pad[1].min(self.size[1]);
        let middle = width.min(self.size[1] - left);
        for (row, out) in out.chunks_exact_mut(self.size[1]).enumerate() {
            let above = row.checked_sub(self.window.pad[0]);
            let Some(row) = above.filter(|&row| row < height) else {
                out.fill(0.0);
                continue;
            };
            let at = first + row * self.window.strides[1] as usize;
            out[..left].fill(0.0);
            out[left..left + middle].copy_from_slice(&source[at..at + middle]);
            out[left + middle..].fill(0.0);
        }
    }
}
