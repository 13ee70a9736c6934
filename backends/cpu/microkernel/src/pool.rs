//! A pool of workers for short parallel regions.
//!
//! The caller is worker 0. A region publishes a pointer to the closure and bumps one atomic word;
//! workers spin for a bounded time between regions, then park. Tasks are cut into one contiguous
//! part for each worker, so that the same tasks of the same region find the same caches. Who is
//! done with its own part takes tasks from the ends of others': cores of a shared machine differ by
//! a factor of two for milliseconds, and a worker may not have woken yet. A region allocates
//! nothing. A panic in a task is caught and returned once all parts are done.

use std::{
    any::Any,
    cell::{Cell, RefCell, UnsafeCell},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use crate::error::KernelError;

/// How long an idle worker spins before it parks.
const SPIN: Duration = Duration::from_micros(60);
/// Spins between two looks at the clock.
const SPINS_PER_LOOK: u32 = 64;
/// Low bits of a part's word: its state.
const STATE_BITS: u32 = 2;
/// A worker runs the part.
const TAKEN: u64 = 1;
/// The part is done, or the caller runs it.
const DONE: u64 = 2;
/// Bits of the epoch word above the state: how many workers take part in the region.
const ACTIVE_BITS: u32 = 16;
const SEQUENCE_SHIFT: u32 = STATE_BITS + ACTIVE_BITS;

thread_local! {
    /// Whether this thread is running a task of some pool: a nested region runs inline.
    static IN_REGION: Cell<bool> = const { Cell::new(false) };
    /// What ends the region whose task this thread runs; null if nothing is to.
    static ENDS: Cell<*const AtomicBool> = const { Cell::new(std::ptr::null()) };
    /// What ends the regions that this thread begins.
    static STOP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Whether the region whose task this thread runs is to end: a long task may leave out its rest.
pub(crate) fn is_over() -> bool {
    let ends = ENDS.get();
    // SAFETY: it is set while a region runs only, which holds what it leads to.
    !ends.is_null() && unsafe { (*ends).load(Ordering::Relaxed) }
}

/// Does something with a flag that ends the tasks of this thread.
fn ending<R>(ends: *const AtomicBool, act: impl FnOnce() -> R) -> R {
    let before = ENDS.replace(ends);
    let result = act();
    ENDS.set(before);
    result
}

/// Does something; regions that this thread begins within it leave out tasks once `stop` is set.
pub fn stoppable<R>(stop: Option<&Arc<AtomicBool>>, act: impl FnOnce() -> R) -> R {
    struct Before(Option<Arc<AtomicBool>>);
    impl Drop for Before {
        fn drop(&mut self) {
            STOP.set(self.0.take());
        }
    }
    let _before = Before(STOP.replace(stop.cloned()));
    act()
}

/// What a region runs: an erased closure.
#[derive(Clone, Copy)]
struct Job {
    call: unsafe fn(*const (), usize, usize),
    closure: *const (),
    active: usize,
    /// Tasks that have not begun are left out once this is set; null if nothing is to end it.
    stop: *const AtomicBool,
}

/// One worker's own words, alone on their cache line.
#[repr(align(64))]
#[derive(Default)]
struct Seat {
    /// The epoch whose part is this worker's to take, then `epoch | TAKEN` or `epoch | DONE`.
    part: AtomicU64,
    parked: AtomicBool,
    left: Left,
}

/// The tasks of a part that nobody has begun: the first in the lower half, the end in the upper.
#[derive(Default)]
struct Left(AtomicU64);

impl Left {
    fn fill(&self, tasks: Range<u32>) {
        let word = u64::from(tasks.start) | u64::from(tasks.end) << u32::BITS;
        self.0.store(word, Ordering::Relaxed);
    }

    /// Takes the first task, or the last one, if there is one left.
    fn take(&self, is_first: bool) -> Option<u32> {
        let taken = |word: u64| {
            let (start, end) = (word as u32, (word >> u32::BITS) as u32);
            let last = (end > start).then(|| end - 1)?;
            Some(match is_first {
                true => (start, word + 1),
                false => (last, word - (1 << u32::BITS)),
            })
        };
        let next = |word| taken(word).map(|(_, word)| word);
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .ok()?;
        taken(before).map(|(task, _)| task)
    }
}

struct Shared {
    /// `sequence << SEQUENCE_SHIFT | active << STATE_BITS`; a change announces a region.
    epoch: AtomicU64,
    job: UnsafeCell<Job>,
    caller_parked: AtomicBool,
    caller: UnsafeCell<Option<Thread>>,
    seats: Box<[Seat]>,
    stop: AtomicBool,
    panic: Mutex<Option<String>>,
}

// SAFETY: `job` and `caller` are written by the one caller that holds the region lock, before it
// offers the parts of its region, while all parts of the last region are done. A worker reads them
// only between taking its part (which fails unless the part is of the current region) and marking
// it done.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

/// Worker threads for parallel regions; see the module's head.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    region: Mutex<()>,
    threads: usize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of `threads` workers, the caller of a region among them. One (or zero) starts no
    /// thread: regions run inline.
    ///
    /// # Errors
    /// [`KernelError::Spec`] if a thread cannot be started or `threads` exceeds 65535.
    pub fn new(threads: usize) -> Result<Self, KernelError> {
        Self::start(threads, false)
    }

    /// A pool whose worker `w` (all but the caller) stays on the `w`-th CPU that this process may
    /// use. A system that cannot pin runs it unpinned.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn pinned(threads: usize) -> Result<Self, KernelError> {
        Self::start(threads, true)
    }

    fn start(threads: usize, pin: bool) -> Result<Self, KernelError> {
        let threads = threads.max(1);
        if threads >= 1 << ACTIVE_BITS {
            return Err(KernelError::spec(
                "threads",
                format!("{threads} exceeds 65535"),
            ));
        }
        unsafe fn nothing(_: *const (), _: usize, _: usize) {}
        let idle = Job {
            call: nothing,
            closure: std::ptr::null(),
            active: 0,
            stop: std::ptr::null(),
        };
        let shared = Arc::new(Shared {
            epoch: AtomicU64::new(0),
            job: UnsafeCell::new(idle),
            caller_parked: AtomicBool::new(false),
            caller: UnsafeCell::new(None),
            seats: (0..threads).map(|_| Seat::default()).collect(),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let mut pool = Self {
            shared,
            workers: Vec::new(),
            region: Mutex::new(()),
            threads,
        };
        for worker in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let handle = thread::Builder::new()
                .name(format!("alula-{worker}"))
                .spawn(move || {
                    if pin {
                        pin_to(worker);
                    }
                    shared.work(worker);
                })
                .map_err(|e| KernelError::spec("threads", format!("cannot start one: {e}")))?;
            pool.workers.push(handle);
        }
        Ok(pool)
    }

    /// Workers, the caller included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `f(task, worker)` once for each task in `0..tasks`, and returns when all are done.
    /// Worker `w` begins with the tasks from `tasks * w / active` to `tasks * (w + 1) / active`,
    /// where `active` is the smaller of `tasks` and the threads, and goes on with what others have
    /// not begun; no two threads are the same worker at once, so that worker `w` may own the `w`-th
    /// part of a scratch. Regions of several callers run one after another; a region inside of a
    /// task runs inline as worker 0 of its own.
    ///
    /// # Errors
    /// [`KernelError::Panicked`] with the first message, if a task panicked: others may not have
    /// run. [`KernelError::Spec`] for 2^32 tasks or more on several threads.
    pub fn run<F: Fn(usize, usize) + Sync>(&self, tasks: usize, f: F) -> Result<(), KernelError> {
        let active = self.threads.min(tasks);
        let stop = STOP.with_borrow(Clone::clone);
        if active <= 1 || IN_REGION.get() {
            // Inside of a region its own flag holds.
            let ends = stop.as_ref().map_or(ENDS.get(), Arc::as_ptr);
            let all = || {
                (0..tasks)
                    .take_while(|_| !is_over())
                    .for_each(|task| f(task, 0));
            };
            let all = || catch_unwind(AssertUnwindSafe(all));
            return ending(ends, all).map_err(|panic| KernelError::Panicked {
                message: message(&*panic),
            });
        }
        unsafe fn call<F: Fn(usize, usize) + Sync>(closure: *const (), task: usize, worker: usize) {
            // SAFETY: `closure` is the `F` of the region that is running, which outlives it.
            unsafe { (*closure.cast::<F>())(task, worker) }
        }
        let Ok(count) = u32::try_from(tasks) else {
            let detail = format!("{tasks} are too many");
            return Err(KernelError::spec("tasks", detail));
        };
        let _region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        let job = Job {
            call: call::<F>,
            closure: (&raw const f).cast(),
            active,
            stop: stop.as_ref().map_or(std::ptr::null(), Arc::as_ptr),
        };
        // SAFETY: we hold the region lock and no worker is inside: see `Shared`.
        unsafe {
            *shared.job.get() = job;
            let caller = &mut *shared.caller.get();
            if caller
                .as_ref()
                .is_none_or(|t| t.id() != thread::current().id())
            {
                *caller = Some(thread::current());
            }
        }
        let sequence = (shared.epoch.load(Ordering::Relaxed) >> SEQUENCE_SHIFT) + 1;
        let epoch = sequence << SEQUENCE_SHIFT | (active as u64) << STATE_BITS;
        let cut = |worker: usize| (u64::from(count) * worker as u64 / active as u64) as u32;
        for (worker, seat) in shared.seats[..active].iter().enumerate() {
            seat.left.fill(cut(worker)..cut(worker + 1));
        }
        for seat in &shared.seats[1..active] {
            seat.part.store(epoch, Ordering::Release);
        }
        shared.epoch.store(epoch, Ordering::SeqCst);
        for (handle, seat) in self.workers.iter().zip(&shared.seats[1..active]) {
            if seat.parked.load(Ordering::SeqCst) {
                handle.thread().unpark();
            }
        }
        // SAFETY: the job is ours.
        unsafe { shared.run_part(&job, 0) };
        for worker in 1..active {
            // Its tasks are done: nobody need wait until it wakes.
            shared.take(worker, epoch, DONE);
        }
        shared.wait(epoch, active);
        match shared
            .panic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            Some(message) => Err(KernelError::Panicked { message }),
            None => Ok(()),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in &self.workers {
            worker.thread().unpark();
        }
        for worker in self.workers.drain(..) {
            // A worker catches what its tasks throw; it has nothing else to report.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Takes a part of the region `epoch` unless somebody has.
    fn take(&self, worker: usize, epoch: u64, state: u64) -> bool {
        let part = &self.seats[worker].part;
        part.compare_exchange(epoch, epoch | state, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// A worker's life.
    fn work(&self, worker: usize) {
        let mut seen = 0;
        while let Some(epoch) = self.next(worker, seen) {
            seen = epoch;
            let active = (epoch >> STATE_BITS) & ((1 << ACTIVE_BITS) - 1);
            if worker >= active as usize || !self.take(worker, epoch, TAKEN) {
                continue;
            }
            // SAFETY: this worker took its part: see `Shared`. The handle is cloned before the
            // part is done, since the caller may go on then.
            let caller = unsafe {
                let job = *self.job.get();
                self.run_part(&job, worker);
                (*self.caller.get()).clone()
            };
            self.seats[worker]
                .part
                .store(epoch | DONE, Ordering::SeqCst);
            if self.caller_parked.load(Ordering::SeqCst)
                && let Some(caller) = caller
            {
                caller.unpark();
            }
        }
    }

    /// Waits for an epoch other than `seen`; `None` when the pool is dropped.
    fn next(&self, worker: usize, seen: u64) -> Option<u64> {
        let look = || {
            let epoch = self.epoch.load(Ordering::SeqCst);
            (epoch != seen || self.stop.load(Ordering::SeqCst)).then_some(epoch)
        };
        let ready = spin(look).or_else(|| {
            self.seats[worker].parked.store(true, Ordering::SeqCst);
            let ready = loop {
                if let Some(epoch) = look() {
                    break epoch;
                }
                thread::park();
            };
            self.seats[worker].parked.store(false, Ordering::SeqCst);
            Some(ready)
        })?;
        (!self.stop.load(Ordering::SeqCst)).then_some(ready)
    }

    /// Waits until every part of the region is done.
    fn wait(&self, epoch: u64, active: usize) {
        let is_done = || {
            let done = |seat: &Seat| seat.part.load(Ordering::SeqCst) == epoch | DONE;
            self.seats[1..active].iter().all(done)
        };
        if spin(|| is_done().then_some(())).is_some() {
            return;
        }
        self.caller_parked.store(true, Ordering::SeqCst);
        while !is_done() {
            thread::park();
        }
        self.caller_parked.store(false, Ordering::SeqCst);
    }

    /// Runs this worker's tasks, and those that others have not begun; keeps the first panic.
    ///
    /// # Safety
    /// The job's closure is alive.
    unsafe fn run_part(&self, job: &Job, worker: usize) {
        IN_REGION.set(true);
        let all = || {
            // Its own first, then those of the next worker, and so on.
            for of in (worker..job.active).chain(0..worker) {
                let next = || self.seats[of].left.take(of == worker);
                while let Some(task) = next().filter(|_| !is_over()) {
                    // SAFETY: the caller vouches for the closure.
                    unsafe { (job.call)(job.closure, task as usize, worker) };
                }
            }
        };
        let result = ending(job.stop, || catch_unwind(AssertUnwindSafe(all)));
        IN_REGION.set(false);
        if let Err(panic) = result {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| message(&*panic));
        }
    }
}

/// Tries `look` for a bounded time.
fn spin<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    let mut start = None;
    loop {
        for _ in 0..SPINS_PER_LOOK {
            if let Some(found) = look() {
                return Some(found);
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() > SPIN {
            return None;
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "not a text".to_owned())
}

/// Keeps this thread on the `index`-th CPU (modulo their count) that the process may use.
#[cfg(target_os = "linux")]
fn pin_to(index: usize) {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: plain system calls on sets that live on this stack; CPU_* stay below CPU_SETSIZE.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size, &raw mut allowed) != 0 {
            return;
        }
        let cpus = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &allowed));
        let count = libc::CPU_COUNT(&allowed).max(1) as usize;
        let Some(cpu) = cpus.clone().nth(index % count) else {
            return;
        };
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut one);
        // Pinning is a wish: a refusal leaves the thread where it was.
        libc::sched_setaffinity(0, size, &raw const one);
    }
}

#[cfg(not(target_os = "linux"))]
fn pin_to(_index: usize) {}
