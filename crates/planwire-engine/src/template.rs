//! Values with `${..}` in them: the arguments, inputs, outputs and texts of a plan document.
//!
//! A text that is exactly one `${expression}` gives the expression's value with its type; any other text has each
//! `${..}` replaced, texts as they are and everything else as JSON. `$${` stands for `${` itself. In the place of a
//! secret stands a marker; [`Template::slots`] says where the value belongs.

use planwire_event::expression::{EvaluateError, Expression, Variables};
use serde_json::{Map, Value, json};

use crate::output::size;
use crate::secrets::marker;
use crate::secrets::slots::{Key, Slot, SlotPiece, Slots};

/// The one member of what stands for an argument that is a secret as a whole: `{"$secret": "NAME"}`.
pub const SECRET_MEMBER: &str = "$secret";

/// Bytes of one text that a template makes.
pub const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of JSON that the values of all expressions of one template add up to.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

const _: () = assert!(TEXT_BYTES_MAX < VALUE_BYTES_MAX, "a text may be as long as it may");

/// A value with `${..}` in it, compiled.
#[derive(Clone, Debug)]
pub enum Template {
    /// A value without any expression.
    Literal(Value),
    /// One expression; its value keeps its type.
    Expression(Box<Expression>),
    /// The secret of this name.
    Secret(String),
    /// A text with expressions in it.
    Text(Vec<Part>),
    /// A list of templates.
    List(Vec<Template>),
    /// An object of templates, in the document's order.
    Object(Vec<(String, Template)>),
}

/// A piece of a text.
#[derive(Clone, Debug)]
pub enum Part {
    /// As it is.
    Literal(String),
    /// Replaced by its value.
    Expression(Box<Expression>),
    /// The secret of this name.
    Secret(String),
}

/// Why a template has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// One of its expressions has none.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The text grew too long.
    #[error("text exceeds the limit of {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// Its values grew too large together.
    #[error("values exceed the limit of {VALUE_BYTES_MAX} bytes together")]
    TooLarge,
}

impl Template {
    /// The value, with every expression evaluated.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] of the first expression that fails, or if a text becomes too long.
    pub fn evaluate(&self, variables: &Variables<'_>) -> Result<Value, TemplateError> {
        self.evaluate_within(variables, &mut VALUE_BYTES_MAX.clone())
    }

    fn evaluate_within(&self, variables: &Variables<'_>, left: &mut usize) -> Result<Value, TemplateError> {
        let value = match self {
            Self::Literal(value) => return Ok(value.clone()),
            Self::Secret(name) => return Ok(json!({SECRET_MEMBER: name})),
            Self::Expression(expression) => expression.evaluate(variables)?,
            Self::Text(parts) => text_of(parts, variables).map(Value::String)?,
            Self::List(items) => {
                let items = items.iter().map(|item| item.evaluate_within(variables, left));
                return items.collect::<Result<_, _>>().map(Value::Array);
            }
            Self::Object(members) => {
                let mut object = Map::new();
                for (key, member) in members {
                    object.insert(key.clone(), member.evaluate_within(variables, left)?);
                }
                return Ok(Value::Object(object));
            }
        };
        // A document may name one large value thousands of times.
        *left = left.checked_sub(size(&value)).ok_or(TemplateError::TooLarge)?;
        Ok(value)
    }

    /// Where secrets belong in the value.
    ///
    /// # Errors
    ///
    /// As for [`Template::evaluate`].
    pub(crate) fn slots(&self, variables: &Variables<'_>) -> Result<Slots, TemplateError> {
        let mut slots = Slots::default();
        self.add_slots(variables, &mut Vec::new(), &mut slots)?;
        Ok(slots)
    }

