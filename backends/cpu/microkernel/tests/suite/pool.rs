//! The pool: every task once, panics returned, regions of several callers, nesting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use alula_microkernel::{KernelError, Pool, stoppable};

#[test]
fn every_task_runs_once_on_a_worker_of_its_range() {
    for threads in [1, 2, 3, 5] {
        let pool = Pool::new(threads).unwrap();
        for tasks in [0, 1, 2, 3, 7, 64] {
            for _ in 0..50 {
                let ran: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, |task, worker| {
                    assert!(worker < threads);
                    ran[task].fetch_add(1, Ordering::Relaxed);
                })
                .unwrap();
                assert!(ran.iter().all(|n| n.load(Ordering::Relaxed) == 1));
            }
        }
    }
}

#[test]
fn tasks_behind_a_long_one_are_taken_by_others() {
    for threads in [2, 3] {
        let (pool, done) = (Pool::new(threads).unwrap(), AtomicUsize::new(0));
        let begun = std::time::Instant::now();
        pool.run(12, |task, _| {
            // The others of its own part among them.
            while task == 0 && done.load(Ordering::Relaxed) < 11 {
                assert!(begun.elapsed().as_secs() < 60, "nobody takes them");
                std::thread::yield_now();
            }
            done.fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 12);
    }
}

#[test]
fn workers_wake_again_after_they_parked() {
    let pool = Pool::new(3).unwrap();
    let total = AtomicUsize::new(0);
    for pause_us in [0, 10, 100, 500, 2000] {
        for _ in 0..5 {
            std::thread::park_timeout(std::time::Duration::from_micros(pause_us));
            pool.run(9, |_, _| {
                total.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap();
        }
    }
    assert_eq!(total.load(Ordering::Relaxed), 9 * 25);
}

#[test]
fn a_panic_is_returned_and_the_pool_goes_on() {
    for threads in [1, 2, 4] {
        let pool = Pool::new(threads).unwrap();
        for bad in [0, 3, 7] {
            let result = pool.run(8, |task, _| assert!(task != bad, "task {task} is bad"));
            let message = format!("task {bad} is bad");
            assert_eq!(result, Err(KernelError::Panicked { message }));
            assert_eq!(pool.run(8, |_, _| ()), Ok(()));
        }
    }
}

#[test]
fn callers_take_turns_and_nested_regions_run_inline() {
    let pool = Pool::new(2).unwrap();
    let total = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..100 {
                    pool.run(4, |_, _| {
                        pool.run(3, |_, worker| {
                            assert_eq!(worker, 0);
                            total.fetch_add(1, Ordering::Relaxed);
                        })
                        .unwrap();
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(total.load(Ordering::Relaxed), 3 * 100 * 12);
}

#[test]
fn a_pinned_pool_runs() {
    let pool = Pool::pinned(2).unwrap();
    let total = AtomicUsize::new(0);
    pool.run(10, |task, _| {
        total.fetch_add(task, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(total.load(Ordering::Relaxed), 45);
}

#[test]
fn tasks_are_left_out_once_a_region_is_stopped() {
    for threads in [1, 3] {
        let pool = Pool::new(threads).unwrap();
        let (stop, ran) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
        let all = || {
            pool.run(1000, |_, _| {
                ran.fetch_add(1, Ordering::Relaxed);
                stop.store(true, Ordering::Relaxed);
            })
        };
        stoppable(Some(&stop), all).unwrap();
        assert!(ran.load(Ordering::Relaxed) <= threads);
        // Nothing stops what begins outside of it.
        ran.store(0, Ordering::Relaxed);
        all().unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 1000);
    }
}
