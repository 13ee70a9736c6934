//! How a depthwise convolution of bytes, channels-last, is cut into tasks: blocks of output rows of
//! an image by blocks of channels.

use std::ops::Range;

use crate::depthwise::DepthwiseSpec;

/// Output columns of a task, about: filters are prepared once for all of them.
const COLUMNS: usize = 56;
/// Sums of a task at most, about: they come back from the first levels of cache.
const SUMS: usize = 1 << 14;
/// Most channels of a task.
const CHANNELS_MAX: usize = 192;
/// Tasks that small images are cut into, if they have the channels: few threads share them evenly.
const TASKS: usize = 8;
/// Blocks of channels are a whole number of these.
pub(super) const LANES: usize = 64;

/// How a convolution is cut.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// Blocks of rows of an image, and of channels.
    counts: [usize; 2],
    /// Rows and channels of a block at most; the latter of all blocks but the last.
    pub(super) largest: [usize; 2],
}

impl Blocks {
    pub(super) fn new(spec: &DepthwiseSpec) -> Self {
        let w = &spec.window;
        let width = w.out[1].max(1);
        let rows = (COLUMNS / width).max(1);
        let row_blocks = w.out[0].div_ceil(rows).max(1);
        let most = SUMS / (rows * width) / LANES * LANES;
        let least = TASKS.div_ceil(row_blocks.saturating_mul(w.images).max(1));
        let count = spec.channels.div_ceil(most.clamp(LANES, CHANNELS_MAX));
        let channels = spec.channels.div_ceil(count.max(least));
        let channels = channels.max(1).next_multiple_of(LANES);
        Self {
            // None is empty, whatever the channels were rounded to.
            counts: [row_blocks, spec.channels.div_ceil(channels)],
            largest: [w.out[0].div_ceil(row_blocks), channels],
        }
    }

    pub(super) fn tasks(&self, images: usize) -> usize {
        images * self.counts[0] * self.counts[1]
    }

    /// What a task computes.
    pub(super) fn part(&self, spec: &DepthwiseSpec, task: usize) -> Part {
        let [row_blocks, channel_blocks] = self.counts;
        let (rest, channel_block) = (task / channel_blocks, task % channel_blocks);
        let (image, row_block) = (rest / row_blocks, rest % row_blocks);
        let height = spec.window.out[0];
        let first = channel_block * self.largest[1];
        Part {
            image,
            rows: height * row_block / row_blocks..height * (row_block + 1) / row_blocks,
            channels: first..(first + self.largest[1]).min(spec.channels),
        }
    }
}

/// What a task computes.
pub(super) struct Part {
    pub(super) image: usize,
    /// Output rows.
    pub(super) rows: Range<usize>,
    pub(super) channels: Range<usize>,
}