    fn add_slots(
        &self,
        variables: &Variables<'_>,
        path: &mut Vec<Key>,
        slots: &mut Slots,
    ) -> Result<(), TemplateError> {
        let pieces = match self {
            Self::Literal(_) | Self::Expression(_) => return Ok(()),
            Self::Secret(name) => vec![SlotPiece::Secret(name.clone())],
            Self::Text(parts) if parts.iter().any(|part| matches!(part, Part::Secret(_))) => {
                parts.iter().map(|part| slot_piece(part, variables)).collect::<Result<_, _>>()?
            }
            Self::Text(_) => return Ok(()),
            Self::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    path.push(Key::Item(at));
                    item.add_slots(variables, path, slots)?;
                    path.pop();
                }
                return Ok(());
            }
            Self::Object(members) => {
                for (name, member) in members {
                    path.push(Key::Member(name.clone()));
                    member.add_slots(variables, path, slots)?;
                    path.pop();
                }
                return Ok(());
            }
        };
        slots.0.push(Slot { path: path.clone(), pieces });
        Ok(())
    }

    /// Calls `see` with the name of every secret of this template.
    pub fn each_secret<'a>(&'a self, see: &mut impl FnMut(&'a str)) {
        match self {
            Self::Literal(_) | Self::Expression(_) => {}
            Self::Secret(name) => see(name),
            Self::Text(parts) => {
                for part in parts {
                    if let Part::Secret(name) = part {
                        see(name);
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.each_secret(see)),
            Self::Object(members) => members.iter().for_each(|(_, member)| member.each_secret(see)),
        }
    }

    /// Calls `see` with every expression of this template.
    pub fn each_expression<'a>(&'a self, see: &mut impl FnMut(&'a Expression)) {
        match self {
            Self::Literal(_) | Self::Secret(_) => {}
            Self::Expression(expression) => see(expression),
            Self::Text(parts) => {
                for part in parts {
                    if let Part::Expression(expression) = part {
                        see(expression);
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.each_expression(see)),
            Self::Object(members) => members.iter().for_each(|(_, member)| member.each_expression(see)),
        }
    }
}

/// A piece of a text as written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// As it is.
    Literal(String),
    /// What stands between `${` and `}`, and its byte offset in the text.
    Expression(&'a str, usize),
}

/// A `${` without its `}`, at this byte offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotClosed(pub(crate) usize);

/// Takes a text apart. Braces and quotes inside of an expression are respected.
pub(crate) fn split(text: &str) -> Result<Vec<Piece<'_>>, NotClosed> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${").map(|found| found + at) {
        if text[at..found].ends_with('$') {
            literal.push_str(&text[at..found - 1]);
            literal.push_str("${");
            at = found + 2;
            continue;
        }
        literal.push_str(&text[at..found]);
        let start = found + 2;
        let len = closing(&text[start..]).ok_or(NotClosed(found))?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Expression(&text[start..start + len], start));
        at = start + len + 1;
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Where the brace is that closes an expression.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, character) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None => match character {
                '"' | '\'' => quote = Some(character),
                '{' => depth += 1,
                '}' if depth == 0 => return Some(at),
                '}' => depth -= 1,
                _ => {}
            },
        }
    }
    None
}

fn slot_piece(part: &Part, variables: &Variables<'_>) -> Result<SlotPiece, TemplateError> {
    Ok(match part {
        Part::Secret(name) => SlotPiece::Secret(name.clone()),
        Part::Literal(_) | Part::Expression(_) => {
            SlotPiece::Text(text_of(std::slice::from_ref(part), variables)?)
        }
    })
}

