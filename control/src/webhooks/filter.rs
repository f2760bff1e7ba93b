//! Which events of its types a webhook takes: an expression of CEL over the event's body.
//!
//! Strangers write these, and they are evaluated for every event. So only what costs no more than the length of the
//! expression times the size of the event is taken (`docs/decisions/webhook-filters.md`): the crate neither counts steps nor
//! bounds its parser's stack.

use std::{
    collections::HashMap,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use cel::{
    Context, Program, Value,
    common::ast::{Expr, IdedExpr, LiteralValue, operators},
    objects::Map,
};
use serde_json::Value as Json;

/// Characters of an expression at most.
pub(super) const FILTER_CHARS_MAX: usize = 512;
/// Brackets within brackets at most; the parser's stack grows by them.
const NESTING_MAX: usize = 8;
/// Levels of the tree that is evaluated at most; the evaluation's stack grows by them.
const DEPTH_MAX: usize = 32;
/// A level of nesting takes the parser up to 200 KiB where it was built without optimisation.
const PARSER_STACK_BYTES: usize = 64 * 1024 * 1024;
/// Expressions that are kept ready.
const CACHED_MAX: usize = 10_000;

/// The members of an event's body, which an expression names.
const NAMES: [&str; 4] = ["id", "type", "timestamp", "data"];

/// What may be called, as the parser names it. Each takes no longer than its arguments are long.
const FUNCTIONS: [&str; 24] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    // What `exists` and `all` are made of.
    operators::NOT_STRICTLY_FALSE,
    "contains",
    "double",
    "endsWith",
    "size",
    "startsWith",
];

/// What never answers yes or no.
const NO_TRUTH: [&str; 8] = [
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
    "double",
    "size",
];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterFault {
    #[error("must have 1 to {FILTER_CHARS_MAX} characters")]
    Length,
    #[error("must not have brackets more than {NESTING_MAX} deep")]
    Nesting,
    #[error("must not nest more than {DEPTH_MAX} deep")]
    Depth,
    #[error("is no expression that can be read: {0}")]
    Malformed(String),
    #[error(
        "names `{0}`: what can be named is id, type, timestamp and data, and within exists, exists_one or all the element alone"
    )]
    Name(String),
    #[error("calls `{0}`, which is not on offer")]
    Function(String),
    #[error("may use exists, exists_one and all, of a list that is named by its path; not map, filter, nor literals of objects")]
    Loop,
    #[error("must be a condition, such as data.price > 1000000")]
    NoCondition,
}

/// An expression that is ready to be asked.
#[derive(Debug)]
pub struct Filter(Program);

impl Filter {
    /// Reads one. Takes about a millisecond: on a thread of its own, whose stack is large enough for whatever fits into
    /// [`FILTER_CHARS_MAX`].
    pub fn parse(text: &str) -> Result<Self, FilterFault> {
        if text.trim().is_empty() || text.chars().count() > FILTER_CHARS_MAX {
            return Err(FilterFault::Length);
        }
        if nesting(text) > NESTING_MAX {
            return Err(FilterFault::Nesting);
        }
        let unread = |why: &str| FilterFault::Malformed(why.to_owned());
        let owned = text.to_owned();
        let parser = thread::Builder::new().name("filter".into()).stack_size(PARSER_STACK_BYTES).spawn(move || {
            let program = Program::compile(&owned).map_err(|why| FilterFault::Malformed(first_line(&why.to_string())))?;
            condition(&program.expression().expr)?;
            walk(program.expression(), Scope::Event, 0)?;
            Ok(Self(program))
        });
        // A parser that panics has refused what it was given.
        parser.map_err(|_| unread("try again"))?.join().unwrap_or_else(|_| Err(unread("it is not CEL")))
    }

    /// Whether it is true of an event. What cannot be evaluated, such as a member that is not there, is not true.
    pub(super) fn accepts(&self, event: &Event) -> bool {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.0.execute(&event.0)));
        matches!(outcome, Ok(Ok(Value::Bool(true))))
    }
}

/// An event's body, to be asked about.
pub(super) struct Event(Context<'static, 'static>);

impl Event {
    /// `None` where the body is no JSON object.
    pub(super) fn read(body: &str) -> Option<Self> {
        let Ok(Json::Object(members)) = serde_json::from_str(body) else { return None };
        let mut context = Context::default();
        for (name, value) in members {
            if NAMES.contains(&name.as_str()) {
                context.add_variable_from_value(name, converted(value));
            }
        }
        Some(Self(context))
    }
}

/// Expressions by their text: many events meet the same few. Cheap to clone; clones share what they hold.
#[derive(Debug, Clone, Default)]
pub struct Filters(Arc<Mutex<HashMap<String, Option<Arc<Filter>>>>>);

