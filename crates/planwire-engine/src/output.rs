//! Cuts values to a size at which they still are valid and of use.
//!
//! Small members stay whole and large ones share what is left: texts are cut at a character, lists after an item.
//! What is too deep is replaced by its text. **Invariant:** the result fits, and U+0000, which no store takes, is not
//! in it.

use serde_json::{Map, Value};

/// Bytes of a tool's output as JSON; longer ones are cut and marked as `truncated`.
pub const TOOL_OUTPUT_BYTES_MAX: usize = 128 * 1024;

/// Levels of lists and objects in a value that comes from outside of the engine.
pub const VALUE_DEPTH_MAX: usize = 48;

/// Bytes that brackets, and numbers whose normal form is longer, may need beyond what was counted.
const SLACK_BYTES: usize = 1024;

const _: () = assert!(TOOL_OUTPUT_BYTES_MAX * 2 <= planwire_event::limits::PAYLOAD_BYTES_MAX);
const _: () = assert!(VALUE_DEPTH_MAX + 8 < planwire_event::limits::PAYLOAD_DEPTH_MAX);

/// Makes `value` fit into [`TOOL_OUTPUT_BYTES_MAX`]; says whether something was cut.
#[must_use]
pub fn fit(value: Value) -> (Value, bool) {
    fit_into(value, TOOL_OUTPUT_BYTES_MAX)
}

/// Makes `value` fit into `bytes_max` bytes of JSON; says whether something was cut.
#[must_use]
pub fn fit_into(mut value: Value, bytes_max: usize) -> (Value, bool) {
    let mut cut = clean(&mut value, VALUE_DEPTH_MAX);
    if size(&value) > bytes_max {
        shrink(&mut value, bytes_max.saturating_sub(SLACK_BYTES.min(bytes_max / 8)));
        cut = true;
    }
    (value, cut)
}

/// Bytes of `value` as JSON.
#[must_use]
pub fn size(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        // No number is longer in either form than its 24 characters.
        Value::Number(number) => number.to_string().len().max(if number.is_f64() { 24 } else { 1 }),
        Value::String(text) => text_size(text),
        Value::Array(items) => 2 + items.iter().map(|item| size(item) + 1).sum::<usize>(),
        Value::Object(members) => {
            2 + members.iter().map(|(key, member)| text_size(key) + size(member) + 2).sum::<usize>()
        }
    }
}

fn text_size(text: &str) -> usize {
    2 + text.chars().map(char_size).sum::<usize>()
}

const fn char_size(char: char) -> usize {
    match char {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => char.len_utf8(),
    }
}

