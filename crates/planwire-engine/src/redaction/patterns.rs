//! Tokens that are known by their form, whoever they belong to.
//!
//! One expression looks for nearly all of them in one pass. **Invariant:** the time grows with the length of the text alone.
//! A search is linear, but there is one behind each token that is found, and each waits for what began before and may still
//! become one: so no form that others may stand in goes on without end.
//!
//! Tokens are looked for as they are written, not in Base64 or escaped: none but a key of several lines has a character that
//! is escaped.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::edges::Edges;
use crate::secrets::MARK;

/// Bytes at the end of a text that was cut in which the beginning of a token is looked for: longer ones are rare.
const TAIL_BYTES: usize = 4 * 1024;

/// One kind of token.
struct Kind {
    /// What is in its marker.
    name: &'static str,
    form: Form,
}

/// What a kind looks like. All expressions are of bytes.
enum Form {
    /// A beginning that nothing else has, and at least so many characters of a class.
    Token { prefix: &'static str, class: &'static str, least: usize },
    /// An expression whose one group is what is replaced.
    Group(&'static str),
}

const WORD: &str = "[A-Za-z0-9]";
const WORD_: &str = "[A-Za-z0-9_-]";

const fn token(name: &'static str, prefix: &'static str, class: &'static str, least: usize) -> Kind {
    Kind { name, form: Form::Token { prefix, class, least } }
}

/// The kinds; where two could be meant, the first is. From what their issuers say of the form of what they issue:
/// prefixes and lengths stand in the documentation of each, or in the rules of their secret scanning.
const ALL: [Kind; 16] = [
    // AWS, IAM identifiers: 16 characters of Base32 behind AKIA (long-term) or ASIA (temporary).
    token("aws_access_key_id", "(?:AKIA|ASIA)", "[A-Z2-7]", 16),
    // GitHub, authentication token formats: ghp, gho, ghu, ghs, ghr.
    token("github_token", "gh[pousr]_", WORD, 36),
    token("github_token", "github_pat_", "[A-Za-z0-9_]", 22),
    // GitLab, personal access token prefix.
    token("gitlab_token", "glpat-", "[A-Za-z0-9_.-]", 20),
    // Slack, token types: xoxb, xoxp, xoxa, xoxe, xoxr, xoxs.
    token("slack_token", "xox[abeprs]-", "[A-Za-z0-9-]", 10),
    // Google, API keys: 35 characters behind AIza.
    token("google_api_key", "AIza", WORD_, 35),
    // Stripe, API keys of live mode.
    token("stripe_key", "[rs]k_live_", WORD, 16),
    // Anthropic, OpenAI: both begin with sk-.
    token("anthropic_api_key", "sk-ant-", WORD_, 20),
    token("openai_api_key", "sk-", WORD_, 20),
    // npm, access tokens.
    token("npm_token", "npm_", WORD, 36),
    // PyPI, API tokens: a macaroon, which begins with AgE.
    token("pypi_token", "pypi-AgE", WORD_, 50),
    // Hugging Face, user access tokens.
    token("huggingface_token", "hf_", WORD, 34),
    // RFC 7468, and the older form with headers; its line breaks may be escaped. Without its end: what is there of it.
    Kind {
        name: "private_key",
        form: Form::Group(concat!(
            r"(-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
            r"(?:(?:[A-Za-z0-9+/=\s\\:,.()]|-[A-Za-z0-9])*?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s\\]{16,}))"
        )),
    },
    // RFC 3986, userinfo.
    Kind { name: "url_password", form: Form::Group(r#"://[^\s/?#@:"'<>]*:([^\s/?#@"'<>]+)@"#) },
    // RFC 6750.
    Kind { name: "bearer_token", form: Form::Group(r"\b[Bb]earer[ ]+([A-Za-z0-9._~+/-]{16,}=*)") },
    // RFC 7519: header and claims are JSON objects, of which Base64 makes eyJ; the signature may be missing.
    Kind {
        name: "jwt",
        form: Form::Group(r"\b(eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?)"),
    },
];

/// The names of the kinds of tokens that are known by their form, as they stand in markers; some stand for two forms.
pub const KINDS: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut at = 0;
    while at < ALL.len() {
        names[at] = ALL[at].name;
        at += 1;
    }
    names
};

/// How many kinds are looked for together. The last, which goes on through tokens of others, is looked for by itself.
const TOGETHER: usize = ALL.len() - 1;

struct Compiled {
    /// One group for each kind.
    whole: [Regex; 2],
    /// What of each kind a cut leaves at the end of a text.
    cut: Regex,
}

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let whole = |kind: &Kind| match kind.form {
        Form::Token { prefix, class, least } => format!(r"\b({prefix}{class}{{{least},}})"),
        Form::Group(expression) => expression.to_owned(),
    };
    let cut = |kind: &Kind| match kind.form {
        Form::Token { prefix, class, .. } => format!(r"\b({prefix}{class}*)\z"),
        Form::Group(_) if kind.name == "jwt" => r"\b(eyJ[A-Za-z0-9_.-]{8,})\z".to_owned(),
        // Never: what there is of a key is found without its end, and a password is told from a port by what follows.
        Form::Group(_) => r"([^\x00-\xff])".to_owned(),
    };
    let (together, alone) = ALL.split_at(TOGETHER);
    Compiled { whole: [any_of(together, whole), any_of(alone, whole)], cut: any_of(&ALL, cut) }
});

