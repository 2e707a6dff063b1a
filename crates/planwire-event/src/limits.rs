//! How large, deep and long things may be; each limit has one name, here.

/// Bytes of a payload in normal form.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Nesting of a payload; the payload object itself is level 1.
pub const PAYLOAD_DEPTH_MAX: usize = 64;

/// Characters of a plan id.
pub const PLAN_ID_CHARS_MAX: usize = 128;

/// Characters of a custom event type.
pub const EVENT_TYPE_CHARS_MAX: usize = 128;

/// Characters of a `traceparent` (W3C Trace Context, version 00 has 55).
pub const TRACEPARENT_CHARS_MAX: usize = 55;

/// Levels of plans below a root that the writer accepts from anybody. The engine's own limit is lower.
pub const PLAN_DEPTH_MAX: u32 = 64;

/// Event types that one filter may name.
pub const FILTER_TYPES_MAX: usize = 64;

/// Calls, children and requests that may be open in one plan at a time.
pub const OPEN_ITEMS_MAX: usize = 10_000;

/// Bytes of the id of a call or a request: the log keeps those that are open, and whoever answers needs all of it.
pub const OPEN_ID_BYTES_MAX: usize = 500;

const _: () = assert!(TRACEPARENT_CHARS_MAX < PAYLOAD_BYTES_MAX);
const _: () = assert!(PAYLOAD_DEPTH_MAX < 128, "serde_json stops at 128 levels, our message is better");
