//! Promises of expressions.

use serde_json::{Value, json};

use super::*;

const NAMES: [&str; 3] = ["x", "steps", "item"];

fn compile(source: &str) -> Result<Expression, CompileError> {
    Expression::compile(source, &NAMES, Purpose::Document)
}

fn evaluate(source: &str, x: &Value) -> Result<Value, EvaluateError> {
    let (steps, item) = (json!({"a": {"ok": true}}), json!(null));
    let variables = Variables::new().with("x", x).with("steps", &steps).with("item", &item);
    compile(source).unwrap_or_else(|error| panic!("{source}: {error}")).evaluate(&variables)
}

fn value(source: &str, x: &Value) -> Value {
    evaluate(source, x).unwrap_or_else(|error| panic!("{source}: {error}"))
}

/// Checks the message of a source that does not compile, with its place.
fn refused(source: &str, expected: &str) {
    let error = compile(source).map(|_| ()).expect_err(source);
    assert_eq!(format!("{}:{}: {}", error.line, error.column, error.kind), expected, "{source}");
}

/// Checks the message of an evaluation that fails.
fn fails(source: &str, x: &Value, expected: &str) {
    let error = evaluate(source, x).expect_err(source);
    assert_eq!(error.to_string(), format!("'{source}': {expected}"));
}

#[test]
fn values_keep_their_types() {
    let x = json!({"i": -3, "u": u64::MAX, "f": 1.5, "t": "é", "b": false, "n": null, "l": [1, {"k": 2}], "o": {}});
    assert_eq!(value("x", &x), x);
    for (key, member) in x.as_object().unwrap() {
        assert_eq!(value(&format!("x.{key}"), &x), *member, "{key}");
        assert_eq!(value(&format!("x['{key}']"), &x), *member, "{key}");
    }
    assert_eq!(value("x.l[1].k", &x), 2);
    assert_eq!(value("{'a': [x.i, x.t], 'b': 1u}", &x), json!({"a": [-3, "é"], "b": 1}));
    assert_eq!(value("{1: true, 2u: 1, false: 2}", &x), json!({"1": true, "2": 1, "false": 2}));
}

#[test]
fn operators_functions_and_comprehensions_work() {
    let x = json!({"n": 2, "list": [3, 1, 2], "map": {"b": 1, "a": 2, "c": 0}, "text": "a.rs"});
    for (source, expected) in [
        ("x.n == 2 && !(x.n > 3) || false", json!(true)),
        ("x.n * 2 + 1 - 3 / 3 % 2", json!(4)),
        ("double(x.n) * 1.5", json!(3)),
        ("x.text.endsWith('.rs') ? 'rust' : 'other'", json!("rust")),
        ("x.text.contains('a') && x.text.startsWith('a')", json!(true)),
        ("'a' + 'b' + string(x.n)", json!("ab2")),
        ("size(x.list) + x.list.size()", json!(6)),
        ("2 in x.list && 'a' in x.map", json!(true)),
        ("has(x.map.a) && !has(x.map.z)", json!(true)),
        ("type(x.n) == int && type(x.list) == list", json!(true)),
        ("x.list.filter(i, i > 1)", json!([3, 2])),
        ("x.list.map(i, i * x.n)", json!([6, 2, 4])),
        ("x.list.map(i, i > 1, i + i)", json!([6, 4])),
        ("x.list.exists(i, i == x.n) && x.list.all(i, i > 0)", json!(true)),
        ("x.list.exists_one(i, i == 1)", json!(true)),
        ("x.list.map(i, x.list.map(j, i * j))", json!([[9, 3, 6], [3, 1, 2], [6, 2, 4]])),
        ("x.list.map(i, {'k': [i, -i]})[0]['k']", json!([3, -3])),
        ("steps.a.ok", json!(true)),
        ("[x.list, [1]].map(l, l.size())", json!([3, 1])),
    ] {
        let got = value(source, &x);
        assert!(got == expected || got.as_f64() == expected.as_f64() && got.is_number(), "{source}: {got}");
    }
}

#[test]
fn maps_are_walked_in_the_order_of_their_keys() {
    let x: serde_json::Map<String, Value> = (0..200).map(|at| (format!("k{at:03}"), json!(at))).collect();
    let keys: Vec<&String> = x.keys().collect();
    assert_eq!(value("x.map(k, k)", &json!(x)), json!(keys));
    assert_eq!(value("{2: 0, 1: 0}.map(k, k)", &json!(1)), json!([1, 2]));
    assert_eq!(value("{2u: 0, 1u: 0}.map(k, k)", &json!(1)), json!([1, 2]));
    assert_eq!(value("{true: 0, false: 0}.map(k, k)", &json!(1)), json!([false, true]));
}

