//! Stopping in the middle of passes that take long: a separate thread saves the state after the last step, and then the
//! process may be ended. (Passes of a large network take many seconds and cannot be interrupted. Computing them on a
//! separate thread would be slower, since only the main thread gets memory quickly.)

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::held::held;
use super::segments::SharedSession;
use crate::ops::Kernels;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the training may take to stop by itself.
const PATIENCE: Duration = Duration::from_millis(400);

/// Keeps a training in the case of a stop, until dropped.
pub(super) struct Rescuer(#[expect(dead_code, reason = "dropped to end the thread")] Sender<()>);

impl Rescuer {
    /// Starts to look after a session.
    pub(super) fn watch<B: Kernels>(session: SharedSession<B>) -> Self {
        let (here, ended) = channel();
        let look_after = move || {
            if stop_was_asked(&session, &ended) && !has_ended(&ended, PATIENCE) {
                rescue(&session);
            }
        };
        // Without it, a stop waits for the end of a step.
        let _ = thread::Builder::new().name("rescuer".to_owned()).spawn(look_after);
        Self(here)
    }
}

/// Waits for a stop; false if the training has ended before.
fn stop_was_asked<B: Kernels>(session: &SharedSession<B>, ended: &Receiver<()>) -> bool {
    let stop = held(session).job.stop.clone();
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        if has_ended(ended, LOOK_EVERY) {
            return false;
        }
    }
    true
}

fn has_ended(ended: &Receiver<()>, within: Duration) -> bool {
    ended.recv_timeout(within) != Err(RecvTimeoutError::Timeout)
}

fn rescue<B: Kernels>(session: &SharedSession<B>) {
    let mut session = held(session);
    // What cannot be saved is told by the training, once it comes to it.
    if session.rescue().unwrap_or(false) {
        session.job.keeping = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::sync::{Arc, Mutex};

    use burn::backend::Flex;
    use burn::backend::flex::FlexDevice;
    use lmtrain_runs::recipe::Recipe;
    use lmtrain_runs::{Plan, Store};

    use super::super::{Fitted, Job, fit};
    use super::*;
    use crate::batches::Tokens;
    use lmtrain_engine::testing::plan;

    const COUNT: usize = 4000;

    /// Tokens whose reading waits, from one time on, until it is let go on.
    #[derive(Default)]
    struct Slow {
        reads: AtomicU64,
        waits_at: u64,
        waits: Option<(SyncSender<()>, Mutex<Receiver<()>>)>,
    }

    impl Tokens for Slow {
        fn count(&self) -> usize {
            COUNT
        }

        fn raw_bytes(&self) -> u64 {
            COUNT as u64
        }

        fn raw_bytes_of(&self, _start: usize, count: usize) -> u64 {
            count as u64
        }

        fn read(&self, start: usize, tokens: &mut [i32]) {
            let read = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some((here, go_on)) = self.waits.as_ref().filter(|_| read >= self.waits_at) {
                // Nobody listens any more once it went on.
                let _ = here.send(());
                let _ = held(go_on).recv();
            }
            for (index, token) in tokens.iter_mut().enumerate() {
                *token = ((start + index) * 7 % 251) as i32;
            }
        }
    }

    struct Dropped(SyncSender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    fn small() -> Plan {
        Plan { steps: 8, validate_every: 4, validation_sequences: 3, ..plan(Recipe::Modern) }
    }

    fn job(store: &Store, name: &str, training: Slow, validation: Slow) -> Job {
        Job {
            plan: small(),
            run: store.run(name),
            training: Arc::new(training),
            validation: Arc::new(validation),
            tokenizer: [0; 32],
            dashboard: false,
            stop: Arc::default(),
            keeping: None,
            observe: Box::new(|_| {}),
        }
    }

    fn trained(job: Job) -> Fitted {
        fit::<Flex>(job, &[FlexDevice]).expect("it trains")
    }

    /// Stops a training while its data wait to be read. Gives the step that it was stopped at, and
    /// whether it still waited when everything was kept.
    fn stopped(store: &Store, name: &str, waiting: Waiting, pause: Duration) -> (u64, bool) {
        let (here, arrived) = sync_channel(0);
        let (let_go, go_on) = channel();
        let slow = |waits_at| {
            let waits = Some((here, Mutex::new(go_on)));
            Slow { waits_at, waits, ..Slow::default() }
        };
        let (training, validation) = match waiting {
            Waiting::ForBatch(read) => (slow(read), Slow::default()),
            Waiting::InValidation(read) => (Slow::default(), slow(read)),
        };
        let (kept, is_kept) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let job = Job {
            stop: stop.clone(),
            keeping: Some(Box::new(Dropped(kept))),
            ..job(store, name, training, validation)
        };
        let training = thread::spawn(move || trained(job));
        arrived.recv().expect("it comes to where it waits");
        thread::sleep(pause);
        stop.store(true, Ordering::Relaxed);
        is_kept.recv().expect("everything is kept, though the data still wait");
        let waited = !training.is_finished();
        drop((let_go, arrived));
        let fitted = training.join().expect("no panic");
        assert!(!fitted.finished);
        (fitted.step, waited)
    }

    /// At which reading the data wait.
    #[derive(Clone, Copy)]
    enum Waiting {
        ForBatch(u64),
        InValidation(u64),
    }

    #[test]
    fn what_was_stopped_in_the_middle_goes_on_to_the_same_bits() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let whole = trained(job(&store, "whole", Slow::default(), Slow::default()));
        // The second of the first validation's sequences; and the batch of the seventh step, to which
        // the steps come some time after it is read.
        for (name, waiting, stops_at) in
            [("validating", Waiting::InValidation(2), 4), ("stepping", Waiting::ForBatch(13), 6)]
        {
            let mut pauses = (0..50).map(|pause| Duration::from_millis(50 * pause));
            let waited = pauses.any(|pause| {
                let (step, waited) = stopped(&store, name, waiting, pause);
                if !waited || step != stops_at {
                    store.run(name).clear().expect("removed");
                }
                waited && step == stops_at
            });
            assert!(waited, "{name}: it stopped where nothing was in the middle");
            let fitted = trained(job(&store, name, Slow::default(), Slow::default()));
            assert!(fitted.finished);
            assert_eq!(fitted.best_bits_per_byte, whole.best_bits_per_byte, "{name}");
            let validations = |name: &str| {
                let steps = store.run(name).steps().expect("records");
                let validated =
                    steps.into_iter().filter(|it| it.validation_bits_per_byte.is_some());
                validated.map(|it| (it.step, it.validation_bits_per_byte)).collect::<Vec<_>>()
            };
            assert_eq!(validations(name), validations("whole"), "{name}");
            let weights = |name| std::fs::read(store.run(name).weights_path()).expect("weights");
            assert!(weights(name) == weights("whole"), "{name}: other weights");
        }
    }
}
