//! How much of a server is taken, and how long it is waited for.

use std::time::Duration;

use planwire_engine::launcher::Limits;

/// Servers that may be configured.
pub const SERVERS_MAX: usize = 50;
/// Tools of one server.
pub const TOOLS_MAX: usize = 1_000;
/// Pages in which a server may list its tools.
pub const PAGES_MAX: usize = 100;
/// Bytes of one message of a server; one that sends a longer one is ended.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of an image, a sound or another file in a result, in Base64; a longer one is left out.
pub const BINARY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one line of a server's standard error; the rest of it is dropped.
pub const CHATTER_BYTES_MAX: usize = 8 * 1024;
/// Characters of such a line that are shown.
pub const CHATTER_CHARS_MAX: usize = 400;
/// Lines of a server's standard error that are shown in one life of it.
pub const CHATTER_LINES_MAX: usize = 1_000;

/// What a server that is a program may use with all that it starts, when the configuration does not say. It lives as
/// long as its tree, so its CPU time has no end; a browser is among what servers start, so there is room for one.
pub const SERVER_LIMITS: Limits = Limits {
    memory_bytes: 4 * 1024 * 1024 * 1024,
    processes: 256,
    files: 4_096,
    file_bytes: 1024 * 1024 * 1024,
    cpu_s: None,
};

/// Time in which a server must have started and listed its tools, when the configuration does not say.
pub const START_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Starts that one call tries.
pub const START_TRIES_MAX: u32 = 3;
/// Pause before the second try; it doubles each time.
pub const START_PAUSE: Duration = Duration::from_millis(200);
/// Lives of one server in one tree.
pub const LIVES_MAX: u32 = 100;

/// Time that a server is given to take the word that a call is given up.
pub const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// Time that a program has to end once its input is closed.
pub const EOF_GRACE: Duration = Duration::from_millis(500);
/// Time that it has then, once it was asked to end by a signal.
pub const TERM_GRACE: Duration = Duration::from_millis(300);
/// Time that all of it is given to go when it was killed. What is left then is said, and still being ended.
pub const KILL_GRACE: Duration = Duration::from_millis(350);
/// The same for what a program left behind that has ended by itself.
pub const SETTLE_GRACE: Duration = Duration::from_secs(2);
/// Time in which the last words of a program that has ended must come.
pub const LAST_WORDS_GRACE: Duration = Duration::from_millis(200);
/// Time in which a connection is closed.
pub const CLOSE_GRACE: Duration = Duration::from_millis(300);

const _: () = assert!(
    CLOSE_GRACE.as_millis() + EOF_GRACE.as_millis() + TERM_GRACE.as_millis() + KILL_GRACE.as_millis()
        < planwire_engine::keep::KEPT_END_MAX.as_millis()
);
const _: () = assert!(CANCEL_GRACE.as_millis() < planwire_engine::tool_runner::STOP_GRACE.as_millis());
