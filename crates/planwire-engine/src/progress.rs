//! How far a call is: said by its tool at any rate, published at a bounded one.
//!
//! A tool never waits for it: it says a text, which takes the place of one that was not published yet. The tool runner
//! publishes `ToolProgress` while the call runs. **Invariant:** none is published after the call has ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Time between two `ToolProgress` of one call; what is said meanwhile gives way to what is said last.
pub const PROGRESS_PAUSE: Duration = Duration::from_millis(500);

/// `ToolProgress` of one call; what is said beyond is dropped.
pub const PROGRESS_EVENTS_MAX: u32 = 1_000;

/// Says how far a call is. Cheap to clone; a default one is heard by nobody.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<watch::Sender<String>>>);

impl Progress {
    /// Says how far the call is, for people. Returns at once. Values of secrets are taken out, and the text is cut at
    /// [`PROGRESS_CHARS_MAX`](planwire_event::vocabulary::PROGRESS_CHARS_MAX) characters, when it is published.
    pub fn say(&self, text: impl Into<String>) {
        if let Some(sender) = &self.0 {
            sender.send_replace(text.into());
        }
    }

    /// Whether anybody hears it, so that a tool may save itself the work.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    /// One that is heard, and who hears it.
    pub(crate) fn heard() -> (Self, Said) {
        let (sender, receiver) = watch::channel(String::new());
        (Self(Some(Arc::new(sender))), Said { receiver, left: PROGRESS_EVENTS_MAX })
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// What a call says of its progress.
pub(crate) struct Said {
    receiver: watch::Receiver<String>,
    left: u32,
}

impl Said {
    /// Waits until there is something new to publish: for ever, once nothing more can come or too much has.
    pub(crate) async fn next(&mut self) -> String {
        let has_more = self.left > 0 && self.receiver.changed().await.is_ok();
        if !has_more {
            std::future::pending::<()>().await;
        }
        self.left -= 1;
        self.receiver.borrow_and_update().clone()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn what_is_said_last_takes_the_place_of_what_nobody_heard() {
        let (progress, mut said) = Progress::heard();
        assert!(said.next().now_or_never().is_none());
        progress.say("1");
        progress.say("2");
        assert_eq!(said.next().now_or_never().as_deref(), Some("2"));
        assert!(said.next().now_or_never().is_none());
        assert!(progress.is_heard());
        drop(said);
        assert!(!progress.is_heard() && !Progress::default().is_heard());
        progress.say("3");
    }

    #[test]
    fn a_call_is_heard_a_bounded_number_of_times() {
        let (progress, mut said) = Progress::heard();
        for at in 0..PROGRESS_EVENTS_MAX {
            progress.say(at.to_string());
            assert!(said.next().now_or_never().is_some());
        }
        progress.say("one more");
        assert!(said.next().now_or_never().is_none());
    }
}
