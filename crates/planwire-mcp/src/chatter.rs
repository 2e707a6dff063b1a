//! What a program says on its standard error: shown as diagnostics, bounded and without secrets.

use std::sync::{Arc, Mutex, PoisonError};

use planwire_engine::Redactor;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::limits::{CHATTER_BYTES_MAX, CHATTER_CHARS_MAX, CHATTER_LINES_MAX, LAST_WORDS_GRACE};

/// Bytes read at a time.
const READ_BYTES: usize = 4 * 1024;

/// The last line that a program said.
pub(crate) struct LastLine {
    line: Arc<Mutex<String>>,
    /// Closed once no more can come.
    open: watch::Receiver<()>,
}

impl LastLine {
    /// What it said last, in the form in which it ends a message; empty if it said nothing. What a program that has
    /// ended still said is waited for, for [`LAST_WORDS_GRACE`].
    pub(crate) async fn told(&self) -> String {
        let mut open = self.open.clone();
        let _ = timeout(LAST_WORDS_GRACE, open.changed()).await;
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.is_empty() { String::new() } else { format!("; it said: {line}") }
    }
}

/// Shows each line until the end in a task of its own, and keeps the last one.
pub(crate) fn follow(
    from: impl AsyncRead + Unpin + Send + 'static,
    server: Arc<str>,
    redactor: Redactor,
) -> (LastLine, JoinHandle<()>) {
    let (keeper, open) = watch::channel(());
    let line = Arc::default();
    let last = LastLine { line: Arc::clone(&line), open };
    let task = tokio::spawn(async move {
        read(from, &server, &redactor, &line).await;
        drop(keeper);
    });
    (last, task)
}

async fn read(mut from: impl AsyncRead + Unpin, server: &str, redactor: &Redactor, last: &Mutex<String>) {
    let (mut line, mut buffer, mut shown) = (Vec::new(), vec![0; READ_BYTES], 0);
    while let Ok(count) = from.read(&mut buffer).await
        && count > 0
    {
        for byte in &buffer[..count] {
            if *byte == b'\n' {
                say(server, redactor, last, &line, &mut shown);
                line.clear();
            } else if line.len() < CHATTER_BYTES_MAX {
                line.push(*byte);
            }
        }
    }
    say(server, redactor, last, &line, &mut shown);
}

fn say(server: &str, redactor: &Redactor, last: &Mutex<String>, line: &[u8], shown: &mut usize) {
    let text = String::from_utf8_lossy(line);
    // Before it is cut, so that no cut goes through a secret.
    let text = redactor.text(text.trim());
    let text: String = text.chars().take(CHATTER_CHARS_MAX).collect();
    if text.is_empty() {
        return;
    }
    if *shown < CHATTER_LINES_MAX {
        tracing::info!(server, "{}", text.escape_debug());
    }
    *shown += 1;
    *last.lock().unwrap_or_else(PoisonError::into_inner) = text;
}

#[cfg(test)]
mod tests {
    use planwire_engine::Secrets;

    use super::*;

    async fn last(said: &str) -> String {
        let secrets = Secrets::new([("TOKEN".to_owned(), "swordfish-17".to_owned())]).unwrap();
        let said = std::io::Cursor::new(said.as_bytes().to_vec());
        follow(said, "s".into(), secrets.redactor().clone()).0.told().await
    }

    #[tokio::test]
    async fn last_line_is_kept_without_secrets_and_bounded() {
        assert_eq!(last("").await, "");
        assert_eq!(last("a\nb with swordfish-17\n\n").await, "; it said: b with ***TOKEN***");
        let long = "x".repeat(CHATTER_CHARS_MAX - 3) + "swordfish-17" + &"y".repeat(CHATTER_BYTES_MAX);
        let told = last(&long).await;
        assert!(
            !told.contains("swo") && told.chars().count() == CHATTER_CHARS_MAX + "; it said: ".len(),
            "{told}"
        );
    }
}
