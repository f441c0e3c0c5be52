//! The parts of CEL outside our evaluator, left to crate `cel`'s interpreter.
//!
//! The fields that the expression names are converted for each item; when it uses `item` as a whole, all are.
//! The tree is changed in two places first, so that both engines mean the same: arithmetic goes through
//! functions that mix integers and doubles and refuse to divide by zero, and a macro over an object sees its
//! keys sorted (the interpreter's own order changes from run to run).

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use aqueduct_core::json::{Kind, RawJson};
use aqueduct_core::{Record, RecordBuilder};
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt, DYN_TYPE,
    STRING_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::{Context, Env, ExecutionError};

use super::compile::ITEM;
use super::cvss::cvss_base_score;
use super::evaluate::members;
use super::fault::{missing_top_level, shortened};
use super::html::html_text;
use super::value::Value;
use crate::error::EvaluationError;

/// Our operators beside the one of CEL that each replaces. No source can spell these names.
const MIXED: [(&str, &str); 4] = [
    (operators::ADD, "@add"),
    (operators::SUBSTRACT, "@subtract"),
    (operators::MULTIPLY, "@multiply"),
    (operators::DIVIDE, "@divide"),
];

/// Gives an object's keys in order, and anything else as it is.
const ORDERED: &str = "@ordered";

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::default().with_optional_support(false).with_stdlib();
    let declared = [
        environment.add_overload("@add", "mixed_add", vec![DYN_TYPE, DYN_TYPE], add),
        environment.add_overload("@subtract", "mixed_subtract", vec![DYN_TYPE, DYN_TYPE], subtract),
        environment.add_overload("@multiply", "mixed_multiply", vec![DYN_TYPE, DYN_TYPE], multiply),
        environment.add_overload("@divide", "mixed_divide", vec![DYN_TYPE, DYN_TYPE], divide),
        environment.add_overload(ORDERED, "ordered_keys", vec![DYN_TYPE], ordered),
        environment.add_overload("cvss", "cvss_string", vec![STRING_TYPE], cvss),
        environment.add_overload("html_text", "html_text_string", vec![STRING_TYPE], page_text),
    ];
    debug_assert!(declared.iter().all(Result::is_ok), "each name is declared once");
    Arc::new(environment)
});

/// An expression ready for the interpreter.
#[derive(Debug)]
pub(super) struct Interpreter {
    tree: IdedExpr,
    needs: Needs,
}

/// Which fields the interpreter must see.
#[derive(Debug)]
enum Needs {
    All,
    These(BTreeSet<String>),
}

impl Interpreter {
    pub(super) fn new(mut tree: IdedExpr) -> Self {
        let mut names = BTreeSet::new();
        let needs = if whole_item(&tree, &mut names) { Needs::All } else { Needs::These(names) };
        rewrite(&mut tree);
        Self { tree, needs }
    }

    pub(super) fn evaluate(&self, record: &Record) -> Result<Value<'static>, EvaluationError> {
        let mut fields: HashMap<CelMapKey<'_>, Box<dyn Val + '_>> = HashMap::new();
        match &self.needs {
            Needs::All => {
                let object = RawJson::parse(record.as_text())
                    .map_err(|error| EvaluationError::Interpreter { message: error.to_string() })?;
                fields
                    .extend(members(object).into_iter().map(|(key, value)| (map_key(key), value_of(value))));
            }
            Needs::These(names) => {
                for name in names {
                    if let Some(value) = record.get(name) {
                        fields.insert(CelMapKey::from(name.as_str()), value_of(value));
                    }
                }
            }
        }
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_variable_as_val(ITEM, Box::new(CelMap::from(fields)));
        let result =
            cel::Value::resolve_val(&self.tree, &context).map_err(|error| self.explain(error, record))?;
        read(result.as_ref())
    }

    fn explain(&self, error: ExecutionError, record: &Record) -> EvaluationError {
        let named = |name: &str| match &self.needs {
            Needs::All => false,
            Needs::These(names) => names.contains(name),
        };
        match error {
            ExecutionError::NoSuchKey(key) if named(&key) && record.get(&key).is_none() => {
                missing_top_level(&key, record)
            }
            ExecutionError::NoSuchKey(key) => {
                EvaluationError::Interpreter { message: format!("no field {:?}", shortened(&key)) }
            }
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                EvaluationError::Interpreter { message: "a division by zero".to_owned() }
            }
            other => EvaluationError::Interpreter { message: shortened(&other.to_string()).into_owned() },
        }
    }
}