fn any_of(kinds: &[Kind], expression: impl Fn(&Kind) -> String) -> Regex {
    let expressions: Vec<String> = kinds.iter().map(expression).collect();
    Regex::new(&format!("(?-u){}", expressions.join("|"))).expect("a test compiles it")
}

/// Calls `see` with the place of each token and its kind.
pub(super) fn each(text: &[u8], edges: Edges, mut see: impl FnMut(Range<usize>, usize)) {
    let mut see = |place: Range<usize>, kind: usize| {
        if is_one(kind, &text[place.clone()]) {
            see(place, kind);
        }
    };
    let [together, alone] = &COMPILED.whole;
    find(together, text, &mut see);
    find(alone, text, |place, kind| see(place, TOGETHER + kind));
    if edges != Edges::Whole {
        let from = text.len().saturating_sub(TAIL_BYTES);
        find(&COMPILED.cut, &text[from..], |place, kind| see(from + place.start..from + place.end, kind));
    }
}

/// Calls `see` with the place of each match and its group.
fn find(regex: &Regex, text: &[u8], mut see: impl FnMut(Range<usize>, usize)) {
    // The expression without groups is faster, and most texts hold nothing.
    if !regex.is_match(text) {
        return;
    }
    for groups in regex.captures_iter(text) {
        let found = groups.iter().skip(1).enumerate().find_map(|(at, group)| Some((at, group?)));
        if let Some((at, group)) = found {
            see(group.range(), at);
        }
    }
}

