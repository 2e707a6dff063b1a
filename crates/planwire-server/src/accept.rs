//! Which form of an answer a client wants, by its `Accept`.

use axum::http::{HeaderMap, header};

use crate::problem::{Kind, Problem};

/// The forms in which events are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A page of JSON.
    Json,
    /// A stream of server-sent events.
    Sse,
}

/// How well a form fits: quality in thousandths, then how exactly it was named.
type Fit = (u16, u8);

/// Chooses the form with the higher quality; between equals the one that is named more exactly, then JSON.
pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Form, Problem> {
    let ranges = ranges(headers).ok_or_else(not_acceptable)?;
    if ranges.is_empty() {
        return Ok(Form::Json);
    }
    let json = fit(&ranges, "application", "json");
    let sse = fit(&ranges, "text", "event-stream");
    match (json.0, sse.0) {
        (0, 0) => Err(not_acceptable()),
        _ if sse > json => Ok(Form::Sse),
        _ => Ok(Form::Json),
    }
}

/// Whether `Accept` names exactly this media type and does not prefer `other`.
pub(crate) fn names(headers: &HeaderMap, media_type: (&str, &str), other: (&str, &str)) -> bool {
    let Some(ranges) = ranges(headers) else { return false };
    let (wanted, other) = (fit(&ranges, media_type.0, media_type.1), fit(&ranges, other.0, other.1));
    wanted.1 == NAMED && wanted.0 > 0 && wanted >= other
}

/// What `Accept` lists; none if it is no text.
fn ranges(headers: &HeaderMap) -> Option<Vec<Range<'_>>> {
    let mut ranges = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        let text = value.to_str().ok()?;
        ranges.extend(text.split(',').map(str::trim).filter(|range| !range.is_empty()).map(Range::parse));
    }
    Some(ranges)
}

fn not_acceptable() -> Problem {
    Problem::new(Kind::NotAcceptable, "events are served as application/json and as text/event-stream")
}

/// How exact a range is that names its media type.
const NAMED: u8 = 3;

struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next().and_then(|media| media.split_once('/')).unwrap_or_default();
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case("q"))
            .map_or(1000, |(_, value)| quality(value));
        Self { main, sub, quality }
    }

    /// 0: not named, 1: `*/*`, 2: `text/*`, [`NAMED`].
    fn exactness(&self, main: &str, sub: &str) -> u8 {
        match (self.main, self.sub) {
            ("*", "*") => 1,
            (named, "*") if named.eq_ignore_ascii_case(main) => 2,
            (named, exact) if named.eq_ignore_ascii_case(main) && exact.eq_ignore_ascii_case(sub) => NAMED,
            _ => 0,
        }
    }
}

/// Thousandths of a quality; what is none counts as 0, so that a form is never forced on a client.
fn quality(text: &str) -> u16 {
    let parsed = text.trim().parse::<f32>().ok().filter(|value| (0.0..=1.0).contains(value));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 1000 by the line above"
    )]
    parsed.map_or(0, |value| (value * 1000.0).round() as u16)
}

/// The most exact range decides the quality of a form.
fn fit(ranges: &[Range<'_>], main: &str, sub: &str) -> Fit {
    ranges
        .iter()
        .map(|range| (range.exactness(main, sub), range.quality))
        .filter(|(exactness, _)| *exactness > 0)
        .max()
        .map_or((0, 0), |(exactness, quality)| (quality, exactness))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_follows_accept() {
        let check = |accept: &[&str], expected: Option<Form>| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, value.parse().unwrap());
            }
            assert_eq!(negotiate(&headers).ok(), expected, "{accept:?}");
        };
        check(&[], Some(Form::Json));
        check(&["*/*"], Some(Form::Json));
        check(&["application/*"], Some(Form::Json));
        check(&["text/event-stream"], Some(Form::Sse));
        check(&["TEXT/Event-Stream"], Some(Form::Sse));
        check(&["text/*"], Some(Form::Sse));
        check(&["text/event-stream, */*"], Some(Form::Sse));
        check(&["application/json, text/event-stream"], Some(Form::Json));
        check(&["application/json;q=0.5, text/event-stream"], Some(Form::Sse));
        check(&["application/json", "text/event-stream;q=0.9"], Some(Form::Json));
        check(&["text/event-stream;q=0, */*;q=0.1"], Some(Form::Json));
        check(&["text/event-stream;q=0"], None);
        check(&["text/event-stream;q=2"], None);
        check(&["text/html"], None);
        check(&["nonsense"], None);
        check(&["application/json;charset=utf-8;q=0.2, text/event-stream;q=0.1"], Some(Form::Json));
    }
}