impl Filters {
    /// `None` for one that cannot be read, which takes nothing.
    pub(super) fn ready(&self, text: &str) -> Option<Arc<Filter>> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(text) {
            return known.clone();
        }
        let read = Filter::parse(text).map(Arc::new).inspect_err(|why| {
            tracing::error!(error.cause = %why, "a stored filter cannot be read: its webhook is told of nothing");
        });
        let read = read.ok();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CACHED_MAX {
            known.clear();
        }
        known.insert(text.to_owned(), read.clone());
        read
    }
}

/// Brackets count in texts too: who needs nine of them there is refused for nothing, but nobody gets past.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for b in text.bytes() {
        match b {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn first_line(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default();
    line.strip_prefix("ERROR: <input>:").unwrap_or(line).chars().take(200).collect()
}

/// Whether it can answer yes or no at all.
fn condition(expr: &Expr) -> Result<(), FilterFault> {
    let never = match expr {
        Expr::Call(call) => NO_TRUTH.contains(&call.func_name.as_str()),
        Expr::Literal(literal) => !matches!(literal, LiteralValue::Boolean(_)),
        Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => true,
        Expr::Comprehension(_) | Expr::Ident(_) | Expr::Select(_) => false,
    };
    if never { Err(FilterFault::NoCondition) } else { Ok(()) }
}

/// What can be named. Within a loop its element alone: so a loop in a loop goes through parts of that element, and all of
/// them together through the event once.
#[derive(Debug, Clone, Copy)]
enum Scope<'e> {
    Event,
    Loop { element: &'e str, result: &'e str },
}

impl Scope<'_> {
    fn knows(self, name: &str) -> bool {
        match self {
            Scope::Event => NAMES.contains(&name),
            Scope::Loop { element, result } => name == element || name == result,
        }
    }
}

fn walk(expr: &IdedExpr, scope: Scope<'_>, depth: usize) -> Result<(), FilterFault> {
    if depth > DEPTH_MAX {
        return Err(FilterFault::Depth);
    }
    let inner = |expr: &IdedExpr| walk(expr, scope, depth + 1);
    match &expr.expr {
        Expr::Literal(_) => Ok(()),
        Expr::Ident(name) if scope.knows(name) => Ok(()),
        Expr::Ident(name) => Err(FilterFault::Name(name.clone())),
        Expr::Select(select) => inner(&select.operand),
        Expr::List(list) => list.elements.iter().try_for_each(inner),
        Expr::Call(call) if !FUNCTIONS.contains(&call.func_name.as_str()) => Err(FilterFault::Function(call.func_name.clone())),
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).try_for_each(inner),
        Expr::Comprehension(each) => {
            // `map` and `filter` begin with an empty list: they make values, which could be made to grow without bound.
            let counts = matches!(&each.accu_init.expr, Expr::Literal(_));
            if !counts || each.iter_var2.is_some() || !is_path(&each.iter_range.expr) {
                return Err(FilterFault::Loop);
            }
            inner(&each.iter_range)?;
            let within = Scope::Loop { element: &each.iter_var, result: &each.accu_var };
            [&each.loop_cond, &each.loop_step, &each.result].into_iter().try_for_each(|part| walk(part, within, depth + 1))
        }
        Expr::Map(_) | Expr::Struct(_) => Err(FilterFault::Loop),
        Expr::Unspecified => Err(FilterFault::Malformed("a part is missing".into())),
    }
}

/// A part of what is named, and nothing that was made of it.
fn is_path(expr: &Expr) -> bool {
    match expr {
        Expr::Ident(_) => true,
        Expr::Select(select) => !select.test && is_path(&select.operand.expr),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [of, at] => is_path(&of.expr) && matches!(at.expr, Expr::Literal(_)),
            _ => false,
        },
        _ => false,
    }
}

