//! Deadlines of long launches: a thread that waits beside one, and a flag that its loops look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Instant;

/// Scalar evaluations below which a launch is over so soon that nothing needs to end it.
const WATCHED: u64 = 1 << 22;
/// Scalar evaluations between two looks at the flag.
const LOOK: u64 = 1 << 20;

/// What ends a launch.
pub(super) type Stop = Arc<AtomicBool>;

/// A flag that nobody sets, for launches that nothing ends.
static NEVER: AtomicBool = AtomicBool::new(false);

/// Where compiled loops find the flag: the pointer behind those of their buffers.
pub(super) fn flag(stop: Option<&Stop>) -> *mut u8 {
    stop.map_or(&NEVER, |stop| stop.as_ref()).as_ptr().cast()
}

pub(super) fn is_set(stop: Option<&Stop>) -> bool {
    stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
}

/// Does something that may look at the flag that it is given, which is set at the deadline.
/// Returns whether it was.
pub(super) fn watched<R>(
    deadline: Option<Instant>,
    work: u64,
    act: impl FnOnce(Option<&Stop>) -> R,
) -> (R, bool) {
    let Some(deadline) = deadline.filter(|_| work >= WATCHED) else {
        return (act(None), false);
    };
    let stop = Stop::default();
    let (done, waits) = channel::<()>();
    let result = std::thread::scope(|scope| {
        let flag = &stop;
        let watch = move || {
            let left = deadline.saturating_duration_since(Instant::now());
            if waits.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                flag.store(true, Ordering::Relaxed);
            }
        };
        let builder = std::thread::Builder::new().name("alula-watch".to_owned());
        // Without a thread the launch ends when it is done.
        let _watching = builder.spawn_scoped(scope, watch);
        let result = act(Some(&stop));
        drop(done);
        result
    });
    (result, is_set(Some(&stop)))
}

/// Grid points between two looks at the flag.
pub(super) fn points_per_look(points: i64, work: u64) -> i64 {
    let looks = i64::try_from(work / LOOK).unwrap_or(i64::MAX).max(1);
    (points / looks).max(1)
}
