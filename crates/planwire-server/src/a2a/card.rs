//! The agent card: who this is, what it can do, and where.
//!
//! Each registered plan document is a skill. What the card cannot say of a skill, the schema of its inputs, stands among
//! the parameters of our extension. **Invariant:** the same configuration and documents give the same bytes, so that
//! clients which ask again get 304.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use planwire_bus::CatalogEntry;
use planwire_event::{Digest, EventType, Timestamp};
use serde_json::{Map, Value, json};

use super::config::A2aConfig;
use super::methods::{OUTPUT_MODES, REQUESTS};
use super::version::VERSION;
use super::wire::EXTENSION;
use crate::app::App;

/// Where it is. Open to everybody, whatever they send along.
pub(crate) const PATH: &str = "/.well-known/agent-card.json";

/// Seconds for which a client may take the card as it knows it.
const MAX_AGE_S: u32 = 300;

/// Bytes of schemas on a card; the skills after that have none there.
const SCHEMAS_BYTES_MAX: usize = 256 * 1024;

/// The text of our extension.
const EXTENSION_TEXT: &str = include_str!("../../../../docs/a2a-plan-events.md");

/// The skill of a server that runs no plans: a card must name one.
const FOLLOW: &str = "follow";

/// Since when the card is what it is.
#[derive(Debug)]
pub(crate) struct CardAge(Mutex<(Option<Digest>, Timestamp)>);

impl CardAge {
    /// Before the card was first asked for, it counts from the start of the server.
    pub(crate) const fn new(started: Timestamp) -> Self {
        Self(Mutex::new((None, started)))
    }

    fn of(&self, digest: Digest, now: Timestamp) -> Timestamp {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0.is_some_and(|known| known != digest) {
            known.1 = now;
        }
        known.0 = Some(digest);
        known.1
    }
}

/// Gives the card, or says that it is still the one that the client has.
pub(crate) async fn card(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let catalog = app.starter.as_ref().map(|starter| starter.catalog()).unwrap_or_default();
    let body = json(&app.config.a2a, &catalog).to_string();
    let digest = Digest::of(body.as_bytes());
    let etag = format!("\"{digest}\"");
    let modified = http_date(app.a2a.card_age.of(digest, app.config.clock.now()));
    let same = match headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) {
        Some(known) => known.split(',').any(|known| matches(known.trim(), &etag)),
        None => headers
            .get(header::IF_MODIFIED_SINCE)
            .is_some_and(|since| since.as_bytes() == modified.as_bytes()),
    };
    let caching = [
        (header::CACHE_CONTROL, format!("public, max-age={MAX_AGE_S}")),
        (header::ETAG, etag),
        (header::LAST_MODIFIED, modified),
    ];
    if same {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (media_type, caching, body).into_response()
}

/// A weak tag says as much here: there is one form of the card.
fn matches(known: &str, etag: &str) -> bool {
    known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag
}

/// What our extension means, for people.
pub(crate) async fn extension() -> Response {
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], EXTENSION_TEXT).into_response()
}

fn json(config: &A2aConfig, catalog: &[CatalogEntry]) -> Value {
    let base = config.url.as_deref().unwrap_or_default().trim_end_matches('/');
    let url = format!("{base}/a2a");
    let interface =
        |binding: &str| json!({ "url": url, "protocolBinding": binding, "protocolVersion": VERSION });
    let mut card = json!({
        "name": config.name,
        "description": config.description,
        "version": config.version,
        "supportedInterfaces": [interface("JSONRPC"), interface("HTTP+JSON")],
        "capabilities": {
            "streaming": true,
            "pushNotifications": false,
            "extendedAgentCard": false,
            "extensions": [{
                "uri": EXTENSION,
                "description": format!(
                    "Native events in updates, resuming without loss by cursor, safe repetition of messages, pauses; \
                     see {url}/extensions/plan-events"
                ),
                "required": config.extension_required,
                "params": {
                    "resume": true,
                    "requests": REQUESTS.map(|(name, _)| name),
                    "eventTypes": event_types(),
                    "inputs": schemas(catalog),
                },
            }],
        },
        "defaultInputModes": ["text/plain", "application/json"],
        "defaultOutputModes": OUTPUT_MODES,
        "skills": skills(catalog),
    });
    if let Some(page) = &config.documentation_url {
        card["documentationUrl"] = page.as_str().into();
    }
    if let Some(icon) = &config.icon_url {
        card["iconUrl"] = icon.as_str().into();
    }
    if let Some(provider) = &config.provider {
        card["provider"] = json!({ "organization": provider.organization, "url": provider.url });
    }
    card
}