#[test]
fn references_name_what_is_read_and_where() {
    let check = |source: &str, expected: &[(&str, usize)]| {
        let expression = compile(source).unwrap();
        let got: Vec<(String, usize)> =
            expression.references().iter().map(|it| (it.path.join("."), it.offset)).collect();
        let expected: Vec<(String, usize)> =
            expected.iter().map(|(path, at)| ((*path).to_owned(), *at)).collect();
        assert_eq!(got, expected, "{source}");
        assert_eq!(expression.source(), source);
    };
    check("1 + 1", &[]);
    check("steps.list.output", &[("steps.list.output", 0)]);
    check("'é' == steps['list'].ok", &[("steps.list.ok", 8)]);
    check("x.a[0].b", &[("x.a", 0)]);
    check("x.filter(item, item.a == steps.b.c)", &[("x", 0), ("steps.b.c", 25)]);
    check("item == x && has(item.q)", &[("item", 0), ("x", 8), ("item.q", 17)]);
    check("{'k': x}.k.size() == size([steps])", &[("x", 6), ("steps", 27)]);
    check("x.exists(x, x) || steps.exists(s, s == 'a')", &[("x", 0), ("steps", 18)]);
}

#[test]
fn texts_that_an_expression_may_give_are_known() {
    let check = |source: &str, expected: &[(&str, usize)]| {
        let expected: Vec<(String, usize)> =
            expected.iter().map(|(it, at)| ((*it).to_owned(), *at)).collect();
        assert_eq!(compile(source).unwrap().literal_results(), expected, "{source}");
    };
    check("x == 'a' ? 'b' : x == 'c' ? x : 'd'", &[("b", 11), ("d", 32)]);
    check("'a'", &[("a", 0)]);
    check("x + 'a'", &[]);
}

#[test]
fn broken_sources_are_told_with_their_place() {
    refused("", "1:1: expression is empty");
    refused("  \n ", "1:1: expression is empty");
    refused("x ==\n  y", "2:3: unknown variable 'y'");
    refused("'é' + é", "1:7: not a CEL expression: unexpected 'é'");
    refused("'é' == z", "1:8: unknown variable 'z'");
    refused("x.foo()", "1:6: unknown function 'foo'");
    refused("list.a", "1:1: unknown variable 'list'");
    refused("now()", "1:4: unknown function 'now'");
    refused("x.size(1)", "1:7: function 'size' takes one argument, not 2");
    refused("x.map(i)", "1:6: function 'map' takes a list, a loop variable and a value, not 2");
    refused("x.matches('a')", "1:10: unknown function 'matches'");
    refused("optional.of(x)", "1:12: unknown function 'of'");
    refused("Foo{a: 1}", "1:4: the message type 'Foo' is not supported");
    refused("b'a'", "1:1: a literal of bytes is not supported");
    refused("x.map(i, i) + i", "1:15: unknown variable 'i'");
}

#[test]
fn syntax_errors_of_the_parser_are_in_our_words() {
    for source in [
        "x ==",
        "x = 1",
        "(x",
        "x)",
        "x and x",
        "'open",
        "x.",
        "[1,",
        "{1:",
        "x ? 1",
        "1 2",
        "has(x)",
        "x.map(1, 2)",
        "`a`",
        "x.?a",
        "x[?0]",
        "\u{0}",
    ] {
        let error = compile(source).map(|_| ()).expect_err(source);
        assert!(matches!(error.kind, CompileErrorKind::Syntax { .. }), "{source}: {error:?}");
        assert!(error.offset <= source.len() && error.line == 1, "{source}: {error:?}");
        let message = error.to_string();
        assert!(!message.contains("expecting") && !message.contains("<input>"), "{message}");
        assert!(message.len() < 300, "{message}");
    }
}

