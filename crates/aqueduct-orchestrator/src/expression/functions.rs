//! The functions an expression may call: one table for the check, the hints and the reference.

use super::value::Type;

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `f(a)`
    Global,
    /// `a.f(b)`
    Member,
    /// Expanded by the parser when it is called rightly, so that a call of it is always a wrong one.
    Macro,
}

/// A function and what it takes.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) style: Style,
    /// The types of each argument, the value before the dot included; no types means any.
    pub(super) takes: &'static [&'static [Type]],
    pub(super) gives: Option<Type>,
    /// How it is written, for messages.
    pub(super) example: &'static str,
}

const ANY: &[Type] = &[];
const TEXT: &[Type] = &[Type::Text];
const SIZED: &[Type] = &[Type::Text, Type::List, Type::Object];
const NUMBER_OR_TEXT: &[Type] = &[Type::Int, Type::Double, Type::Number, Type::Text];
const PLAIN: &[Type] = &[Type::Int, Type::Double, Type::Number, Type::Text, Type::Bool];

/// Every function and macro.
pub(super) const FUNCTIONS: [Function; 21] = [
    global("size", &[SIZED], Some(Type::Int), "size(item.tags)"),
    member("size", &[SIZED], Some(Type::Int), "item.tags.size()"),
    global("int", &[NUMBER_OR_TEXT], Some(Type::Int), "int(item.count)"),
    global("double", &[NUMBER_OR_TEXT], Some(Type::Double), "double(item.count)"),
    global("string", &[PLAIN], Some(Type::Text), "string(item.count)"),
    global("bool", &[&[Type::Bool, Type::Text]], Some(Type::Bool), "bool(item.flag)"),
    global("uint", &[NUMBER_OR_TEXT], None, "uint(item.count)"),
    global("bytes", &[TEXT], None, "bytes(item.name)"),
    global("type", &[ANY], None, "type(item.name)"),
    global("dyn", &[ANY], None, "dyn(item.name)"),
    member("startsWith", &[TEXT, TEXT], Some(Type::Bool), "item.id.startsWith(\"CVE-\")"),
    member("endsWith", &[TEXT, TEXT], Some(Type::Bool), "item.id.endsWith(\"-1\")"),
    member("contains", &[TEXT, TEXT], Some(Type::Bool), "item.details.contains(\"XSS\")"),
    global("cvss", &[TEXT], Some(Type::Double), "cvss(item.vector)"),
    global("html_text", &[TEXT], Some(Type::Text), "html_text(item.page)"),
    expanded("has", "has(item.name)"),
    expanded("exists", "item.tags.exists(tag, tag == \"x\")"),
    expanded("exists_one", "item.tags.exists_one(tag, tag == \"x\")"),
    expanded("all", "item.tags.all(tag, size(tag) > 1)"),
    expanded("map", "item.tags.map(tag, size(tag))"),
    expanded("filter", "item.tags.filter(tag, size(tag) > 1)"),
];

const fn global(
    name: &'static str,
    takes: &'static [&'static [Type]],
    gives: Option<Type>,
    example: &'static str,
) -> Function {
    Function { name, style: Style::Global, takes, gives, example }
}

const fn member(
    name: &'static str,
    takes: &'static [&'static [Type]],
    gives: Option<Type>,
    example: &'static str,
) -> Function {
    Function { name, style: Style::Member, takes, gives, example }
}

const fn expanded(name: &'static str, example: &'static str) -> Function {
    Function { name, style: Style::Macro, takes: &[], gives: None, example }
}
