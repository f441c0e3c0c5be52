//! The compiled form of an expression: a tree without names left to resolve.

use std::fmt;
use std::sync::atomic::AtomicUsize;

/// One operation and its operands.
#[derive(Debug)]
pub(crate) enum Node {
    /// A constant.
    Literal(Literal),
    /// `item.a.b[0]`
    Field(Field),
    /// `has(item.a.b)`
    Has(Field),
    /// `!a`
    Not(Box<Node>),
    /// `-a`
    Negate(Box<Node>),
    /// `a && b`, `a || b`
    Logic(LogicOp, Box<[Node; 2]>),
    /// `a ? b : c`
    Conditional(Box<[Node; 3]>),
    /// `a + b` and the like
    Arithmetic(ArithmeticOp, Box<[Node; 2]>),
    /// `a < b` and the like
    Compare(CompareOp, Box<[Node; 2]>),
    /// `a == b`, `a != b`
    Equal {
        /// True for `!=`.
        negated: bool,
        /// The two sides.
        sides: Box<[Node; 2]>,
    },
    /// `a in [b, c]`
    InList(Box<Node>, Vec<Node>),
    /// `a in item.tags`
    In(Box<[Node; 2]>),
    /// `int(a)`, `double(a)`, `string(a)`
    Convert(Conversion, Box<Node>),
    /// `size(a)`
    Size(Box<Node>),
    /// `a.startsWith(b)` and the like
    Search(SearchOp, Box<[Node; 2]>),
    /// `cvss(a)`
    Cvss(Box<Node>),
    /// `html_text(a)`
    HtmlText(Box<Node>),
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

/// A path into the item: a top-level field and what follows it.
#[derive(Debug)]
pub(crate) struct Field {
    /// The top-level field as a person writes it.
    pub(crate) name: String,
    /// The same as it stands in a record's bytes.
    pub(crate) escaped: String,
    /// Where the field stood in the last record.
    ///
    /// Relaxed: a stale guess costs a search and is never wrong, so the ordering guards nothing.
    pub(crate) hint: AtomicUsize,
    /// What follows the top-level field.
    pub(crate) steps: Vec<Step>,
}

/// One step deeper.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// `.key` or `["key"]`
    Key(String),
    /// `[0]`. A negative index is kept: it is out of bounds on every list.
    Index(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogicOp {
    And,
    Or,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArithmeticOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompareOp {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    Int,
    Double,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SearchOp {
    StartsWith,
    EndsWith,
    Contains,
}

impl ArithmeticOp {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl CompareOp {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl LogicOp {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
        }
    }
}

impl Conversion {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
        }
    }
}

impl SearchOp {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Contains => "contains",
        }
    }
}

// Messages show the part of the expression that failed, written out from the tree.

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::Field(field) => field.fmt(f),
            Self::Has(field) => write!(f, "has({field})"),
            Self::Not(inner) => write!(f, "!{}", Operand(inner)),
            Self::Negate(inner) => write!(f, "-{}", Operand(inner)),
            Self::Logic(op, sides) => infix(f, op.symbol(), sides),
            Self::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                write!(f, "{} ? {} : {}", Operand(condition), Operand(yes), Operand(no))
            }
            Self::Arithmetic(op, sides) => infix(f, op.symbol(), sides),
            Self::Compare(op, sides) => infix(f, op.symbol(), sides),
            Self::Equal { negated, sides } => infix(f, if *negated { "!=" } else { "==" }, sides),
            Self::InList(needle, list) => {
                write!(f, "{} in [", Operand(needle))?;
                for (index, element) in list.iter().enumerate() {
                    write!(f, "{}{element}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::In(sides) => infix(f, "in", sides),
            Self::Convert(conversion, inner) => write!(f, "{}({inner})", conversion.name()),
            Self::Size(inner) => write!(f, "size({inner})"),
            Self::Search(op, sides) => write!(f, "{}.{}({})", Operand(&sides[0]), op.name(), sides[1]),
            Self::Cvss(inner) => write!(f, "cvss({inner})"),
            Self::HtmlText(inner) => write!(f, "html_text({inner})"),
        }
    }
}

fn infix(f: &mut fmt::Formatter<'_>, symbol: &str, sides: &[Node; 2]) -> fmt::Result {
    write!(f, "{} {symbol} {}", Operand(&sides[0]), Operand(&sides[1]))
}

/// A node in parentheses where it needs them.
struct Operand<'a>(&'a Node);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Node::Logic(..)
            | Node::Conditional(_)
            | Node::Arithmetic(..)
            | Node::Compare(..)
            | Node::Equal { .. }
            | Node::InList(..)
            | Node::In(_) => write!(f, "({})", self.0),
            simple => simple.fmt(f),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path(self.steps.len()))
    }
}

impl Field {
    /// The path up to the top-level field and `steps` steps behind it.
    pub(crate) fn path(&self, steps: usize) -> String {
        let mut path = String::from("item");
        push_key(&mut path, &self.name);
        for step in self.steps.iter().take(steps) {
            match step {
                Step::Key(key) => push_key(&mut path, key),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }
}

fn push_key(path: &mut String, key: &str) {
    let plain = key.bytes().enumerate().all(|(index, byte)| {
        byte == b'_' || byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit())
    });
    if plain && !key.is_empty() {
        path.push('.');
        path.push_str(key);
    } else {
        path.push_str(&format!("[{key:?}]"));
    }
}