#[test]
fn sources_are_bounded() {
    refused(
        &format!("'{}'", "a".repeat(SOURCE_BYTES_MAX)),
        "1:1: expression of 4098 bytes exceeds the limit of 4096",
    );
    assert!(compile(&format!("'{}'", "a".repeat(SOURCE_BYTES_MAX - 2))).is_ok());
    let list = |len: usize| format!("[{}]", vec!["1"; len].join(","));
    assert!(compile(&list(NODES_MAX - 1)).is_ok());
    refused(&list(NODES_MAX), "1:1: expression has more than 200 nodes");
    refused(&format!("x{}", ".a".repeat(NODES_MAX)), "1:1: expression has more than 200 nodes");
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(compile(&nested(DEPTH_MAX - 1)).is_ok());
    refused(&nested(DEPTH_MAX), "1:33: expression is nested deeper than 32 levels");
    refused(&nested(2000), "1:33: expression is nested deeper than 32 levels");
    refused(&format!("{}x", "!".repeat(2000)), "1:33: expression is nested deeper than 32 levels");
    refused(&format!("{}x", "-".repeat(2000)), "1:33: expression is nested deeper than 32 levels");
    refused(&"x?x:".repeat(800), "1:130: expression is nested deeper than 32 levels");
    assert!(
        compile(r#"'((((((((((((((((((((((((((((((((((((\'' + "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[""#)
            .is_ok()
    );
}

#[test]
fn comprehensions_are_bounded_by_purpose() {
    let source = |count: usize| vec!["x.exists(i, i == 1)"; count].join(" || ");
    assert!(compile(&source(4)).is_ok());
    refused(
        &source(5),
        "1:101: expression has more than 4 comprehensions (all, exists, exists_one, filter, map)",
    );
    assert!(Expression::compile(&source(1), &NAMES, Purpose::Filter).is_ok());
    let error = Expression::compile(&source(2), &NAMES, Purpose::Filter).unwrap_err();
    assert_eq!(error.kind, CompileErrorKind::TooManyComprehensions { max: 1 });
}

#[test]
fn long_chains_are_bounded_and_do_not_take_the_stack() {
    for operator in [" + ", " && ", " || ", " == ", " - "] {
        let source = vec!["x"; 900 / operator.len()].join(operator);
        let error = compile(&source).map(|_| ()).expect_err(operator);
        let bounded = matches!(
            error.kind,
            CompileErrorKind::TooManyNodes | CompileErrorKind::TooDeep | CompileErrorKind::Syntax { .. }
        );
        assert!(bounded, "{operator}: {error:?}");
    }
}

#[test]
fn evaluations_that_fail_say_why() {
    let x = json!({"n": 1, "list": [1], "max": i64::MAX});
    fails("x.zz", &x, "there is no member 'zz'; ask with has() first if it may be missing");
    fails("x.n.zz", &x, "a member access does not take (int, string)");
    fails("x.n / 0", &x, "division by zero");
    fails("x.n % 0", &x, "remainder by zero");
    fails("x.max + 1", &x, "the number does not fit 64 bits");
    fails("x.list[7]", &x, "the index is outside of the list");
    fails("x.n + 'a'", &x, "'+' does not take (int, string)");
    fails("x.n < 'a'", &x, "'<' does not take (int, string)");
    fails("double('NaN') < 1.0", &x, "'<' does not take (double, double)");
    fails("x.n ? 1 : 2", &x, "expected bool, got int");
    fails("double(x.n) / 0.0", &x, "the result is no JSON value: the number inf");
    fails("bytes('a')", &x, "the result is no JSON value: a value of type bytes");
    fails("x.n.map(i, i)", &x, "expected iterable, got int");
    assert!(evaluate("int('a')", &x).unwrap_err().to_string().starts_with("'int('a')': "));
}

#[test]
fn variables_that_are_declared_must_be_given() {
    let expression = compile("x.a").unwrap();
    let error = expression.evaluate(&Variables::new()).unwrap_err();
    assert_eq!(error.to_string(), "'x.a': the variable 'x' has no value here");
    let value = json!({"a": 7});
    let mut variables = Variables::new();
    variables.set("x", &value);
    assert_eq!(variables.get("x"), Some(&value));
    assert_eq!(variables.get("y"), None);
    assert_eq!(expression.evaluate(&variables).unwrap(), 7);
    assert_eq!(format!("{:?}", expression.clone()), "Expression(x.a)");
}

#[test]
fn what_a_comprehension_walks_and_touches_is_bounded() {
    let items = |len: usize| json!({"l": vec![1; len]});
    assert_eq!(value("x.l.filter(i, i > 1).size()", &items(COMPREHENSION_ITEMS_MAX)), 0);
    let message = "10001 items exceed the limit of 10000 for a comprehension";
    fails("x.l.filter(i, i > 1)", &items(COMPREHENSION_ITEMS_MAX + 1), message);
    let message = "evaluation exceeds the limit of 1000000 values touched";
    fails("x.l.map(i, x.l)", &items(2_000), message);
    fails("x.l.exists(i, x.l.exists(j, j == 2))", &items(2_000), message);
    fails("x.l.exists(i, x.l == [1]) || true", &items(2_000), message);
    let text = json!({"l": vec![1; 2_000], "t": "a".repeat(100_000), "o": {"k": vec![1; 2_000]}});
    fails("x.l.map(i, x.t)", &text, message);
    fails("x.l.map(i, x.o)", &text, message);
    fails("x.l.map(i, string(i) + x.t)", &text, message);
    fails("x.l.map(i, bytes(x.t) + b)".replace("b)", "bytes(x.t))").as_str(), &text, message);
}

#[test]
fn results_are_bounded() {
    let x = json!({"t": "a".repeat(100_000)});
    assert_eq!(value("x.t + x.t", &x).as_str().unwrap().len(), 200_000);
    let long = ["x.t"; 11];
    fails(&long.join(" + "), &x, "the result exceeds the limit of 1048576 bytes");
    fails(&format!("[{}]", long.join(", ")), &x, "the result exceeds the limit of 1048576 bytes");
    fails("{x.t + x.t + x.t + x.t + x.t + x.t + x.t + x.t + x.t + x.t + x.t: 1}.size() > 0 ? {x.t + x.t + x.t + x.t + x.t + x.t + x.t + x.t + x.t + x.t + x.t: 1} : {}".to_owned().as_str(), &x, "the result exceeds the limit of 1048576 bytes");
}

#[test]
fn messages_do_not_repeat_long_texts() {
    let source = format!("x.{}", "k".repeat(1_000));
    let message = evaluate(&source, &json!({})).unwrap_err().to_string();
    assert!(message.len() < 600, "{}", message.len());
}

#[test]
fn expressions_may_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    shared(&compile("x").unwrap());
}

