//! What a policy makes of calls.

use planwire_event::vocabulary::Object;
use serde_json::{Value, json};

use super::reach::Below;
use super::*;

fn texts(patterns: &[&str]) -> Vec<Pattern> {
    patterns.iter().map(|pattern| Pattern::text(pattern).unwrap()).collect()
}

fn rule(name: &str, tools: &[&str]) -> Rule {
    Rule { tools: texts(tools), ..Rule::named(name) }
}

fn deny(rule: &str) -> Verdict {
    Verdict::Deny { rule: Some(rule.into()) }
}

const NOT_ALLOWED: Verdict = Verdict::Deny { rule: None };

fn judge(policy: &Policy, source: Source, tool: &str, arguments: Value, reach: &Reach) -> Verdict {
    judge_in("/no/folder", policy, source, tool, arguments, reach)
}

/// The verdict on a call of a plan that works in `folder`.
fn judge_in(
    folder: &str,
    policy: &Policy,
    source: Source,
    tool: &str,
    arguments: Value,
    reach: &Reach,
) -> Verdict {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    policy.judge(source, &Subject { tool, arguments: &arguments, reach, folder: &working(folder) })
}

fn working(folder: &str) -> Place {
    Place::at(folder.as_ref(), Below::Nothing)
}

fn by_tool(policy: &Policy, source: Source, tool: &str) -> Verdict {
    judge(policy, source, tool, json!({}), &Reach::default())
}

#[test]
fn without_rules_the_operators_documents_may_do_everything_and_others_nothing() {
    let policy = Policy::default();
    assert_eq!(by_tool(&policy, Source::Own, "exec"), Verdict::Allow);
    assert_eq!(by_tool(&policy, Source::Received, "exec"), NOT_ALLOWED);
    assert!(policy.is_open(Source::Own) && !policy.is_open(Source::Received));
    assert!(!policy.may_ask(Source::Own));
}

#[test]
fn denial_wins_over_approval_and_approval_over_permission_wherever_they_stand() {
    let all = |name: &str| vec![rule(name, &["*"])];
    // What stands in the policy, and the verdicts on the operator's documents and on those that were received.
    for (change, own, received) in [
        ("", Verdict::Allow, NOT_ALLOWED),
        ("received.allow", Verdict::Allow, Verdict::Allow),
        ("received.approve", Verdict::Allow, Verdict::Approve { rule: "received.approve".into() }),
        (
            "received.allow received.approve",
            Verdict::Allow,
            Verdict::Approve { rule: "received.approve".into() },
        ),
        ("received.allow received.deny", Verdict::Allow, deny("received.deny")),
        // For all documents there is only less.
        ("approve", Verdict::Approve { rule: "approve".into() }, NOT_ALLOWED),
        (
            "approve received.allow",
            Verdict::Approve { rule: "approve".into() },
            Verdict::Approve { rule: "approve".into() },
        ),
        ("deny received.allow received.approve own.allow", deny("deny"), deny("deny")),
        ("own.approve", Verdict::Approve { rule: "own.approve".into() }, NOT_ALLOWED),
        ("own.deny own.allow", deny("own.deny"), NOT_ALLOWED),
        ("own.otherwise", NOT_ALLOWED, NOT_ALLOWED),
        ("own.otherwise own.allow", Verdict::Allow, NOT_ALLOWED),
        ("own.otherwise approve", NOT_ALLOWED, NOT_ALLOWED),
        ("own.otherwise own.approve", Verdict::Approve { rule: "own.approve".into() }, NOT_ALLOWED),
    ] {
        let mut policy = Policy::default();
        for name in change.split_whitespace() {
            match name {
                "deny" => policy.deny = all(name),
                "approve" => policy.approve = all(name),
                "own.otherwise" => policy.own.otherwise = Otherwise::Deny,
                "own.allow" => policy.own.allow = all(name),
                "own.approve" => policy.own.approve = all(name),
                "own.deny" => policy.own.deny = all(name),
                "received.allow" => policy.received.allow = all(name),
                "received.approve" => policy.received.approve = all(name),
                _ => policy.received.deny = all(name),
            }
        }
        assert_eq!(by_tool(&policy, Source::Own, "exec"), own, "own: {change}");
        assert_eq!(by_tool(&policy, Source::Received, "exec"), received, "received: {change}");
    }
}

