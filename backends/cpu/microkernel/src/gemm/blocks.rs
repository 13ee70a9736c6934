//! How a product is cut into blocks, and blocks into tasks.

/// Elements along K (all taps together) that one pass over a block covers.
pub(super) const K_BLOCK: usize = 512;

/// Rows to a block at most: with `K_BLOCK` columns of A they take a quarter of a 1 MiB cache.
pub(crate) const M_BLOCK: usize = 128;

/// Bytes of packed B that are swept for each tile of A before the next.
const B_GROUP_BYTES: usize = 64 << 10;

/// Panels that are swept for one tile of A, at most.
pub(crate) const GROUP_MAX: usize = 8;

/// Cycles that a tile of C costs more where columns are divided between cores: its lines are those
/// that another core wrote last, now and when C is read. See `split::AWAY_RATE`.
const AWAY: usize = 350;

/// Bytes of packed B that stay in the second-level cache from one block of rows to the next.
const NEAR_B_BYTES: usize = 1 << 20;

/// Bytes of packed B from behind it that a core gets in a cycle, while others get theirs.
const FAR_RATE: usize = 4;

/// Of a task, what others wait for at the end, as its inverse.
const TAIL: usize = 16;

/// How a product is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    /// Register tiles along M, of nearly equal height.
    pub(crate) m_tiles: usize,
    /// Blocks along M (of whole tiles) and along N (of whole panels); their product is the task
    /// count of one batch entry.
    pub(crate) m_blocks: usize,
    pub(crate) n_blocks: usize,
    /// Panels swept for one tile of A.
    pub(crate) group: usize,
    /// Taps and K of one K block; one of them is whole.
    pub(crate) taps: usize,
    pub(crate) k: usize,
}

/// What decides how a product is cut.
pub(crate) struct Sizes {
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) taps: usize,
    pub(crate) panels: usize,
    pub(crate) batch: usize,
    /// Rows of the register tile.
    pub(crate) mr: usize,
    /// Bytes of packed B for one K of one panel.
    pub(crate) row_bytes: usize,
    /// Most K (over all taps of a block) to a block.
    pub(crate) k_block: usize,
    /// Most rows and panels to a block.
    pub(crate) rows_max: usize,
    pub(crate) panels_max: usize,
}

impl Blocks {
    pub(crate) fn choose(s: &Sizes, threads: usize) -> Self {
        let m_tiles = s.m.div_ceil(s.mr).max(1);
        let panels = s.panels.max(1);
        let (tap_block, k_block) = k_blocks(s.taps.max(1), s.k.max(1), s.k_block);
        let panel_bytes = tap_block * k_block * s.row_bytes;
        let group = (B_GROUP_BYTES / panel_bytes).clamp(1, GROUP_MAX);
        let batch = s.batch.max(1);
        let m_least = s.m.div_ceil(s.rows_max.max(1)).clamp(1, m_tiles);
        let n_least = panels.div_ceil(s.panels_max);
        // In cycles: a register tile takes one for each row and K, about; panels that are in no
        // near cache are brought for each block of rows, while that is multiplied.
        let depth = s.taps.max(1) * s.k.max(1);
        let tile = depth.saturating_mul(s.mr);
        let panel_bytes = depth.saturating_mul(s.row_bytes);
        let far = match panels.saturating_mul(panel_bytes) > NEAR_B_BYTES {
            true => panel_bytes / FAR_RATE,
            false => 0,
        };
        let mut best = (usize::MAX, m_least, n_least);
        for n_blocks in n_least..=(n_least - 1 + 4 * threads).min(panels) {
            for m_blocks in m_least..=(m_least + 4 * threads).min(m_tiles) {
                // A price for each task, whose first panel nobody has fetched, and for sweeping A
                // once more per block of columns.
                let (rows, panels) = (m_tiles.div_ceil(m_blocks), panels.div_ceil(n_blocks));
                let each = rows.saturating_mul(tile).max(far);
                let mut task = panels.saturating_mul(each).saturating_add(tile / 8 + far);
                if n_blocks > 1 && threads > 1 {
                    task = task.saturating_add(rows * panels * AWAY);
                }
                let again = ((n_blocks - 1) * m_tiles).saturating_mul(tile / 256);
                let tasks = batch * m_blocks * n_blocks;
                let cost = in_turns(task, tasks, threads, TAIL).saturating_add(again);
                if cost < best.0 {
                    best = (cost, m_blocks, n_blocks);
                }
            }
        }
        Self {
            m_tiles,
            m_blocks: best.1,
            n_blocks: best.2,
            group,
            taps: tap_block,
            k: k_block,
        }
    }

    /// Rows in the tallest block of rows.
    pub(crate) fn rows_max(&self, m: usize) -> usize {
        self.m_tiles.div_ceil(self.m_blocks) * m.div_ceil(self.m_tiles).max(1)
    }
}

/// What tasks of this cost take on so many threads. Cores of a shared machine are not equally fast:
/// at the end some wait for a part of a task, one in `tail`, shorter ones for less.
pub(crate) fn in_turns(task: usize, tasks: usize, threads: usize, tail: usize) -> usize {
    let all = task.saturating_mul(tasks.div_ceil(threads.max(1)));
    match threads {
        1 => all,
        _ => all.saturating_add(task / tail),
    }
}

/// Nearly equal parts of `most` or less: whole taps if K is short, else parts of one tap that are
/// multiples of four.
fn k_blocks(taps: usize, k: usize, most: usize) -> (usize, usize) {
    if k >= most {
        (1, k.div_ceil(k.div_ceil(most)).next_multiple_of(4))
    } else {
        let most = (most / k).clamp(1, taps);
        (taps.div_ceil(taps.div_ceil(most)), k)
    }
}