proptest::proptest! {
    #[test]
    fn no_source_makes_the_compiler_panic(source in r#"[x.a+\-!&|?:()\[\]{}'"\\, 0-9=<>é]{0,60}"#) {
        if let Ok(expression) = compile(&source) {
            let value = json!({"a": [1, "a"]});
            let _ = expression.evaluate(&Variables::new().with("x", &value));
        }
    }
}

#[test]
fn lists_are_sorted_cut_and_joined() {
    let x =
        json!({"rows": [{"n": "b", "size": 2}, {"n": "a", "size": 9}, {"n": "c", "size": 5}], "none": []});
    let source =
        "x.rows.filter(r, r.size > 2).sortBy(r, -r.size).map(r, r.n + ' ' + string(r.size)).join('; ')";
    assert_eq!(value(source, &x), "a 9; c 5");
    assert_eq!(
        value("x.rows.slice(0, size(x.rows) < 2 ? size(x.rows) : 2).map(r, r.n)", &x),
        json!(["b", "a"])
    );
    assert_eq!(value("x.none.map(r, r.n).join(', ') + '.'", &x), ".");
}

#[test]
fn separator_of_a_join_is_a_literal() {
    refused("['a'].join(x)", "1:11: function 'join' takes a list and a literal text, not 2");
    assert!(compile("['a'].join()").is_err());
    assert!(compile("x.replace('a', 'b')").is_err());
    assert!(compile("x.flatten()").is_err());
}

#[test]
fn sorting_and_joining_are_budgeted() {
    let long = json!({"l": (0..10_001).collect::<Vec<_>>(), "t": vec!["x".repeat(1000); 1000]});
    assert!(evaluate("x.l.sortBy(n, -n)", &long).is_err());
    assert!(evaluate("x.t.map(a, x.t.join(''))", &long).is_err());
    assert!(evaluate("x.t.map(a, x.t.map(b, b)).sortBy(c, size(c))", &long).is_err());
}

#[test]
fn keys_with_one_text_give_one_value_each_time() {
    for _ in 0..64 {
        assert_eq!(
            value("{1: 'int', '1': 'text', true: 'bool', 'true': 'word'}", &json!({})),
            json!({"1": "text", "true": "word"})
        );
        fails(
            "{'b': bytes('b'), 'a': double('NaN')}",
            &json!({}),
            "the result is no JSON value: the number NaN",
        );
    }
}