#[test]
fn rule_that_asks_for_several_things_wants_all_of_them() {
    let policy = Policy {
        deny: vec![Rule {
            with: vec![("method".into(), texts(&["POST", "PUT"])), ("url".into(), texts(&["*/admin/*"]))],
            ..rule("no writing there", &["http", "mcp:*"])
        }],
        ..Policy::default()
    };
    let asks = |tool: &str, arguments: Value| judge(&policy, Source::Own, tool, arguments, &Reach::default());
    let url = "https://a/admin/x";
    assert_eq!(asks("http", json!({"method": "PUT", "url": url})), deny("no writing there"));
    assert_eq!(asks("mcp:web/fetch", json!({"method": "PUT", "url": url})), deny("no writing there"));
    assert_eq!(asks("http", json!({"method": "GET", "url": url})), Verdict::Allow);
    assert_eq!(asks("http", json!({"url": url})), Verdict::Allow);
    assert_eq!(asks("httpx", json!({"method": "PUT", "url": url})), Verdict::Allow);
}

#[test]
fn patterns_fit_whole_texts() {
    let long = "a".repeat(20_000);
    for (pattern, fitting, others) in [
        ("file.*", vec!["file.read", "file."], vec!["file", "xfile.read", "exec"]),
        ("a?c", vec!["abc", "aéc"], vec!["ac", "abbc"]),
        ("*a*b*", vec!["ab", "xaxbx"], vec!["ba", ""]),
        ("**", vec!["", "a/b"], vec![]),
        (r"\*\?", vec!["*?"], vec!["ab"]),
        ("a*a*a*a*a*a*a*b", vec![], vec![long.as_str()]),
    ] {
        let compiled = Pattern::text(pattern).unwrap();
        assert!(fitting.iter().all(|text| compiled.matches(text)), "{pattern}");
        assert!(!others.iter().any(|text| compiled.matches(text)), "{pattern}");
    }
    assert_eq!(Pattern::text(""), Err(PatternError::Empty));
    assert_eq!(Pattern::text(&"a".repeat(PATTERN_CHARS_MAX + 1)), Err(PatternError::TooLong));
}

#[test]
fn arguments_of_a_program_fit_one_by_one() {
    let one = |patterns: &[&str]| Element::One(texts(patterns));
    let fits = |elements: Vec<Element>, argv: &[&str]| {
        let policy = Policy {
            deny: vec![Rule { argv: Some(ArgvPattern::new(elements)), ..Rule::named("argv") }],
            ..Policy::default()
        };
        judge(&policy, Source::Own, "exec", json!({ "argv": argv }), &Reach::default()) == deny("argv")
    };
    let reading = || vec![one(&["log", "diff"]), Element::Rest];
    assert!(fits(reading(), &["git", "log"]) && fits(reading(), &["git", "diff", "-p", "a b"]));
    assert!(!fits(reading(), &["git"]) && !fits(reading(), &["git", "push", "log"]));
    let anywhere = || vec![Element::Rest, one(&["--force", "-f"]), Element::Rest];
    assert!(fits(anywhere(), &["git", "push", "-f"]) && fits(anywhere(), &["git", "--force", "x"]));
    assert!(!fits(anywhere(), &["--force", "push"]), "the program itself is none of its arguments");
    assert!(fits(Vec::new(), &["ls"]) && !fits(Vec::new(), &["ls", "-l"]));
    assert!(!fits(anywhere(), &[]));
}

