//! Payloads that two stores could render differently: numbers at the edges, unusual texts, all of it nested.

use std::collections::BTreeMap;

use crate::random::Random;

const NUMBERS: [&str; 34] = [
    "0",
    "-0",
    "-0.0",
    "1.0",
    "-1.0",
    "1e0",
    "1e15",
    "1e16",
    "1e19",
    "1e20",
    "-1e20",
    "1e21",
    "1e22",
    "1e300",
    "1e308",
    "1.7976931348623157e308",
    "-1.7976931348623157e308",
    "5e-324",
    "-5e-324",
    "2.2250738585072014e-308",
    "1e-7",
    "0.1",
    "0.30000000000000004",
    "123456789.12345678901234567890",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "18446744073709551615",
    "18446744073709550000",
    "-9223372036854775808",
    "9223372036854775807",
    "1.8446744073709552e19",
    "4.35e-5",
];

const TEXTS: [&str; 20] = [
    "",
    " ",
    "a",
    "A",
    "b",
    "aa",
    "é",
    "e\u{301}",
    "\u{1f600}",
    "\u{10ffff}",
    "\u{fb33}",
    "\u{e000}",
    "\u{ffff}",
    "\u{2028}\u{2029}\u{85}",
    "\u{1}\t\n\r\u{1f}\u{7f}",
    "\"\\/",
    "\u{202e}abc",
    "ﬁ",
    "Ａ",
    "'; -- %_$1",
];

/// A random object, as JSON that a publisher might send.
pub(crate) fn payload(random: &mut Random) -> String {
    object(random, 3)
}

fn object(random: &mut Random, depth: usize) -> String {
    let mut members = BTreeMap::new();
    for _ in 0..random.below(5) {
        members.insert(text(random), value(random, depth));
    }
    let mut members: Vec<_> = members.into_iter().map(|(key, value)| format!("{key} : {value}")).collect();
    if random.below(2) == 0 {
        members.reverse();
    }
    format!("{{{}}}", members.join(" ,"))
}

fn value(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 | 1 => (*random.of(&NUMBERS)).to_owned(),
        2 => float(random),
        3 | 4 => text(random),
        5 => (*random.of(&["true", "false", "null", "[]", "{}"])).to_owned(),
        6 => object(random, depth - 1),
        _ => {
            let items: Vec<_> = (0..random.below(4)).map(|_| value(random, depth - 1)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// Any finite float, with all of its digits.
fn float(random: &mut Random) -> String {
    let high = u64::try_from(random.below(1 << 31)).unwrap() << 33;
    let bits = high | u64::try_from(random.below(1 << 31)).unwrap() << 2;
    let float = f64::from_bits(bits);
    if float.is_finite() { format!("{float:e}") } else { "0.5".to_owned() }
}

/// A text of up to three of the unusual ones, as JSON.
fn text(random: &mut Random) -> String {
    let text: String = (0..=random.below(3)).map(|_| *random.of(&TEXTS)).collect();
    serde_json::to_string(&text).unwrap()
}