// From JSON to the interpreter's values

fn map_key(key: Cow<'_, str>) -> CelMapKey<'_> {
    match key {
        Cow::Borrowed(key) => CelMapKey::from(key),
        Cow::Owned(key) => CelMapKey::from(key),
    }
}

/// As deep as the value, which the record bounds.
fn value_of(json: RawJson<'_>) -> Box<dyn Val + '_> {
    match Value::read(json) {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(value)),
        Value::Int(value) => Box::new(CelInt::from(value)),
        Value::Double(value) => Box::new(CelDouble::from(value)),
        Value::Text(value) => Box::new(CelString::from(value)),
        Value::Json(list) if list.kind() == Kind::Array => {
            let elements: Vec<Box<dyn Val + '_>> =
                list.entries().map(|(_, element)| value_of(element)).collect();
            Box::new(CelList::from(elements))
        }
        Value::Json(_) | Value::Built(_) => {
            let fields: HashMap<CelMapKey<'_>, Box<dyn Val + '_>> =
                members(json).into_iter().map(|(key, value)| (map_key(key), value_of(value))).collect();
            Box::new(CelMap::from(fields))
        }
    }
}

// And back

fn read(value: &dyn Val) -> Result<Value<'static>, EvaluationError> {
    if value.downcast_ref::<CelList<'_>>().is_some() || value.downcast_ref::<CelMap<'_>>().is_some() {
        let mut text = String::new();
        write_json(value, &mut text)?;
        return Ok(Value::Built(text));
    }
    scalar(value)
}

