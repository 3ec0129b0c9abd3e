//! Independent jobs on a few threads, with their results in order.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `job(0..count)` on up to `threads` threads; the results come back in order, whatever thread made them.
///
/// `done` is told how many jobs have ended, from whichever thread ended one.
pub(crate) fn in_parallel<T: Send>(
    count: usize,
    threads: usize,
    job: impl Fn(usize) -> T + Sync,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let ended = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<T>>> = Mutex::new((0..count).map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    let result = job(at);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[at] = Some(result);
                    done(ended.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_their_jobs() {
        let told = AtomicUsize::new(0);
        let results = in_parallel(50, 4, |at| at * at, &|ended| {
            told.fetch_max(ended, Ordering::Relaxed);
        });
        assert_eq!(results, (0..50).map(|at| at * at).collect::<Vec<_>>());
        assert_eq!(told.into_inner(), 50);
        assert!(in_parallel(0, 4, |at| at, &|_| ()).is_empty());
    }
}
