//! From source to a checked tree.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SourceInfo};
use cel::parser::Expression as Tree;

use super::error::{CompileError, CompileErrorKind as Kind, excerpt};
use super::evaluate::{CHARGE, Needs, RANGE};
use super::{DEPTH_MAX, ENV, Inner, NODES_MAX, Purpose, Reference, SOURCE_BYTES_MAX};

/// Functions by name, with the number of arguments (target included) and that number in words.
const FUNCTIONS: [(&str, usize, &str); 14] = [
    ("bool", 1, "one argument"),
    ("bytes", 1, "one argument"),
    ("contains", 2, "a text and one argument"),
    ("double", 1, "one argument"),
    ("dyn", 1, "one argument"),
    ("endsWith", 2, "a text and one argument"),
    ("int", 1, "one argument"),
    (JOIN, 2, "a list and a literal text"),
    ("size", 1, "one argument"),
    ("slice", 3, "a list, its first and its last place"),
    ("startsWith", 2, "a text and one argument"),
    ("string", 1, "one argument"),
    ("type", 1, "one argument"),
    ("uint", 1, "one argument"),
];
const MACROS: [(&str, &str); 7] = [
    ("all", "a list, a loop variable and a condition"),
    ("exists", "a list, a loop variable and a condition"),
    ("exists_one", "a list, a loop variable and a condition"),
    ("filter", "a list, a loop variable and a condition"),
    ("has", "one member access such as has(a.b)"),
    ("map", "a list, a loop variable and a value"),
    ("sortBy", "a list, a loop variable and a key"),
];
/// Joins texts. What stands between them must be a literal: two long values would multiply.
const JOIN: &str = "join";
/// Names of types, as in `type(x) == int`.
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];
/// Brackets and unary operators in a row that are given to the parser: its own recursion is not bounded by bytes.
const BRACKETS_MAX: usize = DEPTH_MAX;

pub(super) fn compile(source: &str, variables: &[&str], purpose: Purpose) -> Result<Inner, CompileError> {
    if source.trim().is_empty() {
        return Err(CompileError::at(Kind::Empty, source, 0));
    }
    if source.len() > SOURCE_BYTES_MAX {
        return Err(CompileError::at(Kind::TooLong { len_bytes: source.len() }, source, 0));
    }
    check_nesting(source)?;
    let (mut tree, info) = parse(source)?;
    let mut checker = Checker {
        source,
        info: &info,
        variables,
        purpose,
        loops: Vec::new(),
        nodes: 0,
        comprehensions: 0,
        references: Vec::new(),
    };
    checker.check(&tree, 1)?;
    let mut results = Vec::new();
    literal_results(&checker, &tree, &mut results);
    let (mut references, budgeted) = (checker.references, checker.comprehensions > 0);
    references.sort_by_key(|reference| reference.offset);
    if budgeted {
        budget(&mut tree, false);
    }
    let needs = Needs::of(&references);
    Ok(Inner { source: source.to_owned(), tree, references, results, needs, budgeted })
}

/// Refuses what would take the parser's own stack, before it sees it.
fn check_nesting(source: &str) -> Result<(), CompileError> {
    let (mut depth, mut unary, mut quote) = (0_usize, 0_usize, None);
    let mut ternaries = 0_usize;
    let mut escaped = false;
    for (at, character) in source.char_indices() {
        if let Some(open) = quote {
            if escaped {
                escaped = false;
            } else if character == '\\' {
                escaped = true;
            } else if character == open {
                quote = None;
            }
            continue;
        }
        unary = if matches!(character, '!' | '-') { unary + 1 } else { 0 };
        match character {
            '"' | '\'' => quote = Some(character),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '?' => ternaries += 1,
            _ => {}
        }
        if depth > BRACKETS_MAX || unary > BRACKETS_MAX || ternaries > BRACKETS_MAX {
            return Err(CompileError::at(Kind::TooDeep, source, at));
        }
    }
    Ok(())
}

fn parse(source: &str) -> Result<(Tree, SourceInfo), CompileError> {
    let parser = ENV.parser();
    // The parser is generated code that is known to panic on some malformed sources.
    let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse_with_source_info(source)));
    let syntax = |message: String, offset| CompileError::at(Kind::Syntax { message }, source, offset);
    let errors = match parsed {
        Ok(Ok(parsed)) => return Ok(parsed),
        Ok(Err(errors)) => errors.errors,
        Err(_) => return Err(syntax("it cannot be parsed".to_owned(), 0)),
    };
    let Some(first) = errors.first() else {
        return Err(syntax("it cannot be parsed".to_owned(), 0));
    };
    Err(syntax(syntax_message(&first.msg), offset_of(source, first.pos)))
}