fn converted(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => Value::Int(n),
            (None, Some(n)) => Value::UInt(n),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text)),
        Json::Array(values) => Value::List(Arc::new(values.into_iter().map(converted).collect())),
        Json::Object(members) => {
            let members: HashMap<_, _> = members.into_iter().map(|(name, value)| (name.into(), converted(value))).collect();
            Value::Map(Map { map: Arc::new(members) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"id":"evt_1","type":"product.updated","timestamp":"2026-11-21T10:00:00.000Z","data":{
        "title":"Blue mug","price":12500000,"weight":0.5,"old":null,"active":true,"tags":["blue","sale"],
        "items":[{"sku":"a","n":1},{"sku":"b","n":3,"parts":[{"of":"x"}]}],"large":18446744073709551615}}"#;

    fn accepts(text: &str) -> bool {
        Filter::parse(text).unwrap_or_else(|why| panic!("{text}: {why}")).accepts(&Event::read(EVENT).unwrap())
    }

    #[test]
    fn a_filter_asks_the_event() {
        for text in [
            "data.price > 1000000",
            "data.price == 12500000 && data.weight < 1.0",
            "type == 'product.updated'",
            "id == \"evt_1\" && timestamp.startsWith('2026-')",
            "data.title.contains('mug') || false",
            "'sale' in data.tags && !('red' in data.tags)",
            "size(data.tags) == 2 && data.tags.size() == 2",
            "data.items[1].sku == 'b'",
            "data[\"title\"].endsWith('mug')",
            "data.items.exists(i, i.sku == 'b' && i.n > 2)",
            "data.items.all(i, i.n >= 1)",
            "data.items.exists_one(i, i.sku == 'a')",
            "data.items.exists(i, has(i.parts) && i.parts.exists(p, p.of == 'x'))",
            "has(data.price) && !has(data.cost)",
            "data.old == null && data.active",
            "data.active ? data.price > 1 : false",
            "(data.price - 500000) / 1000000 == 12",
            "data.large > 5u",
            "data.price > 5.5",
        ] {
            assert!(accepts(text), "{text}");
        }
        for text in [
            "data.price > 12500000",
            "data.cost > 5",
            "data.title > 5",
            "data.title",
            "data.items[7].sku == 'a'",
            "data.items.exists(i, i.sku == 'c')",
            "data.price / 0 == 1",
            "9223372036854775807 + 1 > 0",
            "data.title.exists(c, true)",
            "false",
        ] {
            assert!(!accepts(text), "{text}");
        }
    }

    #[test]
    fn what_could_cost_more_than_its_length_times_the_event_is_refused() {
        use FilterFault as F;
        for (text, fault) in [
            ("", F::Length),
            ("  ", F::Length),
            ("data.a.map(x, x + x).map(x, x + x) == []", F::Loop),
            ("data.a.filter(x, x > 1) == []", F::Loop),
            ("[data, data].exists(x, x.a == 1)", F::Loop),
            ("(data.a + data.a).exists(x, x == 1)", F::Loop),
            ("{'a': data}.a == data", F::Loop),
            ("data.a.exists(x, data.a.exists(y, x == y))", F::Name("data".into())),
            ("data.a.exists(x, x.b.exists(y, x == y))", F::Name("x".into())),
            ("secrets.a == 1", F::Name("secrets".into())),
            ("data.a.matches('(a+)+$')", F::Function("matches".into())),
            ("string(data.a) == 'a'", F::Function("string".into())),
            ("type(data) == map", F::Function("type".into())),
            ("data.a + 1", F::NoCondition),
            ("'text'", F::NoCondition),
            ("[data.a]", F::NoCondition),
        ] {
            assert_eq!(Filter::parse(text).unwrap_err(), fault, "{text}");
        }
        assert_eq!(Filter::parse(&"a".repeat(FILTER_CHARS_MAX + 1)).unwrap_err(), F::Length);
    }

    #[test]
    fn no_text_overflows_a_stack_or_panics() {
        for (open, close) in [("(", ")"), ("[", "]"), ("{", "}"), ("data.a.exists(x, ", ")"), ("f(", ")")] {
            let deep = format!("{}data{}", open.repeat(NESTING_MAX + 1), close.repeat(NESTING_MAX + 1));
            assert_eq!(Filter::parse(&deep).unwrap_err(), FilterFault::Nesting);
            let within = format!("{}data{}", open.repeat(NESTING_MAX), close.repeat(NESTING_MAX));
            let _ = Filter::parse(&within);
            let _ = Filter::parse(&open.repeat(NESTING_MAX));
        }
        for part in
            ["!", "-", "a.", "a?", "true ? false : ", "true || ", "1 + ", "a[0].", "\"", "'", "?[", "\0", "//", "\\", "b''", "."]
        {
            let many = FILTER_CHARS_MAX / part.chars().count();
            let _ = Filter::parse(&part.repeat(many));
            let _ = Filter::parse(&format!("{}true", part.repeat(many.saturating_sub(4).max(1))));
        }
        assert_eq!(Filter::parse(&format!("data{}", ".a".repeat(100))).unwrap_err(), FilterFault::Depth);
    }

    #[test]
    fn an_event_that_is_nested_as_deep_as_json_may_be_is_read() {
        let deep = format!(r#"{{"data":{}1{}}}"#, "[".repeat(120), "]".repeat(120));
        let filter = Filter::parse("size(data) == 1").unwrap();
        assert!(filter.accepts(&Event::read(&deep).unwrap()));
        assert!(Event::read("[]").is_none() && Event::read("{").is_none());
    }

    #[test]
    fn a_stored_filter_is_read_once_and_one_that_cannot_be_read_takes_nothing() {
        let filters = Filters::default();
        let (first, second) = (filters.ready("data.a == 1").unwrap(), filters.clone().ready("data.a == 1").unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        assert!(filters.ready("data.a ==").is_none() && filters.ready("data.a ==").is_none());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_is_read_or_refused(text in "[a-z0-9.()\\[\\]{}!?:|&<>=+*/%'\" -]{0,60}") {
            let _ = Filter::parse(&text).map(|filter| filter.accepts(&Event::read(EVENT).unwrap()));
        }
    }
}
