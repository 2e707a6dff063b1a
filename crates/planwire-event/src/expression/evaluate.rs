//! JSON in, JSON out, within the budget.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use cel::objects::{Key, Map as CelMap};
use cel::{Context, ExecutionError, Value as Cel};
use serde_json::Value;

use super::error::{EvaluateError, excerpt, of_execution};
use super::{COMPREHENSION_ITEMS_MAX, ENV, Inner, RESULT_BYTES_MAX, Reference, Variables, WORK_MAX};

/// Counts a value that the body of a comprehension touches.
pub(super) const CHARGE: &str = "@charge";
/// Counts what a comprehension walks; gives the keys of a map in order.
pub(super) const RANGE: &str = "@range";
/// Bytes of a text that count as one value more.
const TEXT_BYTES_PER_WORK: usize = 64;

pub(super) fn evaluate(inner: &Inner, variables: &Variables<'_>) -> Result<Value, EvaluateError> {
    let mut context = Context::with_env(ENV.clone());
    for (name, needs) in &inner.needs.members {
        let Some(value) = variables.get(name) else {
            return Err(EvaluateError::NoVariable {
                source_text: excerpt(&inner.source),
                name: name.clone(),
            });
        };
        context.add_variable_from_value(name.as_str(), needs.convert(value));
    }
    let budget = Arc::new(Budget::default());
    if inner.budgeted {
        budget.install(&mut context);
    }
    // The interpreter has places where it panics; none is known to be reachable from here.
    let value = catch_unwind(AssertUnwindSafe(|| Cel::resolve(&inner.tree, &context)));
    let failed = |message: &str| EvaluateError::Failed {
        source_text: excerpt(&inner.source),
        message: message.to_owned(),
    };
    let value = value.map_err(|_| failed("it cannot be evaluated"))?;
    if let Some(error) = budget.error(&inner.source) {
        return Err(error);
    }
    let value = value.map_err(|error| of_execution(&inner.source, &error))?;
    let mut left = RESULT_BYTES_MAX;
    to_json(&value, &mut left).map_err(|error| error.with_source(&inner.source))
}

/// Which parts of a value an expression names: all of it, or the members below it.
#[derive(Debug, Default)]
pub(super) struct Needs {
    all: bool,
    members: BTreeMap<String, Needs>,
}

impl Needs {
    pub(super) fn of(references: &[Reference]) -> Self {
        let mut root = Self::default();
        for reference in references {
            let mut node = &mut root;
            for (at, name) in reference.path.iter().enumerate() {
                let name = if at == 0 { name.trim_start_matches('.') } else { name };
                node = node.members.entry(name.to_owned()).or_default();
            }
            node.all = true;
        }
        root
    }

    fn convert(&self, value: &Value) -> Cel {
        match value {
            Value::Object(members) if !self.all => {
                let needed = self.members.iter().filter_map(|(name, needs)| {
                    let member = members.get(name)?;
                    Some((Key::String(Arc::new(name.clone())), needs.convert(member)))
                });
                Cel::Map(CelMap { map: Arc::new(needed.collect::<HashMap<_, _>>()) })
            }
            other => of_json(other),
        }
    }
}

fn of_json(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => {
            if let Some(value) = number.as_i64() {
                Cel::Int(value)
            } else if let Some(value) = number.as_u64() {
                Cel::UInt(value)
            } else {
                Cel::Float(number.as_f64().unwrap_or(f64::NAN))
            }
        }
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(of_json).collect())),
        Value::Object(members) => {
            let members =
                members.iter().map(|(key, value)| (Key::String(Arc::new(key.clone())), of_json(value)));
            Cel::Map(CelMap { map: Arc::new(members.collect::<HashMap<_, _>>()) })
        }
    }
}

enum ResultError {
    TooLarge,
    NotJson(String),
}

impl ResultError {
    fn with_source(self, source: &str) -> EvaluateError {
        let source_text = excerpt(source);
        match self {
            Self::TooLarge => EvaluateError::ResultTooLarge { source_text },
            Self::NotJson(what) => EvaluateError::NotJson { source_text, what },
        }
    }
}

