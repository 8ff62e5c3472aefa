//! If a decoder panics on a damaged or malicious file, this becomes an error of that file, in one line, and does not
//! end the program.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is decoding, so that a panic must not be printed.
    static IS_DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Decodes; a panic is an error like any other. libjpeg has no other way to fail, and then says why.
///
/// # Errors
/// Why it does not decode.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_DECODING.get() {
                usual(panic);
            }
        }));
    });
    IS_DECODING.set(true);
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    IS_DECODING.set(false);
    decoded.unwrap_or_else(|failure| match failure.downcast::<String>() {
        Ok(said) if said.starts_with(LIBJPEG) => Err(said[LIBJPEG.len()..].to_owned()),
        _ => Err("its decoder failed".to_owned()),
    })
}

/// What libjpeg's errors begin with.
const LIBJPEG: &str = "libjpeg fatal error: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_trips_is_an_error() {
        assert_eq!(guarded(|| Ok(1)), Ok(1));
        assert_eq!(guarded::<()>(|| Err("no".to_owned())), Err("no".to_owned()));
        let none: [u8; 0] = [];
        let index = std::hint::black_box(1);
        assert_eq!(guarded(|| Ok(none[index])), Err("its decoder failed".to_owned()));
        let unwound = guarded::<()>(|| std::panic::resume_unwind(Box::new(format!("{LIBJPEG}x"))));
        assert_eq!(unwound, Err("x".to_owned()));
        assert!(!IS_DECODING.get());
    }
}
