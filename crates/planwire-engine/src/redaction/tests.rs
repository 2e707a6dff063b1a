//! Which forms of a value are found, and what is left as it is.

use serde_json::json;

use super::*;
use crate::base64;
use crate::secrets::Secrets;

const TOKEN: &str = "s3cr3t/tok+en \"é\\ü\" & more?";

fn redactor(values: &[(&str, &str)]) -> Redactor {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Secrets::new(values).unwrap().redactor().clone()
}

fn percent(text: &str, keep: &str) -> String {
    let form = |byte: u8| match char::from(byte) {
        char if char.is_ascii_alphanumeric() || keep.contains(char) => char.to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(form).collect()
}

#[test]
fn every_form_of_a_value_is_found_and_what_surrounds_it_stays() {
    let redactor = redactor(&[("TOKEN", TOKEN)]);
    let json = |text: &str| {
        let quoted = serde_json::to_string(text).unwrap();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let ascii: String =
        TOKEN
            .chars()
            .map(|char| {
                if char.is_ascii() { json(&char.to_string()) } else { format!("\\u{:04x}", u32::from(char)) }
            })
            .collect();
    let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms = [
        TOKEN.to_owned(),
        json(TOKEN),
        json(&json(TOKEN)),
        ascii,
        percent(TOKEN, "-_.~"),
        percent(TOKEN, "-_.~").to_lowercase(),
        percent(TOKEN, "-_.~/?:@!$&'()*+,;="),
        percent(TOKEN, "-_.~ ").replace(' ', "+"),
        percent(&json(TOKEN), "-_.~"),
        percent(&percent(TOKEN, ""), ""),
        percent(&base64::encode(TOKEN.as_bytes()), ""),
        hex.to_uppercase(),
        hex,
    ];
    for form in forms {
        for (before, after) in [("", ""), ("a=", "&b"), ("\u{fc}%41\\n", "\n%zz\\")] {
            let marked = redactor.text(&format!("{before}{form}{after}")).into_owned();
            assert!(marked.starts_with(&format!("{before}***TOKEN***")), "{form}: {marked}");
            assert!(marked.ends_with(after), "{form}: {marked}");
        }
    }
    assert_eq!(redactor.text("nothing of it"), "nothing of it");
}

#[test]
fn base64_is_found_at_any_offset_and_across_lines() {
    let redactor = redactor(&[("TOKEN", TOKEN)]);
    for before in 0..7 {
        let source = format!("{}{TOKEN}{}", "u".repeat(before), "x".repeat(before));
        for encoded in [base64::encode(source.as_bytes()), url_safe(&source)] {
            let wrapped = wrap(&encoded, 16);
            for text in [encoded, wrapped] {
                assert!(redactor.text(&text).contains("***TOKEN***"), "{text}");
            }
        }
    }
}

fn url_safe(text: &str) -> String {
    base64::encode(text.as_bytes()).replace('+', "-").replace('/', "_").replace('=', "")
}

fn wrap(text: &str, width: usize) -> String {
    text.as_bytes().chunks(width).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect()
}

#[test]
fn secrets_within_secrets_become_one_marker() {
    let redactor = redactor(&[("LONG", "abcdefghij"), ("NEXT", "ijklmn"), ("SHORT", "cdefgh")]);
    assert_eq!(redactor.text("abcdefghij cdefgh"), "***LONG*** ***SHORT***");
    assert_eq!(redactor.text("<abcdefghijklmn>"), "<***LONG***klmn>");
}

#[test]
fn keys_of_several_lines_are_found_line_by_line() {
    let key = "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----";
    let redactor = redactor(&[("KEY", key)]);
    assert_eq!(redactor.text(key), "***KEY***");
    assert_eq!(redactor.text(&key.replace('\n', "\r\n")), "***KEY***");
    assert_eq!(redactor.text("7: hkiG9w0BAQEFAASC"), "7: ***KEY***");
    assert_eq!(redactor.text("-----BEGIN KEY-----"), "-----BEGIN KEY-----");
    let account = redactor_of_account();
    assert_eq!(account.text("\"type\": \"service_account\","), "\"type\": \"service_account\",");
}

fn redactor_of_account() -> Redactor {
    redactor(&[("ACCOUNT", "{\n  \"type\": \"service_account\",\n  \"key\": \"abc\"\n}")])
}

#[test]
fn the_beginning_of_a_value_at_a_cut_is_no_leak() {
    let redactor = redactor(&[("TOKEN", TOKEN), ("SHORT", "123456")]);
    let cut = |text: &str| redactor.cut_text(text, true).into_owned();
    let encoded = percent(TOKEN, "");
    for len in PARTIAL_BYTES_MIN..14 {
        assert_eq!(cut(&format!("a {}", &TOKEN[..len])), "a ***TOKEN***");
    }
    for len in 20..30 {
        assert_eq!(cut(&format!("a {}", &encoded[..len])), "a ***TOKEN***", "{}", &encoded[..len]);
    }
    assert_eq!(cut("pin 123"), "pin ***SHORT***");
    assert_eq!(cut("pin 12"), "pin 12");
    assert_eq!(redactor.text("pin 123"), "pin 123");
    let base64 = base64::encode(TOKEN.as_bytes());
    assert_eq!(cut(&format!("a {}", &base64[..20])), "a ***TOKEN***");
}

#[test]
fn values_are_searched_with_their_keys_and_numbers() {
    let redactor = redactor(&[("PIN", "123456"), ("TOKEN", TOKEN)]);
    let mut value = json!({TOKEN: [1_123_456, 0.5, true, null], "b": {"c": TOKEN}});
    redactor.value(&mut value, false);
    assert_eq!(value, json!({"***TOKEN***": ["1***PIN***", 0.5, true, null], "b": {"c": "***TOKEN***"}}));
}

#[test]
fn payloads_keep_what_holds_them_together() {
    let redactor = redactor(&[("LIST", "listing"), ("PIN", "123456"), ("WORD", "interrupted")]);
    let mut payload = json!({
        "call_id": "listing-1", "step": "listing", "tool": "listing", "duration_ms": 123_456,
        "output": {"listing": 123_456}, "error": {"code": "interrupted", "message": "listing", "step": "x"},
        "reason": "interrupted", "part": {"data": {"n": 123_456}},
        "origin": {"protocol": "listing", "principal": "listing", "message": {"listing": 1}},
        "rationale": "listing",
    });
    assert!(redact_payload(&redactor, &mut payload));
    assert_eq!(
        payload,
        json!({
            "call_id": "listing-1", "step": "listing", "tool": "listing", "duration_ms": 123_456,
            "output": {"***LIST***": "***PIN***"},
            "error": {"code": "***WORD***", "message": "***LIST***", "step": "x"},
            "reason": "interrupted", "part": {"data": {"n": "***PIN***"}},
            "origin": {"protocol": "listing", "principal": "***LIST***", "message": {"***LIST***": 1}},
            "rationale": "***LIST***",
        })
    );
    let mut text = json!({"part": {"text": "listing"}, "reason": "listing"});
    assert!(redact_payload(&redactor, &mut text));
    assert_eq!(text, json!({"part": {"text": "***LIST***"}, "reason": "***LIST***"}));
    let mut blob = json!({"part": {"blob": {"digest": "listing", "size_bytes": 1}}});
    assert!(!redact_payload(&redactor, &mut blob));
}

#[test]
fn without_secrets_nothing_is_done() {
    let idle = Redactor::default();
    assert!(idle.is_idle());
    assert!(matches!(idle.text("abcdef"), Cow::Borrowed("abcdef")));
    assert!(matches!(idle.bytes(b"abcdef"), Cow::Borrowed(b"abcdef")));
    let mut value = json!({"a": 1});
    idle.value(&mut value, true);
    assert_eq!(value, json!({"a": 1}));
    assert_eq!(format!("{idle:?}"), "Redactor(None)");
}

#[test]
fn bytes_that_are_no_text_are_searched_too() {
    let redactor = redactor(&[("TOKEN", "abcdefgh")]);
    assert_eq!(*redactor.bytes(b"\xff\0abcdefgh\xfe"), *b"\xff\0***TOKEN***\xfe");
}