/// Turns the parser's line (from 1) and column into a byte offset.
fn offset_of(source: &str, (line, column): (isize, isize)) -> usize {
    let (line, column) = (usize::try_from(line).unwrap_or(0), usize::try_from(column).unwrap_or(0));
    let start: usize = source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &source[start.min(source.len())..];
    let skipped = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
    start + skipped
}

/// The parser lists every token that it could have used; the first part says enough.
fn syntax_message(message: &str) -> String {
    const FOUND: [&str; 4] = [
        "mismatched input ",
        "extraneous input ",
        "no viable alternative at input ",
        "token recognition error at: ",
    ];
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting ").next().unwrap_or(message).replace("'<EOF>'", "the end");
    match FOUND.iter().find_map(|prefix| message.strip_prefix(prefix)) {
        Some("the end") => "it ends too early".to_owned(),
        Some(found) => excerpt(&format!("unexpected {found}")),
        None => excerpt(&message),
    }
}

struct Checker<'a> {
    source: &'a str,
    info: &'a SourceInfo,
    variables: &'a [&'a str],
    purpose: Purpose,
    /// Loop variables in scope.
    loops: Vec<String>,
    nodes: usize,
    comprehensions: usize,
    references: Vec<Reference>,
}

impl Checker<'_> {
    fn error(&self, kind: Kind, tree: &Tree) -> CompileError {
        CompileError::at(kind, self.source, self.offset(tree))
    }

    /// Byte offset of a node.
    fn offset(&self, tree: &Tree) -> usize {
        self.info.offset_for(tree.id).map_or(0, |(start, _)| start as usize)
    }

    fn check(&mut self, tree: &Tree, depth: usize) -> Result<(), CompileError> {
        let path = path_of(tree);
        self.nodes += path.as_ref().map_or(1, |(path, _)| path.len());
        if self.nodes > NODES_MAX {
            return Err(CompileError::at(Kind::TooManyNodes, self.source, 0));
        }
        if depth > DEPTH_MAX {
            return Err(self.error(Kind::TooDeep, tree));
        }
        if let Some((path, name)) = path {
            return self.check_name(path, name);
        }
        match &tree.expr {
            Expr::Select(select) => self.check(&select.operand, depth + 1),
            Expr::Call(call) => self.check_call(call, tree, depth),
            Expr::Comprehension(comprehension) => self.check_comprehension(comprehension, tree, depth),
            Expr::List(list) => list.elements.iter().try_for_each(|item| self.check(item, depth + 1)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.check(&entry.key, depth + 1)?;
                    self.check(&entry.value, depth + 1)
                }
                EntryExpr::StructField(field) => self.check(&field.value, depth + 1),
            }),
            Expr::Struct(object) => {
                let what = format!("the message type '{}'", excerpt(&object.type_name));
                Err(self.error(Kind::Unsupported { what }, tree))
            }
            Expr::Literal(LiteralValue::Bytes(_)) => {
                Err(self.error(Kind::Unsupported { what: "a literal of bytes".to_owned() }, tree))
            }
            Expr::Literal(_) | Expr::Ident(_) => Ok(()),
            Expr::Unspecified => {
                Err(self.error(Kind::Syntax { message: "a part of it is missing".to_owned() }, tree))
            }
        }
    }

    /// Checks a variable or type name and remembers what is read of it.
    fn check_name(&mut self, path: Vec<String>, name: &Tree) -> Result<(), CompileError> {
        let root = path[0].trim_start_matches('.').to_owned();
        if root.starts_with('@') || self.loops.contains(&root) {
            return Ok(());
        }
        if self.variables.contains(&root.as_str()) {
            let offset = self.offset(name);
            self.references.push(Reference { path, offset });
            return Ok(());
        }
        if path.len() == 1 && TYPES.contains(&root.as_str()) {
            return Ok(());
        }
        let known = self.variables.iter().map(|&name| name.to_owned()).chain(self.loops.iter().cloned());
        let kind = Kind::UnknownVariable { name: excerpt(&root), known: known.collect() };
        Err(self.error(kind, name))
    }

    fn check_call(&mut self, call: &CallExpr, tree: &Tree, depth: usize) -> Result<(), CompileError> {
        let name = call.func_name.as_str();
        let given = call.args.len() + usize::from(call.target.is_some());
        let operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !operator {
            let expected = FUNCTIONS.iter().find(|(known, ..)| *known == name);
            if let Some((_, wanted, expected)) = expected {
                let literal = |tree: &Tree| matches!(&tree.expr, Expr::Literal(LiteralValue::String(_)));
                if *wanted != given || name == JOIN && !call.args.iter().all(literal) {
                    let kind = Kind::Arguments { name: name.to_owned(), expected, given };
                    return Err(self.error(kind, tree));
                }
            } else if let Some((_, expected)) = MACROS.iter().find(|(known, _)| *known == name) {
                // A macro with the right arguments is no call any more.
                return Err(self.error(Kind::Arguments { name: name.to_owned(), expected, given }, tree));
            } else {
                let known = FUNCTIONS.iter().map(|(known, ..)| *known).chain(MACROS.iter().map(|(m, _)| *m));
                let known = known.map(str::to_owned).collect();
                return Err(self.error(Kind::UnknownFunction { name: excerpt(name), known }, tree));
            }
        }
        if let Some(target) = &call.target {
            self.check(target, depth + 1)?;
        }
        call.args.iter().try_for_each(|argument| self.check(argument, depth + 1))
    }

    fn check_comprehension(
        &mut self,
        comprehension: &ComprehensionExpr,
        tree: &Tree,
        depth: usize,
    ) -> Result<(), CompileError> {
        self.comprehensions += 1;
        let max = self.purpose.comprehensions_max();
        if self.comprehensions > max {
            return Err(self.error(Kind::TooManyComprehensions { max }, tree));
        }
        self.check(&comprehension.iter_range, depth + 1)?;
        self.check(&comprehension.accu_init, depth + 1)?;
        self.loops.push(comprehension.iter_var.clone());
        self.check(&comprehension.loop_cond, depth + 1)?;
        self.check(&comprehension.loop_step, depth + 1)?;
        self.check(&comprehension.result, depth + 1)?;
        self.loops.pop();
        Ok(())
    }
}