fn to_json(value: &Cel, left: &mut usize) -> Result<Value, ResultError> {
    // Quotes, commas and digits are counted roughly; texts and keys in full.
    let bytes = match value {
        Cel::String(text) => text.len() + 2,
        _ => 2,
    };
    *left = left.checked_sub(bytes).ok_or(ResultError::TooLarge)?;
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(value) => (*value).into(),
        Cel::Int(value) => (*value).into(),
        Cel::UInt(value) => (*value).into(),
        Cel::Float(value) if value.is_finite() => (*value).into(),
        Cel::Float(value) => return Err(ResultError::NotJson(format!("the number {value}"))),
        Cel::String(text) => Value::String(text.to_string()),
        Cel::List(items) => {
            Value::Array(items.iter().map(|item| to_json(item, left)).collect::<Result<_, _>>()?)
        }
        Cel::Map(members) => {
            let mut object = serde_json::Map::new();
            // Keys of several types may have one text, and of several errors one is told: the order decides.
            let mut members: Vec<_> = members.map.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            for (key, member) in members {
                let key = key.to_string();
                *left = left.checked_sub(key.len() + 2).ok_or(ResultError::TooLarge)?;
                object.insert(key, to_json(member, left)?);
            }
            Value::Object(object)
        }
        other => return Err(ResultError::NotJson(format!("a value of type {}", other.type_of()))),
    })
}

/// What the comprehensions of one evaluation have touched so far.
#[derive(Default)]
struct Budget {
    used: AtomicU64,
    exceeded: AtomicU8,
    items: AtomicUsize,
}

const EXCEEDED_WORK: u8 = 1;
const EXCEEDED_ITEMS: u8 = 2;

impl Budget {
    fn install(self: &Arc<Self>, context: &mut Context<'_, '_>) {
        let (range, charge) = (self.clone(), self.clone());
        let added = context.add_function(RANGE, move |value: Cel| range.range(value));
        added.expect("no overload begins with @range");
        let added = context.add_function(CHARGE, move |value: Cel| charge.charge(value));
        added.expect("no overload begins with @charge");
    }

    fn charge(&self, value: Cel) -> Result<Cel, ExecutionError> {
        let left = WORK_MAX.saturating_sub(self.used.load(Ordering::Relaxed));
        let work = work_of(&value, left);
        self.used.fetch_add(work, Ordering::Relaxed);
        if work > left { Err(self.exceed(EXCEEDED_WORK)) } else { Ok(value) }
    }

    fn range(&self, value: Cel) -> Result<Cel, ExecutionError> {
        let len = match &value {
            Cel::List(items) => items.len(),
            Cel::Map(members) => members.map.len(),
            _ => 0,
        };
        if len > COMPREHENSION_ITEMS_MAX {
            self.items.store(len, Ordering::Relaxed);
            return Err(self.exceed(EXCEEDED_ITEMS));
        }
        let Cel::Map(members) = value else { return self.charge(value) };
        // A hash map has no order of its own; equal variables must give equal values.
        let mut keys: Vec<Key> = members.map.keys().cloned().collect();
        keys.sort();
        let keys = keys.into_iter().map(|key| match key {
            Key::Int(key) => Cel::Int(key),
            Key::Uint(key) => Cel::UInt(key),
            Key::Bool(key) => Cel::Bool(key),
            Key::String(key) => Cel::String(key),
        });
        self.charge(Cel::List(Arc::new(keys.collect())))
    }

    fn exceed(&self, what: u8) -> ExecutionError {
        self.exceeded.store(what, Ordering::Relaxed);
        ExecutionError::function_error(CHARGE, "limit exceeded")
    }

    /// The limit that was exceeded, also when `||` or `&&` has absorbed the error.
    fn error(&self, source: &str) -> Option<EvaluateError> {
        let source_text = excerpt(source);
        match self.exceeded.load(Ordering::Relaxed) {
            EXCEEDED_WORK => Some(EvaluateError::TooMuchWork { source_text }),
            EXCEEDED_ITEMS => {
                Some(EvaluateError::TooManyItems { source_text, len: self.items.load(Ordering::Relaxed) })
            }
            _ => None,
        }
    }
}

/// Counts the values in `value`, but not much further than `left`.
fn work_of(value: &Cel, left: u64) -> u64 {
    let text = |len: usize| u64::try_from(len / TEXT_BYTES_PER_WORK).unwrap_or(u64::MAX);
    let mut work = 1_u64;
    match value {
        Cel::String(value) => work += text(value.len()),
        Cel::Bytes(value) => work += text(value.len()),
        Cel::List(items) => {
            for item in items.iter() {
                if work > left {
                    break;
                }
                work += work_of(item, left - work);
            }
        }
        Cel::Map(members) => {
            for member in members.map.values() {
                if work > left {
                    break;
                }
                work += work_of(member, left - work);
            }
        }
        _ => {}
    }
    work
}