/// Whether what has the form of a kind is one. What stands for a secret is none, nor is an expression of a document.
fn is_one(kind: usize, token: &[u8]) -> bool {
    let holds = |part: &[u8]| token.windows(part.len()).any(|window| window == part);
    match ALL[kind].name {
        "url_password" => !holds(MARK.as_bytes()) && !holds(b"${"),
        // Many names begin with sk-, which are words.
        "openai_api_key" => token.iter().any(u8::is_ascii_digit) && token.iter().any(u8::is_ascii_uppercase),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::secrets::Secrets;

    const MIXED: &str = "0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4cD5eF6gH7iJ8";

    /// Texts around one token of a kind, which begins and ends at `<` and `>`. Put together here: whoever scans this
    /// repository shall not find one.
    fn samples() -> Vec<(&'static str, String)> {
        let of = |prefix: &str, len: usize| format!("x=<{prefix}{}>;", &MIXED[..len]);
        let key = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIE+/ab==\n-----END RSA PRIVATE KEY-----";
        vec![
            ("aws_access_key_id", "(<AKIAABCDEFGHIJ234567>)".to_owned()),
            ("aws_access_key_id", "<ASIAABCDEFGHIJ234567>".to_owned()),
            ("github_token", of("ghp_", 36)),
            ("github_token", of("ghs_", 40)),
            ("github_token", of("github_pat_", 22)),
            ("gitlab_token", of("glpat-", 20)),
            ("slack_token", of("xoxb-", 12)),
            ("google_api_key", of("AIza", 35)),
            ("stripe_key", of("sk_live_", 24)),
            ("stripe_key", of("rk_live_", 24)),
            ("anthropic_api_key", of("sk-ant-api03-", 40)),
            ("openai_api_key", of("sk-proj-", 48)),
            ("npm_token", of("npm_", 36)),
            ("pypi_token", of("pypi-AgE", 50)),
            ("huggingface_token", of("hf_", 34)),
            ("jwt", "<eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl>, etc".to_owned()),
            ("private_key", format!("key: <{key}>\nafter")),
            ("private_key", format!("{{\"key\":\"<{}>\\n\"}}", key.replace('\n', "\\n"))),
            ("private_key", "<-----BEGIN PRIVATE KEY-----\nMIIE+/abMIIE+/ab>".to_owned()),
            ("url_password", "postgres://me:<p4ss-w0rd>@db.example/plans".to_owned()),
            ("url_password", "https://:<p4ss>@h".to_owned()),
            ("bearer_token", "Authorization: Bearer <abcdefghij0123456789>\r\n".to_owned()),
        ]
    }

    fn marked(text: &str, edges: Edges) -> String {
        Secrets::none().redactor().cut_text(text, edges).into_owned()
    }

    #[test]
    fn each_kind_of_token_is_found_and_what_surrounds_it_stays() {
        for (name, sample) in samples() {
            let (before, rest) = sample.split_once('<').unwrap();
            let (token, after) = rest.rsplit_once('>').unwrap();
            let expected = format!("{before}***{name}***{after}");
            assert_eq!(marked(&format!("{before}{token}{after}"), Edges::Whole), expected);
            assert_eq!(marked(&expected, Edges::Whole), expected, "once is enough");
        }
        let shown: BTreeSet<_> = samples().iter().map(|(name, _)| *name).collect();
        assert_eq!(shown, KINDS.into_iter().collect(), "each kind has a sample");
    }

    #[test]
    fn what_only_begins_like_a_token_stays() {
        let plain = [
            "the task-list sk-container-id-1-text-repr-fallback and sk-learn",
            "AKIA, ghp_short, eyJhbGciOiJIUzI1NiJ9, hf_datasets, npm_config_registry, xoxb-1",
            "XAKIAABCDEFGHIJ234567 MAIzaSomething",
            "-----BEGIN PRIVATE KEY-----, -----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
            "http://[::1]:8080/a@b https://example.com:443/x mailto:me@example.com https://me@example.com/a:b",
            "Bearer ***TOKEN*** https://me:***TOKEN***@h https://me:${secret('PASSWORD')}@h",
            "a bearer of good news",
        ];
        for text in plain {
            assert_eq!(marked(text, Edges::Whole), text);
        }
    }

    #[test]
    fn the_beginning_of_a_token_at_a_cut_is_found() {
        for (text, expected) in [
            ("a ghp_0aB1c", "a ***github_token***"),
            ("a eyJhbGciOiJIUzI1NiJ9.eyJzd", "a ***jwt***"),
            ("a sk-ant-", "a ***anthropic_api_key***"),
            ("a ghp_0aB1c b", "a ghp_0aB1c b"),
            ("http://localhost:80", "http://localhost:80"),
        ] {
            assert_eq!(marked(text, Edges::CutEnd), expected);
            assert_eq!(marked(text, Edges::Whole), text);
        }
    }
}