/// Finds the texts among the branches of `a ? 'x' : b ? 'y' : 'z'`, with their byte offsets.
fn literal_results(checker: &Checker<'_>, tree: &Tree, results: &mut Vec<(String, usize)>) {
    match &tree.expr {
        Expr::Literal(LiteralValue::String(text)) => {
            results.push((text.inner().to_owned(), checker.offset(tree)));
        }
        Expr::Call(call) if call.func_name == "_?_:_" => {
            call.args.iter().skip(1).for_each(|branch| literal_results(checker, branch, results));
        }
        _ => {}
    }
}

/// `a.b["c"].d` as a path, with the node of `a`; `None` if the tree is anything else.
fn path_of(tree: &Tree) -> Option<(Vec<String>, &Tree)> {
    let mut path = Vec::new();
    let mut node = tree;
    loop {
        match &node.expr {
            Expr::Ident(name) => {
                path.push(name.clone());
                path.reverse();
                return Some((path, node));
            }
            Expr::Select(select) => {
                path.push(select.field.clone());
                node = &select.operand;
            }
            Expr::Call(call) if call.func_name == "_[_]" => match call.args.as_slice() {
                [operand, key] => {
                    let Expr::Literal(LiteralValue::String(key)) = &key.expr else { return None };
                    path.push(key.inner().to_owned());
                    node = operand;
                }
                _ => return None,
            },
            _ => return None,
        }
    }
}

/// Puts the counting functions around everything whose cost depends on the variables: what a comprehension walks,
/// and, within its body, what it reads from outside and what it adds up.
fn budget(tree: &mut Tree, in_body: bool) {
    if in_body && path_of(tree).is_some_and(|(path, _)| !path[0].starts_with('@')) {
        return wrap(tree, CHARGE);
    }
    match &mut tree.expr {
        Expr::Select(select) => budget(&mut select.operand, in_body),
        Expr::Call(call) => {
            let accumulates = call
                .args
                .first()
                .is_some_and(|first| matches!(&first.expr, Expr::Ident(name) if name.starts_with('@')));
            let adds = call.func_name == "_+_" && !accumulates || call.func_name == JOIN;
            call.target.iter_mut().for_each(|target| budget(target, in_body));
            call.args.iter_mut().for_each(|argument| budget(argument, in_body));
            if adds && in_body {
                wrap(tree, CHARGE);
            }
        }
        Expr::Comprehension(comprehension) => {
            budget(&mut comprehension.iter_range, in_body);
            wrap(&mut comprehension.iter_range, RANGE);
            // `sortBy` keeps its list and its keys in these.
            budget(&mut comprehension.accu_init, in_body);
            budget(&mut comprehension.result, in_body);
            budget(&mut comprehension.loop_cond, true);
            budget(&mut comprehension.loop_step, true);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(|item| budget(item, in_body)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    budget(&mut entry.key, in_body);
                    budget(&mut entry.value, in_body);
                }
            }
        }
        Expr::Struct(_) | Expr::Literal(_) | Expr::Ident(_) | Expr::Unspecified => {}
    }
}

fn wrap(tree: &mut Tree, function: &str) {
    let inner = std::mem::take(tree);
    let call = CallExpr { func_name: function.to_owned(), target: None, args: vec![inner] };
    *tree = Tree { id: 0, expr: Expr::Call(call) };
}
