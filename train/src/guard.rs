//! Turns burn's panics on a GPU into errors that say what to do: burn has no other way to report that memory ran out or
//! that a driver failed, and the first panic may happen on one of its own threads.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by whoever has set the hook, which is the whole process's.
static HOOK: Mutex<()> = Mutex::new(());
/// What was said since the hook was set.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// How CUDA and CubeCL say that memory ran out.
const OUT_OF_MEMORY: [&str; 5] =
    ["OUT_OF_MEMORY", "OutOfMemory", "out-of-memory", "BufferTooBig", "can't allocate buffer"];

/// Does work on a GPU.
///
/// # Errors
/// What it panicked with, in words.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    quietly(work).map_err(|said| explain(&said))
}

/// Runs work whose panics, on any thread, are collected instead of printed. Such work must not be nested, or it waits
/// for itself.
///
/// # Errors
/// All that they said, if this thread's ended the work.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, Vec<String>> {
    let _held = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    said().clear();
    let usual = take_hook();
    set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
        said().push(text.unwrap_or_default());
    }));
    let done = catch_unwind(AssertUnwindSafe(work));
    set_hook(usual);
    done.map_err(|_| std::mem::take(&mut *said()))
}

fn said() -> MutexGuard<'static, Vec<String>> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

fn explain(said: &[String]) -> String {
    let of_memory = |text: &String| OUT_OF_MEMORY.iter().any(|words| text.contains(words));
    if said.iter().any(of_memory) {
        return "the GPU's memory ran out\n\
                hint: a smaller `--batch`, with a larger `--accumulate` to keep the same steps"
            .to_owned();
    }
    // The first panic is the cause; others follow from it.
    let first = said.iter().find_map(|text| text.lines().find(|line| !line.trim().is_empty()));
    let first = first.unwrap_or("no reason was given");
    format!(
        "the GPU failed: {first}\nhint: `nvidia-smi` shows its state; `--device cpu` computes without it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_a_cure() {
        assert_eq!(guarded(|| 5), Ok(5));
        let error = guarded(|| panic!("Io(BufferTooBig {{ size: 99 }})")).map(|(): ()| ());
        let error = error.expect_err("it panicked");
        assert!(error.contains("memory ran out") && error.contains("--batch"), "{error}");
        let elsewhere = guarded(|| {
            let first = std::thread::spawn(|| panic!("CUDA_ERROR_OUT_OF_MEMORY"));
            let _ = first.join();
            panic!("the channel is closed")
        });
        let error = elsewhere.map(|(): ()| ()).expect_err("it panicked");
        assert!(error.contains("memory ran out"), "the cause was on another thread: {error}");
        let error = guarded(|| panic!("\nillegal address\nand a backtrace")).map(|(): ()| ());
        let error = error.expect_err("it panicked");
        assert!(error.starts_with("the GPU failed: illegal address\n"), "{error}");
    }
}