/// What a rule makes of a call of `bin/git` with this change to it: whether it gives it, whether it takes it away.
fn gives_and_takes(rule: &Rule, variables: &[&str], steering: &[&'static str], cwd: &str) -> (bool, bool) {
    let reach = Reach {
        programs: vec![Program::at("/no/bin/git".as_ref())],
        places: vec![Place::at(cwd.as_ref(), Below::Nothing)],
        variables: variables.iter().map(|name| (*name).to_owned()).collect(),
        steering: steering.to_vec(),
        ..Reach::default()
    };
    let arguments = json!({"argv": ["git", "log"], "stdin": "x"});
    let mut allowing = Policy::default();
    allowing.received.allow = vec![rule.clone()];
    let denying = Policy { deny: vec![rule.clone()], ..Policy::default() };
    let allowed = judge(&allowing, Source::Received, "exec", arguments.clone(), &reach) == Verdict::Allow;
    (allowed, judge(&denying, Source::Own, "exec", arguments, &reach) == deny(&rule.name))
}

#[test]
fn rule_that_gives_a_program_gives_nothing_that_steers_it_beside_its_arguments() {
    let git = || Rule { programs: vec![PathPattern::at("/no/bin/git").unwrap()], ..Rule::named("git") };
    let log = || Rule { argv: Some(ArgvPattern::new(vec![Element::Rest])), ..Rule::named("log") };
    let spelled = || Rule { with: vec![("argv".into(), texts(&["*"]))], ..Rule::named("spelled") };
    let named = || Rule { variables: texts(&["LANG", "LC_*"]), ..git() };
    let fed = || Rule { with: vec![("stdin".into(), texts(&["*"]))], ..git() };
    let settled = || Rule { folders: vec![FolderRule::at("/no/work").unwrap()], ..git() };
    let any = || Rule { tools: texts(&["exec"]), ..Rule::named("any") };
    // A rule, what a call has beside its arguments, and whether the rule gives it and takes it away.
    for (rule, variables, steering, cwd, expected) in [
        (git(), vec![], vec![], "/no/work", (true, true)),
        (git(), vec!["LD_PRELOAD"], vec![], "/no/work", (false, true)),
        (log(), vec!["PATH"], vec![], "/no/work", (false, true)),
        (spelled(), vec!["GIT_EXTERNAL_DIFF"], vec![], "/no/work", (false, true)),
        (named(), vec![], vec![], "/no/work", (true, false)),
        (named(), vec!["LANG", "LC_ALL"], vec![], "/no/work", (true, true)),
        (named(), vec!["LANG", "LD_PRELOAD"], vec![], "/no/work", (false, true)),
        (named(), vec!["LANGUAGE"], vec![], "/no/work", (false, false)),
        (git(), vec![], vec!["stdin"], "/no/work", (false, true)),
        (fed(), vec![], vec!["stdin"], "/no/work", (true, true)),
        (fed(), vec![], vec!["stdin", "cwd"], "/no/work", (false, true)),
        (git(), vec![], vec!["cwd"], "/no/work", (false, true)),
        (settled(), vec![], vec!["cwd"], "/no/work/below", (true, true)),
        (settled(), vec![], vec!["cwd"], "/no/other", (false, false)),
        // Who may run any program can set its environment with it.
        (any(), vec!["PATH"], vec!["stdin", "cwd"], "/no/work", (true, true)),
        (Rule { variables: texts(&["LANG"]), ..any() }, vec!["PATH"], vec![], "/no/work", (false, false)),
    ] {
        let given = gives_and_takes(&rule, &variables, &steering, cwd);
        assert_eq!(given, expected, "{} {variables:?} {steering:?} {cwd}", rule.name);
    }
}

#[test]
fn hosts_fit_by_name_address_and_port() {
    for (pattern, fitting, others) in [
        (
            "example.org",
            vec![("example.org", 1), ("EXAMPLE.org.", 443)],
            vec![("a.example.org", 1), ("xexample.org", 1)],
        ),
        (
            "*.example.org:443",
            vec![("a.example.org", 443), ("a.b.example.org", 443)],
            vec![("example.org", 443), ("a.example.org", 80), ("aexample.org", 443)],
        ),
        ("*", vec![("a", 1), ("::1", 2)], vec![]),
        ("*:80", vec![("a", 80)], vec![("a", 81)]),
        ("127.0.0.1", vec![("127.0.0.1", 1), ("::ffff:127.0.0.1", 1)], vec![("127.0.0.2", 1)]),
        ("[0:0::1]:80", vec![("::1", 80)], vec![("::1", 81), ("::2", 80)]),
    ] {
        let compiled = HostPattern::parse(pattern).unwrap();
        let fits = |(name, port): &(&str, u16)| {
            let host = Host::new(name, *port);
            compiled.matches(&host.name, host.port)
        };
        assert!(fitting.iter().all(fits), "{pattern}");
        assert!(!others.iter().any(fits), "{pattern}");
    }
    for wrong in [
        "", "a b", "http://a", "a:", "a:0", "a:65536", "*a", "a.*", "*.", "[a]", "[::1", "a/b", "a..b",
        "[::1]x",
    ] {
        assert_eq!(HostPattern::parse(wrong), Err(PatternError::NoHost), "{wrong}");
    }
}

/// Links and files as a call might meet them.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for file in ["bin/rm", "bin/git-log", "open/file", "open/secret/file", "closed/file"] {
            std::fs::create_dir_all(at.join(file).parent().unwrap()).unwrap();
            std::fs::write(at.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink(at.join("bin"), at.join("sbin")).unwrap();
        std::os::unix::fs::symlink(at.join("bin/rm"), at.join("open/harmless")).unwrap();
        std::os::unix::fs::symlink(at.join("closed"), at.join("open/out")).unwrap();
        Self(folder)
    }

    fn at(&self, path: &str) -> String {
        self.0.path().join(path).to_string_lossy().into_owned()
    }

    fn program(&self, path: &str) -> Reach {
        Reach { programs: vec![Program::at(self.at(path).as_ref())], ..Reach::default() }
    }

    fn place(&self, path: &str, below: Below) -> Reach {
        Reach { places: vec![Place::at(self.at(path).as_ref(), below)], ..Reach::default() }
    }
}

