//! A call that panics is answered like any other.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// What a future gives, or what its panic said. It is dropped at once then, and with it its connections: one with
/// an open transaction is rolled back.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(given)) => Poll::Ready(Ok(given)),
        Err(panic) => Poll::Ready(Err(said(&*panic))),
    })
    .await
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_sentence() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let row = |work: fn() -> u8| runtime.block_on(caught(async move { work() }));
        assert_eq!(row(|| 7), Ok(7));
        assert_eq!(row(|| panic!("no {}", 1)), Err("panicked: no 1".to_owned()));
        assert_eq!(row(|| panic!("none")), Err("panicked: none".to_owned()));
    }
}