fn text_of(parts: &[Part], variables: &Variables<'_>) -> Result<String, TemplateError> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Secret(name) => text.push_str(&marker(name)),
            Part::Expression(expression) => match expression.evaluate(variables)? {
                Value::String(value) => text.push_str(&value),
                value => text.push_str(&value.to_string()),
            },
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(TemplateError::TooLong);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use planwire_event::expression::Purpose;
    use serde_json::json;

    use super::*;

    fn expression(source: &str) -> Box<Expression> {
        Box::new(Expression::compile(source, &["x"], Purpose::Document).unwrap())
    }

    #[test]
    fn texts_are_taken_apart_at_their_expressions() {
        let literal = |text: &str| Piece::Literal(text.to_owned());
        assert_eq!(split("").unwrap(), []);
        assert_eq!(split("plain $ {}").unwrap(), [literal("plain $ {}")]);
        assert_eq!(split("${a}").unwrap(), [Piece::Expression("a", 2)]);
        assert_eq!(
            split("1${a}2${b}").unwrap(),
            [literal("1"), Piece::Expression("a", 3), literal("2"), Piece::Expression("b", 8)]
        );
        assert_eq!(split("$${a} ${b}").unwrap(), [literal("${a} "), Piece::Expression("b", 8)]);
        assert_eq!(
            split(r#"${{'a}': "}", 'b': '\'}'}}!"#).unwrap(),
            [Piece::Expression(r#"{'a}': "}", 'b': '\'}'}"#, 2), literal("!")]
        );
        assert_eq!(split("a ${b"), Err(NotClosed(2)));
        assert_eq!(split("${'}"), Err(NotClosed(0)));
    }

    #[test]
    fn values_keep_their_types_and_texts_take_anything() {
        let value = json!({"list": [1, "a"], "text": "é"});
        let variables = Variables::new().with("x", &value);
        let template = Template::Object(vec![
            ("all".to_owned(), Template::Expression(expression("x.list"))),
            (
                "text".to_owned(),
                Template::Text(vec![
                    Part::Literal("<".to_owned()),
                    Part::Expression(expression("x.text")),
                    Part::Expression(expression("x.list")),
                ]),
            ),
            ("list".to_owned(), Template::List(vec![Template::Literal(json!(null))])),
        ]);
        let got = template.evaluate(&variables).unwrap();
        assert_eq!(got, json!({"all": [1, "a"], "text": "<é[1,\"a\"]", "list": [null]}));
        let mut seen = Vec::new();
        template.each_expression(&mut |expression| seen.push(expression.source().to_owned()));
        assert_eq!(seen, ["x.list", "x.text", "x.list"]);
    }

    #[test]
    fn secrets_show_as_markers_and_say_where_they_belong() {
        let value = json!("you");
        let variables = Variables::new().with("x", &value);
        let text = vec![
            Part::Literal("for ".to_owned()),
            Part::Expression(expression("x")),
            Part::Secret("B".to_owned()),
        ];
        let template = Template::Object(vec![
            (
                "plain".to_owned(),
                Template::Text(vec![Part::Literal("a".to_owned()), Part::Literal("b".to_owned())]),
            ),
            ("list".to_owned(), Template::List(vec![Template::Secret("A".to_owned()), Template::Text(text)])),
        ]);
        let shown = template.evaluate(&variables).unwrap();
        assert_eq!(shown, json!({"plain": "ab", "list": [{"$secret": "A"}, "for you***B***"]}));
        let secret = |name: &str| SlotPiece::Secret(name.to_owned());
        let text = |text: &str| SlotPiece::Text(text.to_owned());
        let slot = |at, pieces| Slot { path: vec![Key::Member("list".to_owned()), Key::Item(at)], pieces };
        let slots = template.slots(&variables).unwrap();
        let wanted = [slot(0, vec![secret("A")]), slot(1, vec![text("for "), text("you"), secret("B")])];
        assert_eq!(slots.0, wanted);
        let mut names = Vec::new();
        template.each_secret(&mut |name| names.push(name));
        assert_eq!(names, ["A", "B"]);
    }

    #[test]
    fn values_that_grow_too_large_together_are_an_error() {
        let value = json!("a".repeat(1_000_000));
        let many = |count| Template::List(vec![Template::Expression(expression("x")); count]);
        assert!(many(16).evaluate(&Variables::new().with("x", &value)).is_ok());
        let error = many(17).evaluate(&Variables::new().with("x", &value)).unwrap_err();
        assert_eq!(error, TemplateError::TooLarge);
    }

    #[test]
    fn a_text_that_grows_too_long_is_an_error() {
        let value = json!("a".repeat(1_000_000));
        let part = Part::Expression(expression("x"));
        let template = Template::Text(vec![part; 9]);
        let error = template.evaluate(&Variables::new().with("x", &value)).unwrap_err();
        assert_eq!(error, TemplateError::TooLong);
    }
}
