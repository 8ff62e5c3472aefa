//! Work on many items, on all cores, with the results in the order of the items. Only a limited number of results wait
//! for a slow one, so that memory stays bounded for any number of items.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Results that may be done or under way for each worker.
const AHEAD: u64 = 3;
/// How often the caller is called while no result is ready.
const PULSE: Duration = Duration::from_millis(100);

/// What the workers share.
struct Shared<I> {
    items: I,
    /// Items that were given out.
    given: u64,
    /// Results that were taken.
    taken: u64,
    is_stopped: bool,
}

/// Calls `work` on every item, on all cores, and `take` on every result, in order, on this thread. Now and then `take`
/// is also called without a result, and it may stop everything; the value with which it stops is returned.
pub(crate) fn in_order<T, R: Send, B>(
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
    take: &mut dyn FnMut(Option<R>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let shared = Mutex::new(Shared { items, given: 0, taken: 0, is_stopped: false });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..workers {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                while let Some((index, item)) = next(&shared, &changed, AHEAD * workers) {
                    if sender.send((index, work(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut wanted = 0;
        let flow = loop {
            match receiver.recv_timeout(PULSE) {
                Ok((index, result)) => _ = waiting.insert(index, result),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break ControlFlow::Continue(()),
            }
            let mut flow = take(None);
            while let Some(result) = waiting.remove(&wanted).filter(|_| flow.is_continue()) {
                wanted += 1;
                flow = take(Some(result));
            }
            lock(&shared).taken = wanted;
            changed.notify_all();
            if flow.is_break() {
                break flow;
            }
        };
        lock(&shared).is_stopped = true;
        changed.notify_all();
        flow
    })
}

/// The next item and its number, once at most `ahead` results before it are still to be taken.
fn next<T, I: Iterator<Item = T>>(
    shared: &Mutex<Shared<I>>,
    changed: &Condvar,
    ahead: u64,
) -> Option<(u64, T)> {
    let waits = |shared: &mut Shared<I>| !shared.is_stopped && shared.given >= shared.taken + ahead;
    let waited = changed.wait_while(lock(shared), waits);
    let mut shared = waited.unwrap_or_else(PoisonError::into_inner);
    if shared.is_stopped {
        return None;
    }
    let item = shared.items.next()?;
    shared.given += 1;
    Some((shared.given - 1, item))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// Takes its time, longer for some than for others.
    fn slow(item: u64) -> u64 {
        std::thread::sleep(Duration::from_micros(item * 7919 % 400));
        item
    }

    #[test]
    fn results_come_in_order_and_few_wait() {
        let (mut seen, waiting, most) = (Vec::new(), AtomicI64::new(0), AtomicI64::new(0));
        let work = |item| {
            let count = waiting.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(count, Ordering::SeqCst);
            slow(item)
        };
        let flow: ControlFlow<()> = in_order(0..500, work, &mut |result| {
            if let Some(result) = result {
                waiting.fetch_sub(1, Ordering::SeqCst);
                seen.push(result);
            }
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue() && seen == (0..500).collect::<Vec<_>>());
        let workers = std::thread::available_parallelism().map_or(1, |count| count.get() as i64);
        // A result is counted as taken only when all that wait behind it are.
        let most = most.load(Ordering::SeqCst);
        assert!(most <= AHEAD as i64 * workers, "{most} waited");
    }

    #[test]
    fn it_stops_when_told_and_ends_with_nothing() {
        let mut taken = 0;
        let flow = in_order(0_u64.., slow, &mut |result| {
            taken += u64::from(result.is_some());
            if result == Some(20) {
                ControlFlow::Break("enough")
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!((flow, taken), (ControlFlow::Break("enough"), 21));
        let stop: ControlFlow<()> = in_order(0_u64.., slow, &mut |_| ControlFlow::Break(()));
        assert!(stop.is_break());
        let none: ControlFlow<()> = in_order(0..0_u64, slow, &mut |result| match result {
            None => ControlFlow::Continue(()),
            Some(_) => ControlFlow::Break(()),
        });
        assert!(none.is_continue());
    }
}