#[test]
fn denied_program_is_known_under_each_of_its_names_and_an_allowed_one_by_what_it_is() {
    let files = Files::new();
    let pattern = |path: &str| vec![PathPattern::at(&files.at(path)).unwrap()];
    let verdict =
        |policy: &Policy, source, path: &str| judge(policy, source, "exec", json!({}), &files.program(path));
    for written in ["bin/rm", "sbin/rm", "open/harmless", "bin/r*"] {
        let rules = vec![Rule { programs: pattern(written), ..Rule::named("rm") }];
        let policy = Policy { deny: rules.clone(), ..Policy::default() };
        for path in ["bin/rm", "sbin/rm", "open/harmless", "open/../sbin/./rm", "open/out/../bin/rm"] {
            assert_eq!(verdict(&policy, Source::Own, path), deny("rm"), "{written} {path}");
        }
        assert_eq!(verdict(&policy, Source::Own, "bin/git-log"), Verdict::Allow);
        let mut policy = Policy::default();
        policy.received.allow = rules;
        assert_eq!(verdict(&policy, Source::Received, "sbin/rm"), Verdict::Allow, "{written}");
        assert_eq!(verdict(&policy, Source::Received, "bin/git-log"), NOT_ALLOWED);
        assert_eq!(by_tool(&policy, Source::Received, "exec"), NOT_ALLOWED, "nothing was found");
    }
    // A link into what is allowed is judged by where it leads.
    let mut policy = Policy::default();
    policy.received.allow = vec![Rule { programs: pattern("open/*"), ..Rule::named("open") }];
    assert_eq!(verdict(&policy, Source::Received, "open/harmless"), NOT_ALLOWED);
    assert_eq!(PathPattern::at("rm"), Err(PatternError::NotAbsolute));
}

#[test]
fn folder_is_what_a_path_leads_to() {
    let files = Files::new();
    let folders = |path: &str| vec![FolderRule::at(&files.at(path)).unwrap()];
    let mut policy = Policy::default();
    policy.received.allow = vec![Rule { folders: folders("open"), ..Rule::named("open") }];
    policy.own.deny = vec![Rule { folders: folders("open/secret"), ..Rule::named("secret") }];
    let received = |path: &str| {
        judge(&policy, Source::Received, "file.read", json!({}), &files.place(path, Below::Nothing))
    };
    for inside in ["open", "open/file", "open/new/file", "closed/../open/file"] {
        assert_eq!(received(inside), Verdict::Allow, "{inside}");
    }
    for outside in ["", "closed/file", "open/../closed", "open/out/file", "open/out", "opened"] {
        assert_eq!(received(outside), NOT_ALLOWED, "{outside}");
    }
    let both = Reach {
        places: [files.place("open", Below::Nothing), files.place("closed", Below::Nothing)]
            .into_iter()
            .flat_map(|reach| reach.places)
            .collect(),
        ..Reach::default()
    };
    assert_eq!(judge(&policy, Source::Received, "file.read", json!({}), &both), NOT_ALLOWED);

    let own =
        |path: &str, below| judge(&policy, Source::Own, "file.list", json!({}), &files.place(path, below));
    assert_eq!(own("open/secret/file", Below::Nothing), deny("secret"));
    assert_eq!(own("open", Below::Everything), deny("secret"), "all below it is touched");
    assert_eq!(own("open", Below::Nothing), Verdict::Allow);
    assert_eq!(own("closed", Below::Everything), Verdict::Allow);
}