fn event_types() -> Vec<&'static str> {
    EventType::OURS.iter().map(EventType::as_str).collect()
}

/// JSON Schema of the inputs of each skill, as far as there is room.
fn schemas(catalog: &[CatalogEntry]) -> Map<String, Value> {
    let mut bytes = 0;
    let fits = |entry: &&CatalogEntry| {
        bytes += entry.inputs.to_string().len();
        bytes <= SCHEMAS_BYTES_MAX
    };
    catalog.iter().take_while(fits).map(|entry| (entry.name.clone(), entry.inputs.clone())).collect()
}

fn skills(catalog: &[CatalogEntry]) -> Vec<Value> {
    if catalog.is_empty() {
        return vec![json!({
            "id": FOLLOW,
            "name": "Follow plans",
            "description": "Lists, shows and follows the plans that others publish here. It starts none.",
            "tags": ["plan", "events"],
        })];
    }
    catalog.iter().map(skill).collect()
}

fn skill(entry: &CatalogEntry) -> Value {
    let goal = if entry.goal.is_empty() { &entry.name } else { &entry.goal };
    let mut description = goal.clone();
    if let Some(inputs) = entry.inputs["properties"].as_object().filter(|inputs| !inputs.is_empty()) {
        let required = entry.inputs["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named: Vec<_> = inputs
            .keys()
            .map(|name| {
                let optional = if required.iter().any(|one| one == name) { "" } else { " (optional)" };
                format!("{name}{optional}")
            })
            .collect();
        let _ = write!(description, " Inputs, as members of a data part: {}.", named.join(", "));
    }
    json!({
        "id": entry.name,
        "name": entry.name,
        "description": description,
        "tags": ["plan"],
        "inputModes": ["text/plain", "application/json"],
    })
}

/// A time as HTTP writes it: `Sun, 22 Nov 2026 14:20:00 GMT`.
fn http_date(time: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
    let text = time.to_string();
    // The first day of the epoch was a Thursday.
    let weekday = usize::try_from(time.as_micros().div_euclid(DAY_MICROS).rem_euclid(7)).unwrap_or(0);
    let month = text[5..7].parse::<usize>().unwrap_or(1);
    format!("{}, {} {} {} {} GMT", DAYS[weekday], &text[8..10], MONTHS[month - 1], &text[..4], &text[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        let check = |time: &str, expected: &str| assert_eq!(http_date(time.parse().unwrap()), expected);
        check("2026-11-22T14:20:01.999Z", "Sun, 22 Nov 2026 14:20:01 GMT");
        check("1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 GMT");
        check("1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT");
        check("1969-12-31T23:59:59Z", "Wed, 31 Dec 1969 23:59:59 GMT");
        check("2000-02-29T12:00:00Z", "Tue, 29 Feb 2000 12:00:00 GMT");
    }

    #[test]
    fn the_card_is_as_old_as_the_server_or_its_last_change() {
        let at = Timestamp::from_micros_clamped;
        let age = CardAge::new(at(1));
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        assert_eq!(
            [age.of(one, at(2)), age.of(one, at(3)), age.of(two, at(4)), age.of(two, at(5))],
            [at(1), at(1), at(4), at(4)]
        );
    }

    #[test]
    fn schemas_that_do_not_fit_are_left_out() {
        let entry = |name: &str, bytes: usize| CatalogEntry {
            name: name.into(),
            goal: String::new(),
            inputs: json!({ "description": "a".repeat(bytes) }),
        };
        let catalog = [entry("a", 10), entry("b", SCHEMAS_BYTES_MAX), entry("c", 10)];
        assert_eq!(schemas(&catalog).keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(skills(&catalog).len(), 3);
    }

    #[test]
    fn tags_match_weakly() {
        for known in ["\"a\"", "W/\"a\"", "*"] {
            assert!(matches(known, "\"a\""), "{known}");
        }
        assert!(!matches("\"b\"", "\"a\""));
    }
}
