//! Offsets of buffers in one arena, by lifetime.

/// A buffer's size and when it is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Length in bytes.
    pub bytes: usize,
    /// First step at which it is alive.
    pub first: usize,
    /// Last step at which it is alive.
    pub last: usize,
}

/// What every offset is a multiple of: a cache line, the widest vector.
const ALIGNMENT: usize = 64;

/// Places buffers so that no two that are alive at once overlap: the largest first, each at the
/// lowest offset that is free for its whole life. Returns offsets, and the arena's length, which
/// is 0 bytes if nothing fits the address space.
pub fn pack(buffers: &[Lifetime]) -> Option<(Vec<usize>, usize)> {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&k| (std::cmp::Reverse(buffers[k].bytes), buffers[k].first, k));
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    let mut total = 0_usize;
    for &k in &order {
        let buffer = buffers[k];
        let bytes = buffer.bytes.max(1).checked_next_multiple_of(ALIGNMENT)?;
        let mut busy: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&other| {
                buffers[other].first <= buffer.last && buffer.first <= buffers[other].last
            })
            .map(|&other| {
                let length = buffers[other].bytes.max(1).next_multiple_of(ALIGNMENT);
                (offsets[other], offsets[other] + length)
            })
            .collect();
        busy.sort_unstable();
        let mut at = 0_usize;
        for (start, end) in busy {
            if at.checked_add(bytes)? <= start {
                break;
            }
            at = at.max(end);
        }
        offsets[k] = at;
        total = total.max(at.checked_add(bytes)?);
        placed.push(k);
    }
    Some((offsets, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(bytes: usize, first: usize, last: usize) -> Lifetime {
        Lifetime { bytes, first, last }
    }

    #[test]
    fn buffers_of_different_times_share() {
        let (offsets, total) = pack(&[life(64, 0, 1), life(64, 2, 3)]).expect("fits");
        assert_eq!((offsets, total), (vec![0, 0], 64));
    }

    #[test]
    fn buffers_alive_at_one_step_do_not_overlap() {
        let (offsets, total) = pack(&[life(100, 0, 1), life(64, 1, 2)]).expect("fits");
        assert_eq!((offsets, total), (vec![0, 128], 192));
    }

    #[test]
    fn gaps_are_filled() {
        let buffers = [
            life(256, 0, 0),
            life(256, 2, 2),
            life(128, 0, 2),
            life(64, 1, 1),
        ];
        let (offsets, total) = pack(&buffers).expect("fits");
        assert_eq!(total, 384);
        assert_eq!(offsets[3], 0);
    }

    #[test]
    fn absurd_sizes_do_not_fit() {
        assert_eq!(pack(&[life(usize::MAX - 8, 0, 0), life(64, 0, 0)]), None);
    }
}