#[test]
fn dot_is_the_working_folder_of_whoever_calls_by_all_its_names() {
    let files = Files::new();
    let own = || vec![FolderRule::at(".").unwrap()];
    let mut policy = Policy::default();
    policy.received.allow = vec![Rule { folders: own(), ..Rule::named("own") }];
    policy.own.deny = vec![Rule { folders: own(), ..Rule::named("not here") }];
    let verdicts = |folder: &str, path: &str, below| {
        let reach = files.place(path, below);
        [Source::Received, Source::Own]
            .map(|source| judge_in(&files.at(folder), &policy, source, "file.list", json!({}), &reach))
    };
    let inside = [Verdict::Allow, deny("not here")];
    let outside = [NOT_ALLOWED, Verdict::Allow];
    // A folder may itself be named through a link: `open/out` leads to `closed`.
    for (folder, path, expected) in [
        ("open", "open", &inside),
        ("open", "open/secret/file", &inside),
        ("open", "open/new", &inside),
        ("open", "closed/file", &outside),
        ("open", "open/../closed/file", &outside),
        ("open", "opened", &outside),
        ("closed", "open/file", &outside),
        ("closed", "open/out/file", &inside),
        ("open/out", "closed/file", &inside),
        ("open/out", "open/file", &outside),
    ] {
        assert_eq!(verdicts(folder, path, Below::Nothing), *expected, "{folder} {path}");
    }
    // The name is in there, what it leads to is not.
    assert_eq!(verdicts("open", "open/out/file", Below::Nothing), [NOT_ALLOWED, deny("not here")]);
    assert_eq!(verdicts("open/secret", "open", Below::Everything), [NOT_ALLOWED, deny("not here")]);
    let anywhere = files.place("open", Below::Nothing);
    let of_root = |source| judge_in("/", &policy, source, "file.list", json!({}), &anywhere);
    assert_eq!([of_root(Source::Received), of_root(Source::Own)], [NOT_ALLOWED, deny("not here")]);
}

#[test]
fn what_a_call_is_led_to_meets_the_rules_that_take_away() {
    let host = |pattern: &str| vec![HostPattern::parse(pattern).unwrap()];
    let mut policy =
        Policy { deny: vec![Rule { hosts: host("10.0.0.1"), ..Rule::named("inside") }], ..Policy::default() };
    policy.received.allow = vec![Rule { hosts: host("*.example.org:443"), ..Rule::named("example") }];
    let arguments = Object::new();
    let policy = std::sync::Arc::new(policy);
    let approval = gate::Approval::None;
    let gate = Gate::of(&policy, Source::Received, approval, "http", &arguments, working("/no/folder"));
    gate.admit_host("a.example.org", 443).unwrap();
    gate.admit_address("192.0.2.1".parse().unwrap(), 443).unwrap();
    for denied in [
        gate.admit_host("other.example", 443),
        gate.admit_host("a.example.org", 80),
        gate.admit_address("10.0.0.1".parse().unwrap(), 443),
        gate.admit_address("::ffff:10.0.0.1".parse().unwrap(), 443),
    ] {
        assert_eq!(denied.unwrap_err().code, DENIED);
    }
    Gate::default().admit_host("anything", 1).unwrap();
}

#[test]
fn approval_opens_what_a_rule_wants_approved_and_nothing_else() {
    let policy = std::sync::Arc::new(Policy {
        deny: vec![rule("never", &["exec"])],
        approve: vec![rule("ask", &["http"])],
        ..Policy::default()
    });
    let arguments = Object::new();
    let admit = |tool: &str, approval| {
        Gate::of(&policy, Source::Own, approval, tool, &arguments, working("/no/folder"))
            .admit(&Reach::default())
            .map_err(|error| error.message)
    };
    assert_eq!(admit("http", gate::Approval::Given), Ok(()));
    assert!(admit("http", gate::Approval::None).unwrap_err().ends_with("rule 'ask'"));
    assert_eq!(admit("exec", gate::Approval::Given).unwrap_err(), "the policy denies it: rule 'never'");
    assert_eq!(admit("file.read", gate::Approval::None), Ok(()));
}