fn scalar(value: &dyn Val) -> Result<Value<'static>, EvaluationError> {
    if let Some(value) = value.downcast_ref::<CelString<'_>>() {
        return Ok(Value::Text(Cow::Owned(value.inner().to_owned())));
    }
    if let Some(value) = value.downcast_ref::<CelBool>() {
        return Ok(Value::Bool(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelInt>() {
        return Ok(Value::Int(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelDouble>() {
        return Ok(Value::Double(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelUInt>() {
        #[expect(
            clippy::cast_precision_loss,
            reason = "integers beyond 64 bits with sign are doubles everywhere"
        )]
        return Ok(i64::try_from(*value.inner()).map_or(Value::Double(*value.inner() as f64), Value::Int));
    }
    if value.downcast_ref::<CelNull>().is_some() {
        return Ok(Value::Null);
    }
    Err(EvaluationError::Interpreter {
        message: format!("the result has type {}, which JSON does not have", value.get_type().name()),
    })
}

/// Appends a value as JSON. As deep as the value, which the record and the expression bound.
fn write_json(value: &dyn Val, text: &mut String) -> Result<(), EvaluationError> {
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        text.push('[');
        for (index, element) in list.inner().iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            write_json(element.as_ref(), text)?;
        }
        text.push(']');
        return Ok(());
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        let mut entries = Vec::with_capacity(map.inner().len());
        for (key, value) in map.inner() {
            entries.push((key_text(key), value));
        }
        entries.sort_by(|left, right| left.0.cmp(&right.0));
        text.push('{');
        for (index, (key, value)) in entries.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            push_scalar(&Value::Text(Cow::Borrowed(key)), text)?;
            text.push(':');
            write_json(value.as_ref(), text)?;
        }
        text.push('}');
        return Ok(());
    }
    push_scalar(&scalar(value)?, text)
}

fn key_text(key: &CelMapKey<'_>) -> String {
    match key {
        CelMapKey::Bool(key) => key.inner().to_string(),
        CelMapKey::Int(key) => key.inner().to_string(),
        CelMapKey::UInt(key) => key.inner().to_string(),
        CelMapKey::String(key) => key.inner().to_owned(),
    }
}

/// The record's writer knows how JSON escapes; it is asked through a record of one field.
fn push_scalar(value: &Value<'_>, text: &mut String) -> Result<(), EvaluationError> {
    let mut builder = RecordBuilder::default();
    match value {
        Value::Null => builder.null(""),
        Value::Bool(value) => builder.boolean("", *value),
        Value::Int(value) => builder.integer("", *value),
        Value::Double(value) if !value.is_finite() => {
            return Err(EvaluationError::NotFinite { value: *value });
        }
        Value::Double(value) => builder.float("", *value),
        Value::Text(value) => builder.text("", value),
        Value::Json(json) => builder.raw("", *json),
        Value::Built(json) => {
            text.push_str(json);
            return Ok(());
        }
    }
    if let Some((_, json)) = builder.finish().fields().next() {
        text.push_str(json.as_text());
    }
    Ok(())
}

// The tree before it runs

/// Collects the top-level fields that the tree names; true when it uses `item` in any other way.
fn whole_item(tree: &IdedExpr, names: &mut BTreeSet<String>) -> bool {
    let is_item = |expression: &IdedExpr| matches!(&expression.expr, Expr::Ident(name) if name == ITEM);
    match &tree.expr {
        Expr::Select(select) if is_item(&select.operand) => {
            names.insert(select.field.clone());
            false
        }
        Expr::Select(select) => whole_item(&select.operand, names),
        Expr::Call(call) => {
            if call.func_name == operators::INDEX
                && let [value, index] = call.args.as_slice()
                && is_item(value)
                && let Expr::Literal(LiteralValue::String(key)) = &index.expr
            {
                names.insert(key.inner().to_owned());
                return false;
            }
            let mut whole = call.target.as_deref().is_some_and(|target| whole_item(target, names));
            for argument in &call.args {
                whole |= whole_item(argument, names);
            }
            whole
        }
        Expr::List(list) => {
            list.elements.iter().fold(false, |whole, element| whole_item(element, names) | whole)
        }
        Expr::Map(map) => map.entries.iter().fold(false, |whole, entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                whole_item(&entry.key, names) | whole_item(&entry.value, names) | whole
            }
            EntryExpr::StructField(_) => whole,
        }),
        Expr::Comprehension(comprehension) => [
            &comprehension.iter_range,
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ]
        .into_iter()
        .fold(false, |whole, part| whole_item(part, names) | whole),
        Expr::Ident(name) => name == ITEM,
        Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => false,
    }
}

/// Puts our operators in the place of CEL's, and orders what macros walk over.
fn rewrite(tree: &mut IdedExpr) {
    match &mut tree.expr {
        Expr::Call(call) => {
            call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(rewrite);
            // A macro that appends to its result is left alone: the interpreter knows that form and is fast at it.
            let appends = matches!(call.args.first().map(|left| &left.expr), Some(Expr::Ident(name)) if name.starts_with('@'));
            if !appends
                && call.args.len() == 2
                && let Some((_, ours)) = MIXED.iter().find(|(theirs, _)| *theirs == call.func_name)
            {
                call.func_name = (*ours).to_owned();
            }
        }
        Expr::Select(select) => rewrite(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().for_each(rewrite),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    rewrite(&mut entry.key);
                    rewrite(&mut entry.value);
                }
            }
        }
        Expr::Comprehension(comprehension) => {
            for part in [
                &mut comprehension.iter_range,
                &mut comprehension.accu_init,
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ] {
                rewrite(part);
            }
            let range = std::mem::take(&mut comprehension.iter_range);
            comprehension.iter_range = IdedExpr {
                id: range.id,
                expr: Expr::Call(CallExpr { func_name: ORDERED.to_owned(), target: None, args: vec![range] }),
            };
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

// Our functions, as the interpreter calls them

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Computed<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// The two arguments, an integer beside a double made a double.
#[expect(clippy::cast_precision_loss, reason = "the nearest double is what mixing numbers means")]
fn mixed<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<(CowVal<'b, 'v>, CowVal<'b, 'v>), ExecutionError> {
    let mut arguments = arguments.into_iter();
    let (Some(left), Some(right)) = (arguments.next(), arguments.next()) else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let integer = |value: &CowVal<'_, '_>| value.downcast_ref::<CelInt>().map(|value| *value.inner() as f64);
    let is_double = |value: &CowVal<'_, '_>| value.downcast_ref::<CelDouble>().is_some();
    Ok(match (integer(&left), integer(&right)) {
        (Some(value), None) if is_double(&right) => (CowVal::owned(CelDouble::from(value)), right),
        (None, Some(value)) if is_double(&left) => (left, CowVal::owned(CelDouble::from(value))),
        _ => (left, right),
    })
}

fn refused(operator: &str, left: &CowVal<'_, '_>, right: &CowVal<'_, '_>) -> ExecutionError {
    let names = [left, right].map(|value| value.get_type().name().to_owned());
    ExecutionError::no_such_overload(operator, names.to_vec())
}

fn add<'b, 'v>(arguments: Arguments<'b, 'v>) -> Computed<'b, 'v> {
    let (left, right) = mixed(arguments)?;
    // The interpreter would append an object's keys to a list, in an order of its own.
    if left.downcast_ref::<CelList<'_>>().is_some() && right.downcast_ref::<CelList<'_>>().is_none() {
        return Err(refused("+", &left, &right));
    }
    let adder = left.as_adder().ok_or_else(|| refused("+", &left, &right))?;
    adder.add(right.as_ref()).map(|sum| CowVal::Owned(sum.into_owned()))
}

fn subtract<'b, 'v>(arguments: Arguments<'b, 'v>) -> Computed<'b, 'v> {
    let (left, right) = mixed(arguments)?;
    let subtractor = left.as_subtractor().ok_or_else(|| refused("-", &left, &right))?;
    subtractor.sub(right.as_ref()).map(|difference| CowVal::Owned(difference.into_owned()))
}

fn multiply<'b, 'v>(arguments: Arguments<'b, 'v>) -> Computed<'b, 'v> {
    let (left, right) = mixed(arguments)?;
    let multiplier = left.as_multiplier().ok_or_else(|| refused("*", &left, &right))?;
    multiplier.mul(right.as_ref()).map(|product| CowVal::Owned(product.into_owned()))
}

fn divide<'b, 'v>(arguments: Arguments<'b, 'v>) -> Computed<'b, 'v> {
    let (left, right) = mixed(arguments)?;
    if left.downcast_ref::<CelDouble>().is_some()
        && right.downcast_ref::<CelDouble>().is_some_and(|value| *value.inner() == 0.0)
    {
        return Err(ExecutionError::DivisionByZero(cel::Value::Null));
    }
    let divider = left.as_divider().ok_or_else(|| refused("/", &left, &right))?;
    divider.div(right.as_ref()).map(|quotient| CowVal::Owned(quotient.into_owned()))
}

fn ordered<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Computed<'b, 'v> {
    let value = arguments.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let Some(map) = value.downcast_ref::<CelMap<'_>>() else {
        return Ok(value);
    };
    let mut keys: Vec<&CelMapKey<'v>> = map.inner().keys().collect();
    keys.sort_by_key(|key| key_text(key));
    let keys: Vec<Box<dyn Val + 'v>> = keys
        .into_iter()
        .map(|key| match key {
            CelMapKey::Bool(key) => Box::new(*key) as Box<dyn Val + 'v>,
            CelMapKey::Int(key) => Box::new(*key),
            CelMapKey::UInt(key) => Box::new(*key),
            CelMapKey::String(key) => Box::new(key.clone()),
        })
        .collect();
    Ok(CowVal::owned(CelList::from(keys)))
}

fn cvss<'b, 'v>(arguments: Arguments<'b, 'v>) -> Computed<'b, 'v> {
    let vector = arguments.first().and_then(|vector| vector.downcast_ref::<CelString<'_>>());
    let vector = vector.ok_or_else(ExecutionError::missing_argument_or_target)?;
    let score =
        cvss_base_score(vector.inner()).map_err(|error| ExecutionError::function_error("cvss", error))?;
    Ok(CowVal::owned(CelDouble::from(score)))
}

fn page_text<'b, 'v>(arguments: Arguments<'b, 'v>) -> Computed<'b, 'v> {
    let page = arguments.first().and_then(|page| page.downcast_ref::<CelString<'_>>());
    let page = page.ok_or_else(ExecutionError::missing_argument_or_target)?;
    Ok(CowVal::owned(CelString::from(html_text(page.inner()))))
}