/// Replaces U+0000 and what is nested too deeply; says whether something of it was lost.
fn clean(value: &mut Value, levels: usize) -> bool {
    match value {
        Value::String(text) => {
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
            false
        }
        Value::Array(_) | Value::Object(_) if levels == 0 => {
            *value = Value::String("...".into());
            true
        }
        Value::Array(items) => items.iter_mut().fold(false, |cut, item| clean(item, levels - 1) | cut),
        Value::Object(members) => {
            if members.keys().any(|key| key.contains('\0')) {
                *members = std::mem::take(members)
                    .into_iter()
                    .map(|(key, member)| (key.replace('\0', "\u{fffd}"), member))
                    .collect();
            }
            members.values_mut().fold(false, |cut, member| clean(member, levels - 1) | cut)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn shrink(value: &mut Value, budget: usize) {
    if size(value) <= budget {
        return;
    }
    match value {
        Value::String(text) => text.truncate(chars_that_fit(text, budget.saturating_sub(2))),
        Value::Array(items) => shrink_list(items, budget.saturating_sub(2)),
        Value::Object(members) => shrink_object(members, budget.saturating_sub(2)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Bytes of the longest beginning of `text` that takes up at most `budget` bytes in JSON.
fn chars_that_fit(text: &str, budget: usize) -> usize {
    let mut used = 0;
    text.char_indices()
        .find(|(_, char)| {
            used += char_size(*char);
            used > budget
        })
        .map_or(text.len(), |(at, _)| at)
}

/// Keeps the first items; a first item that is too large alone is cut itself.
fn shrink_list(items: &mut Vec<Value>, budget: usize) {
    let mut used = 0;
    let whole = items
        .iter()
        .position(|item| {
            used += size(item) + 1;
            used > budget
        })
        .unwrap_or(items.len());
    items.truncate(whole.max(1));
    if whole == 0
        && let Some(first) = items.first_mut()
    {
        shrink(first, budget.saturating_sub(1));
        if size(first) > budget {
            items.clear();
        }
    }
}

/// Gives each member an equal share; what small ones leave over goes to the larger ones.
fn shrink_object(members: &mut Map<String, Value>, budget: usize) {
    let mut sizes: Vec<(usize, String)> =
        members.iter().map(|(key, member)| (text_size(key) + size(member) + 2, key.clone())).collect();
    sizes.sort();
    let mut left = budget;
    let count = sizes.len();
    for (at, (bytes, key)) in sizes.into_iter().enumerate() {
        let share = left / (count - at);
        if bytes <= share {
            left -= bytes;
            continue;
        }
        let frame = text_size(&key) + 2;
        let Some(member) = members.get_mut(&key) else { continue };
        shrink(member, share.saturating_sub(frame));
        let now = frame + size(member);
        if now > share {
            members.remove(&key);
        } else {
            left -= now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, bytes_max: usize) -> Value {
        let (fitted, cut) = fit_into(value, bytes_max);
        assert!(cut);
        assert!(
            fitted.to_string().len() <= bytes_max,
            "{} > {bytes_max}: {fitted}",
            fitted.to_string().len()
        );
        fitted
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let value = json!({"a": [1, 2.5, null, true, false], "b": "tab\t\"quoted\" é"});
        assert_eq!(fit(value.clone()), (value, false));
    }

    #[test]
    fn long_texts_are_cut_at_a_character_and_small_members_stay() {
        let value = json!({"exit_code": 0, "stderr": "short", "stdout": "é\n\u{1}".repeat(1000)});
        let fitted = check(value, 500);
        assert_eq!(fitted["exit_code"], 0);
        assert_eq!(fitted["stderr"], "short");
        assert!(fitted["stdout"].as_str().unwrap().starts_with("é\n\u{1}é"));
        assert!(fitted["stdout"].as_str().unwrap().len() > 150);
    }

    #[test]
    fn lists_lose_their_last_items() {
        let entries: Vec<_> = (0..1000).map(|at| json!({"name": format!("file{at}")})).collect();
        let fitted = check(json!({"entries": entries, "totals": {"files": 1000}}), 1000);
        assert_eq!(fitted["totals"]["files"], 1000);
        assert_eq!(fitted["entries"][0]["name"], "file0");
        assert!(fitted["entries"].as_array().unwrap().len() > 20);
    }

    #[test]
    fn a_single_large_item_is_cut_itself() {
        let fitted = check(json!([{"text": "x".repeat(5000)}]), 300);
        assert!(fitted[0]["text"].as_str().unwrap().len() > 100);
        assert_eq!(check(json!([vec!["x".repeat(90); 20]]), 40), json!([["x".repeat(27)]]));
    }

    #[test]
    fn members_that_cannot_be_cut_are_left_out() {
        let many: Map<String, Value> = (0..100).map(|at| (format!("member{at}"), json!(at))).collect();
        let fitted = check(Value::Object(many), 200);
        assert!(fitted.as_object().unwrap().len() < 100);
    }

    #[test]
    fn depth_and_nul_never_reach_the_log() {
        let mut deep = json!("core");
        for _ in 0..200 {
            deep = json!([deep]);
        }
        let (fitted, cut) = fit(deep);
        assert!(cut);
        assert!(planwire_event::Payload::of(&json!({"output": fitted})).is_ok());
        let (fitted, cut) = fit(json!({"a\0b": "c\0d"}));
        assert_eq!((fitted, cut), (json!({"a\u{fffd}b": "c\u{fffd}d"}), false));
    }
}
