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

/// As `git` and `ls -b` quote it.
fn octal(byte: u8) -> String {
    match byte {
        b'\\' => "\\\\".to_owned(),
        byte if byte.is_ascii() => char::from(byte).to_string(),
        byte => format!("\\{byte:03o}"),
    }
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
        TOKEN.to_ascii_uppercase(),
        TOKEN.replace('"', "&quot;").replace('&', "&amp;"),
        TOKEN
            .bytes()
            .map(|byte| format!("&#{byte};"))
            .collect::<String>()
            .replace("&#195;&#169;", "é")
            .replace("&#195;&#188;", "&#xFC;"),
        TOKEN.escape_unicode().to_string(),
        TOKEN.bytes().map(octal).collect(),
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
    assert_eq!(redactor.text("<abcdefghijklmn>"), "<***LONG***>");
    assert_eq!(redactor.text("<abcdefgh>"), "<ab***SHORT***>");
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
    let cut = |text: &str| redactor.cut_text(text, Edges::CutEnd).into_owned();
    let encoded = percent(TOKEN, "");
    for len in PARTIAL_BYTES_MIN..14 {
        assert_eq!(cut(&format!("a {}", &TOKEN[..len])), "a ***TOKEN***");
    }
    for len in 10..30 {
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
    redactor.value(&mut value, Edges::Whole);
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
    idle.value(&mut value, Edges::Piece);
    assert_eq!(value, json!({"a": 1}));
    assert_eq!(format!("{idle:?}"), "Redactor(None)");
}

#[test]
fn bytes_that_are_no_text_are_searched_too() {
    let redactor = redactor(&[("TOKEN", "abcdefgh")]);
    assert_eq!(*redactor.bytes(b"\xff\0abcdefgh\xfe"), *b"\xff\0***TOKEN***\xfe");
}

#[test]
fn base64_and_hex_of_an_escaped_value_are_found() {
    let redactor = redactor(&[("TOKEN", TOKEN)]);
    let document = json!({"user": "me", "password": TOKEN}).to_string();
    for source in [document, format!("user=me&password={}", percent(TOKEN, "-_.~"))] {
        let encoded = base64::encode(source.as_bytes());
        assert!(redactor.text(&encoded).contains("***TOKEN***"), "{encoded}");
        let hex: String = source.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert!(redactor.text(&hex).contains("***TOKEN***"), "{hex}");
    }
}

#[test]
fn base64_is_found_however_its_lines_end() {
    let redactor = redactor(&[("TOKEN", TOKEN)]);
    let encoded = base64::encode(TOKEN.as_bytes());
    for line_end in ["\n", "\r\n", "\r", " \n", "\t \r\n  ", "\n\n"] {
        let wrapped = format!("<{}{line_end}{}>", &encoded[..10], &encoded[10..]);
        let marked = redactor.text(&wrapped).into_owned();
        assert!(marked.starts_with("<***TOKEN***") && marked.len() < 20, "{marked:?}");
        let quoted = serde_json::to_string(&wrapped).unwrap();
        assert!(redactor.text(&percent(&quoted, "")).contains("***TOKEN***"), "{quoted}");
    }
    let spaced = format!("{} {}", &encoded[..10], &encoded[10..]);
    assert_eq!(redactor.text(&spaced), spaced, "words are no wrapped line");
}

#[test]
fn values_in_bytes_of_other_encodings_are_found() {
    let redactor = redactor(&[("TOKEN", TOKEN)]);
    let latin: Vec<u8> = TOKEN.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
    assert_eq!(*redactor.bytes(&[b"a".as_slice(), &latin, b"z"].concat()), *b"a***TOKEN***z");
    let wide: Vec<u8> = TOKEN.encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(*redactor.bytes(&[b"\xfe\xff".as_slice(), &wide].concat()), *b"\xfe\xff\0***TOKEN***");
    let text: String = TOKEN.chars().flat_map(|character| [character, '\0']).collect();
    assert_eq!(redactor.text(&text), "***TOKEN***\0");
}

#[test]
fn lines_of_a_key_within_json_are_found() {
    let account = json!({"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"});
    let redactor = redactor(&[("ACCOUNT", &account.to_string())]);
    let key = account["private_key"].as_str().unwrap();
    let marked = redactor.text(key).into_owned();
    assert!(!marked.contains("MIIB") && !marked.contains("hkiG"), "{marked}");
    assert_eq!(redactor.text("-----BEGIN PRIVATE KEY-----"), "-----BEGIN PRIVATE KEY-----");
}

#[test]
fn names_that_are_their_own_values_do_not_grow() {
    let redactor = redactor(&[("POSTGRES_USER", "postgres")]);
    let once = redactor.text("Postgres: ***POSTGRES_USER*** %50ostgres").into_owned();
    assert_eq!(once, "***POSTGRES_USER***: ***POSTGRES_USER*** ***POSTGRES_USER***");
    assert_eq!(redactor.text(&once), once);
    assert_eq!(redactor.text("***postgres_user***"), "******POSTGRES_USER***_user***");
}

#[test]
fn what_a_cut_leaves_of_a_value_is_no_leak() {
    let key = "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----";
    let redactor = redactor(&[("TOKEN", TOKEN), ("PIN", "918273"), ("KEY", key)]);
    let cut = |text: &str| redactor.cut_text(text, Edges::CutEnd).into_owned();
    for form in
        [TOKEN.to_owned(), percent(TOKEN, ""), base64::encode(TOKEN.as_bytes()), json!(TOKEN).to_string()]
    {
        for len in 13..form.len() {
            let Some(part) = form.get(..len) else { continue };
            let marked = cut(&format!("a={part}")).replace('"', "");
            assert!(marked.starts_with("a=***TOKEN***") && marked.len() < 16, "{part}: {marked}");
        }
    }
    for text in ["a=c3Mz%", "a=czNjcjN0L3 \t", "a=s3cr3t\\u00", "a=s3cr3t%2", "a=s3cr&#x2"] {
        let marked = cut(text);
        assert!(!marked.contains("s3cr") && !marked.contains("czNj"), "{marked}");
    }
    assert_eq!(cut("90% s3c"), "90% s3c", "too little to tell");
    assert_eq!(cut("is s3cr3t no more"), "is s3cr3t no more", "not at the cut");
    assert_eq!(cut("100%, s3cr3t%2F"), "100%, ***TOKEN***");
    assert_eq!(redactor.text("a=s3cr3t/tok+e"), "a=s3cr3t/tok+e", "nothing was cut");
    assert_eq!(redactor.cut_bytes(b"\xff s3cr3t", Edges::CutEnd), b"\xff ***TOKEN***".as_slice());
}

#[test]
fn pieces_of_a_value_are_no_leak() {
    let key = "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----";
    let redactor = redactor(&[("TOKEN", TOKEN), ("KEY", key)]);
    let piece = |text: &str| redactor.cut_text(text, Edges::Piece).into_owned();
    let encoded = base64::encode(TOKEN.repeat(2).as_bytes());
    assert_eq!(piece(&encoded[4..20]), "***TOKEN***", "a part of the middle");
    assert_eq!(piece("password=s3cr3t/t"), "password=***TOKEN***");
    assert_eq!(
        piece(&format!("{} is the password", &TOKEN[TOKEN.len() - 9..])),
        "***TOKEN*** is the password"
    );
    assert_eq!(piece("9w0BAQEF"), "***KEY***");
    assert_eq!(piece("-----BEGIN KEY-----"), "-----BEGIN KEY-----");
    assert_eq!(piece("s3cr3t"), "s3cr3t");
}

#[test]
fn texts_in_a_row_are_one_text() {
    let redactor = redactor(&[("TOKEN", "abcdefghij"), ("OTHER", "ijk-klm")]);
    let row = |texts: &[&str]| redactor.texts_in_a_row(texts.iter().map(|text| (*text).to_owned()).collect());
    assert_eq!(row(&["<abc", "", "def", "ghij> ijk", "-klm"]), ["<***TOKEN***", "", "", "> ***OTHER***", ""]);
    assert_eq!(row(&["é%61b", "cdefghij%", "41é"]), ["é***TOKEN***", "%", "41é"]);
    assert_eq!(row(&["a", "b"]), ["a", "b"]);
    assert_eq!(Redactor::default().texts_in_a_row(vec!["abcdefghij".to_owned()]), ["abcdefghij"]);
}

#[test]
fn texts_full_of_escapes_are_read_in_few_views() {
    // Each view is read once, however many ways lead to it: otherwise there would be five times five times five.
    let redactor = redactor(&[("TOKEN", "abcdefghij")]);
    let inner = redactor.inner.as_ref().unwrap();
    let text = "%41\\u0042&amp;\n\0".repeat(20);
    let hasher = RandomState::new();
    let mut search = Search {
        inner,
        len: text.len(),
        edges: Edges::Whole,
        found: Vec::new(),
        seen: HashMap::new(),
        hasher,
    };
    search.view(&View::plain(text.as_bytes()), views::NESTING_MAX);
    assert!(search.seen.len() < 40, "{}", search.seen.len());
}

#[test]
fn parts_of_a_url_that_travel_alone_are_found() {
    let redactor = redactor(&[
        ("HOOK", "https://hooks.example/services/T0aB/B1xYz?key=SeCrEt#top"),
        ("DATABASE", "postgres://reader:hun:ter2@db.example/reports"),
        ("SHORT", "https://example.com/v1"),
    ]);
    for (text, marked) in [
        ("GET /services/T0aB/B1xYz?key=SeCrEt HTTP/1.1", "GET ***HOOK*** HTTP/1.1"),
        ("no route for /services/T0aB/B1xYz", "no route for ***HOOK***"),
        ("https://Hooks.Example/services/T0aB/B1xYz", "https://Hooks.Example***HOOK***"),
        ("password 'hun:ter2' of reader at db.example", "password '***DATABASE***' of reader at db.example"),
        ("/v1 of example.com", "/v1 of example.com"),
    ] {
        assert_eq!(redactor.text(text), marked);
    }
}
