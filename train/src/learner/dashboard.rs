//! burn-train's dashboard, isolated so that neither its failure nor its terminal's can disturb training. Its thread
//! draws and reads keys. If the terminal goes away, that thread panics or loops forever, so it is never joined. The
//! dashboard closes as soon as a stop is requested. Ctrl-C, which it would swallow, reaches the program.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use burn_train::metric::MetricDefinition;
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};
use burn_train::{Interrupter, LearnerSummary};

use super::held::held;
use super::terminal;
use super::watched::Watched;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long closing may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// The thread that burn-train draws in, and how what it panics with begins when it is told to kill.
const DRAWING: &str = "train-renderer";
const KILLING: &str = "Killing training";

type Shared = Arc<Mutex<Option<TuiMetricsRendererWrapper>>>;

/// The dashboard; none any more once it was closed.
pub(super) struct Dashboard {
    renderer: Shared,
    watched: Watched,
    /// Dropped to close it.
    open: Option<Sender<()>>,
    closed: Mutex<Receiver<()>>,
    before: terminal::Modes,
    errors: Option<terminal::KeptErrors>,
}

impl Dashboard {
    /// Opens it on the terminal that standard output is; sets `stop` if that goes away.
    pub(super) fn open(interrupter: Interrupter, stop: Arc<AtomicBool>) -> Self {
        let watched = Watched::default();
        let before = terminal::modes();
        let errors = terminal::KeptErrors::keep();
        silence(watched.clone());
        let shown = TuiMetricsRendererWrapper::new(interrupter, None);
        let renderer: Shared = Arc::new(Mutex::new(Some(shown)));
        let (open, ended) = channel();
        let (closing, closed) = channel();
        let (kept, seen) = (renderer.clone(), watched.clone());
        let keep = move || {
            let is_over = watch(&seen, &stop, &ended);
            if !is_over && terminal::is_gone() {
                // As if the signal had said so, which only the terminal's own processes get.
                stop.store(true, Ordering::Relaxed);
            }
            close(&kept, &seen);
            drop(closing);
        };
        // Without it, the dashboard stays as it is, and its end is not waited for.
        let _ = thread::Builder::new().name("dashboard".to_owned()).spawn(keep);
        Self { renderer, watched, open: Some(open), closed: Mutex::new(closed), before, errors }
    }

    /// Tells what has become of it.
    pub(super) fn watched(&self) -> Watched {
        self.watched.clone()
    }

    fn tell(&self, tell: impl FnOnce(&mut TuiMetricsRendererWrapper)) {
        if let Some(renderer) = held(&self.renderer).as_mut() {
            // It panics if it was told to kill, which was seen.
            let _: Result<(), Box<dyn Any + Send>> =
                catch_unwind(AssertUnwindSafe(|| tell(renderer)));
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.open = None;
        if held(&self.closed).recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            terminal::restore(&self.before);
        }
        if let Some(errors) = self.errors.take() {
            errors.show();
        }
    }
}

/// Sees that what the dashboard panics with is noted, and not printed.
fn silence(watched: Watched) {
    let usual = take_hook();
    set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.starts_with(KILLING)) {
            watched.was_killed();
        } else if thread::current().name() == Some(DRAWING) {
            watched.has_broken();
        } else {
            usual(panic);
        }
    }));
}

/// Waits for whatever ends the dashboard; whether that was the end of training.
fn watch(watched: &Watched, stop: &AtomicBool, ended: &Receiver<()>) -> bool {
    let mut hears_ctrl_c = false;
    while watched.is_shown() && !stop.load(Ordering::Relaxed) && !terminal::is_gone() {
        hears_ctrl_c = hears_ctrl_c || terminal::hear_ctrl_c();
        if ended.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
            return true;
        }
    }
    false
}

/// Closes it, unless it would never end.
fn close(renderer: &Shared, watched: &Watched) {
    let renderer = held(renderer).take();
    if terminal::is_gone() {
        std::mem::forget(renderer);
        return;
    }
    let _: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| drop(renderer)));
    if !watched.is_shown() {
        terminal::show_cursor();
    }
}

impl MetricsRendererTraining for Dashboard {
    fn update_train(&mut self, state: MetricState) {
        self.tell(|renderer| renderer.update_train(state));
    }

    fn update_valid(&mut self, state: MetricState) {
        self.tell(|renderer| renderer.update_valid(state));
    }

    fn render_train(&mut self, item: TrainingProgress, indicators: Vec<ProgressType>) {
        self.tell(|renderer| renderer.render_train(item, indicators));
    }

    fn render_valid(&mut self, item: TrainingProgress, indicators: Vec<ProgressType>) {
        self.tell(|renderer| renderer.render_valid(item, indicators));
    }

    fn on_train_end(
        &mut self,
        _summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

impl MetricsRendererEvaluation for Dashboard {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _indicators: Vec<ProgressType>) {}
}

impl MetricsRenderer for Dashboard {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.tell(|renderer| renderer.register_metric(definition));
    }
}
