//! From the parsed tree to the program: names resolved, types checked, the engine chosen.

use std::sync::atomic::AtomicUsize;

use aqueduct_core::RecordBuilder;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators,
};

use super::functions::{FUNCTIONS, Function, Style};
use super::limits::{DEPTH_MAX, NODES_MAX};
use super::program::{ArithmeticOp, CompareOp, Conversion, Field, Literal, LogicOp, Node, SearchOp, Step};
use super::value::Type;
use crate::error::ExpressionError;
use crate::suggest;

/// The one variable: the record at hand.
pub(super) const ITEM: &str = "item";

/// Names of types, which `type(x) == int` compares with.
const TYPE_NAMES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What compilation learned.
#[derive(Debug)]
pub(super) struct Compiled {
    /// The program, if our evaluator has everything it needs.
    pub(super) node: Option<Node>,
    pub(super) result: Option<Type>,
}

/// Checks a parsed expression and compiles it as far as our evaluator goes.
pub(super) fn compile(
    source: &str,
    parsed: &IdedExpr,
    info: &SourceInfo,
) -> Result<Compiled, ExpressionError> {
    let mut compiler = Compiler { source, info, nodes: 0, native: true, scope: Vec::new() };
    let (node, result) = compiler.expression(parsed, 1)?;
    Ok(Compiled { node: compiler.native.then_some(node), result })
}

struct Compiler<'s> {
    source: &'s str,
    info: &'s SourceInfo,
    nodes: usize,
    /// Falls at the first thing that only the interpreter can do. Checking goes on.
    native: bool,
    /// The variables of the macros over lists around the current node.
    scope: Vec<String>,
}

/// A node and its type. Once `native` has fallen the nodes are of no account.
type Typed = (Node, Option<Type>);

type Checked<T = Typed> = Result<T, ExpressionError>;

impl Compiler<'_> {
    fn expression(&mut self, expression: &IdedExpr, depth: usize) -> Checked {
        self.nodes += 1;
        if depth > DEPTH_MAX {
            return Err(self.error(
                expression,
                format!("nested deeper than {DEPTH_MAX} levels; split the expression over two fields"),
            ));
        }
        if self.nodes > NODES_MAX {
            return Err(self.error(expression, format!("the expression has more than {NODES_MAX} parts")));
        }
        match &expression.expr {
            Expr::Literal(literal) => Ok(self.literal(literal)),
            Expr::Ident(name) => self.variable(expression, name),
            Expr::Select(select) => self.select(expression, select, depth),
            Expr::Call(call) => self.call(expression, call, depth),
            Expr::List(list) => {
                for element in &list.elements {
                    self.expression(element, depth + 1)?;
                }
                Ok(self.interpreted(Some(Type::List)))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.expression(&entry.key, depth + 1)?;
                        self.expression(&entry.value, depth + 1)?;
                    }
                }
                Ok(self.interpreted(Some(Type::Object)))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
            Expr::Struct(message) => Err(self.error(
                expression,
                format!("there is no type {:?}; an object is written {{\"key\": value}}", message.type_name),
            )),
            Expr::Unspecified => Err(self.error(expression, "this part does not parse")),
        }
    }

    /// Marks a part that our evaluator leaves to the interpreter.
    fn interpreted(&mut self, result: Option<Type>) -> Typed {
        self.native = false;
        (Node::Literal(Literal::Null), result)
    }

    fn literal(&mut self, literal: &LiteralValue) -> Typed {
        let (literal, result) = match literal {
            LiteralValue::Boolean(value) => (Literal::Bool(*value.inner()), Type::Bool),
            LiteralValue::Double(value) => (Literal::Double(*value.inner()), Type::Double),
            LiteralValue::Int(value) => (Literal::Int(*value.inner()), Type::Int),
            LiteralValue::Null => (Literal::Null, Type::Null),
            LiteralValue::String(value) => (Literal::Text(value.inner().to_owned()), Type::Text),
            LiteralValue::Bytes(_) | LiteralValue::UInt(_) => return self.interpreted(None),
        };
        (Node::Literal(literal), Some(result))
    }

    fn variable(&mut self, expression: &IdedExpr, name: &str) -> Checked {
        if self.scope.iter().any(|known| known == name) || TYPE_NAMES.contains(&name) {
            return Ok(self.interpreted(None));
        }
        if name == ITEM {
            return Ok(self.interpreted(Some(Type::Object)));
        }
        let hint = match suggest::nearest(name, [ITEM]) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("a field is written item.{name}"),
        };
        Err(self.error(expression, format!("there is no variable {name:?}, only \"item\"; {hint}")))
    }

    fn select(&mut self, expression: &IdedExpr, select: &SelectExpr, depth: usize) -> Checked {
        if let Some(field) = self.path(expression, depth)? {
            return Ok(if select.test {
                (Node::Has(field), Some(Type::Bool))
            } else {
                (Node::Field(field), None)
            });
        }
        let (_, operand) = self.expression(&select.operand, depth + 1)?;
        if operand.is_some_and(|found| found != Type::Object) {
            return Err(self.clash(expression, &format!(".{}", select.field), "an object", operand));
        }
        Ok(self.interpreted(select.test.then_some(Type::Bool)))
    }

    /// The path, if the expression is one: `item`, then at least one constant step.
    fn path(&mut self, expression: &IdedExpr, depth: usize) -> Checked<Option<Field>> {
        let mut steps = Vec::new();
        let mut current = expression;
        loop {
            match &current.expr {
                Expr::Select(select) if !select.test || std::ptr::eq(current, expression) => {
                    steps.push(Step::Key(select.field.clone()));
                    current = &select.operand;
                }
                Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
                    match &call.args[1].expr {
                        Expr::Literal(LiteralValue::String(key)) => {
                            steps.push(Step::Key(key.inner().to_owned()))
                        }
                        Expr::Literal(LiteralValue::Int(index)) => steps.push(Step::Index(*index.inner())),
                        _ => return Ok(None),
                    }
                    current = &call.args[0];
                }
                Expr::Ident(name) if name == ITEM && !self.scope.iter().any(|known| known == ITEM) => break,
                _ => return Ok(None),
            }
        }
        self.nodes += steps.len();
        if depth + steps.len() > DEPTH_MAX {
            return Err(self.error(expression, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        steps.reverse();
        match steps.first() {
            Some(Step::Key(_)) => {}
            Some(Step::Index(_)) => {
                return Err(
                    self.error(expression, "an item has named fields, such as item.id, and no positions")
                );
            }
            None => return Ok(None),
        }
        let Step::Key(name) = steps.remove(0) else { return Ok(None) };
        let escaped = escaped(&name);
        Ok(Some(Field { name, escaped, hint: AtomicUsize::new(0), steps }))
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr, depth: usize) -> Checked {
        let (_, range) = self.expression(&comprehension.iter_range, depth + 1)?;
        if range.is_some_and(|found| !matches!(found, Type::List | Type::Object)) {
            return Err(self.clash(&comprehension.iter_range, "a macro over a list", "a list", range));
        }
        let (_, start) = self.expression(&comprehension.accu_init, depth + 1)?;
        let outer = self.scope.len();
        self.scope.push(comprehension.iter_var.clone());
        self.scope.push(comprehension.accu_var.clone());
        self.scope.extend(comprehension.iter_var2.clone());
        for part in [&comprehension.loop_cond, &comprehension.loop_step] {
            self.expression(part, depth + 1)?;
        }
        let (_, result) = self.expression(&comprehension.result, depth + 1)?;
        self.scope.truncate(outer);
        // The accumulator starts with a value of the result's type: false, [], or a count that is compared.
        Ok(self.interpreted(result.or(start)))
    }

    fn call(&mut self, expression: &IdedExpr, call: &CallExpr, depth: usize) -> Checked {
        if call.target.is_none() {
            match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::CONDITIONAL, [condition, yes, no]) => {
                    return self.conditional(expression, [condition, yes, no], depth);
                }
                (operators::LOGICAL_NOT, [inner]) => {
                    let (node, found) = self.expression(inner, depth + 1)?;
                    self.expect(expression, "!", "true or false", found, |found| found == Type::Bool)?;
                    return Ok((Node::Not(Box::new(node)), Some(Type::Bool)));
                }
                (operators::NEGATE, [inner]) => {
                    let (node, found) = self.expression(inner, depth + 1)?;
                    self.expect(expression, "-", "a number", found, Type::is_number)?;
                    return Ok((Node::Negate(Box::new(node)), found.or(Some(Type::Number))));
                }
                (operators::NOT_STRICTLY_FALSE, [inner]) => {
                    self.expression(inner, depth + 1)?;
                    return Ok(self.interpreted(Some(Type::Bool)));
                }
                (operators::INDEX, [value, index]) => return self.index(expression, value, index, depth),
                (operators::IN, [needle, hay]) => return self.membership(expression, needle, hay, depth),
                (name, [left, right]) if binary(name).is_some() => {
                    return self.binary(expression, name, left, right, depth);
                }
                _ => {}
            }
        }
        self.function(expression, call, depth)
    }

    fn conditional(&mut self, expression: &IdedExpr, parts: [&IdedExpr; 3], depth: usize) -> Checked {
        let (condition, found) = self.expression(parts[0], depth + 1)?;
        self.expect(expression, "?", "true or false", found, |found| found == Type::Bool)?;
        let (yes, yes_type) = self.expression(parts[1], depth + 1)?;
        let (no, no_type) = self.expression(parts[2], depth + 1)?;
        let result = match (yes_type, no_type) {
            (Some(yes), Some(no)) if yes == no => Some(yes),
            (Some(yes), Some(no)) if yes.is_number() && no.is_number() => Some(Type::Number),
            _ => None,
        };
        Ok((Node::Conditional(Box::new([condition, yes, no])), result))
    }

    fn index(&mut self, expression: &IdedExpr, value: &IdedExpr, index: &IdedExpr, depth: usize) -> Checked {
        if let Some(field) = self.path(expression, depth)? {
            return Ok((Node::Field(field), None));
        }
        let (_, found) = self.expression(value, depth + 1)?;
        self.expect(expression, "[...]", "a list or an object", found, |found| {
            matches!(found, Type::List | Type::Object)
        })?;
        self.expression(index, depth + 1)?;
        Ok(self.interpreted(None))
    }

    fn membership(
        &mut self,
        expression: &IdedExpr,
        needle: &IdedExpr,
        hay: &IdedExpr,
        depth: usize,
    ) -> Checked {
        let (needle, _) = self.expression(needle, depth + 1)?;
        if let Expr::List(list) = &hay.expr
            && list.optional_indices.is_empty()
        {
            self.nodes += 1;
            let elements = list
                .elements
                .iter()
                .map(|element| self.expression(element, depth + 2).map(|(node, _)| node))
                .collect::<Result<_, _>>()?;
            return Ok((Node::InList(Box::new(needle), elements), Some(Type::Bool)));
        }
        let (hay, found) = self.expression(hay, depth + 1)?;
        self.expect(expression, "in", "a list or an object on its right", found, |found| {
            matches!(found, Type::List | Type::Object)
        })?;
        Ok((Node::In(Box::new([needle, hay])), Some(Type::Bool)))
    }

    fn binary(
        &mut self,
        expression: &IdedExpr,
        name: &str,
        left: &IdedExpr,
        right: &IdedExpr,
        depth: usize,
    ) -> Checked {
        let (left, left_type) = self.expression(left, depth + 1)?;
        let (right, right_type) = self.expression(right, depth + 1)?;
        let Some(op) = binary(name) else { return Ok(self.interpreted(None)) };
        let types = (left_type, right_type);
        let sides = Box::new([left, right]);
        Ok(match op {
            Binary::Logic(op) => {
                for found in [left_type, right_type] {
                    self.expect(expression, op.symbol(), "true or false on both sides", found, |found| {
                        found == Type::Bool
                    })?;
                }
                (Node::Logic(op, sides), Some(Type::Bool))
            }
            Binary::Arithmetic(op) => {
                let result = self.arithmetic(expression, op, types)?;
                (Node::Arithmetic(op, sides), result)
            }
            Binary::Compare(op) => {
                self.ordered(expression, op, types)?;
                (Node::Compare(op, sides), Some(Type::Bool))
            }
            Binary::Equal { negated } => {
                let symbol = if negated { "!=" } else { "==" };
                if let (Some(left), Some(right)) = types
                    && left != right
                    && !(left.is_number() && right.is_number())
                    && left != Type::Null
                    && right != Type::Null
                {
                    return Err(self.clash_of_two(expression, symbol, "two values of one type", left, right));
                }
                (Node::Equal { negated, sides }, Some(Type::Bool))
            }
        })
    }

    fn arithmetic(
        &mut self,
        expression: &IdedExpr,
        op: ArithmeticOp,
        types: (Option<Type>, Option<Type>),
    ) -> Checked<Option<Type>> {
        let adds = op == ArithmeticOp::Add;
        let (expected, admits): (_, fn(Type) -> bool) = match op {
            ArithmeticOp::Add => ("two numbers, two texts or two lists", |found| {
                found.is_number() || matches!(found, Type::Text | Type::List)
            }),
            ArithmeticOp::Remainder => ("two integers", |found| matches!(found, Type::Int | Type::Number)),
            _ => ("two numbers", Type::is_number),
        };
        for found in [types.0, types.1] {
            self.expect(expression, op.symbol(), expected, found, admits)?;
        }
        Ok(match types {
            _ if op == ArithmeticOp::Remainder => Some(Type::Int),
            (Some(left), Some(right)) if left.is_number() && right.is_number() => Some(match (left, right) {
                (Type::Double, _) | (_, Type::Double) => Type::Double,
                (Type::Int, Type::Int) => Type::Int,
                _ => Type::Number,
            }),
            (Some(left), Some(right)) if left == right => Some(left),
            (Some(left), Some(right)) => {
                return Err(self.clash_of_two(expression, op.symbol(), expected, left, right));
            }
            (Some(known), None) | (None, Some(known)) => {
                Some(if known == Type::Int { Type::Number } else { known })
            }
            (None, None) if adds => None,
            (None, None) => Some(Type::Number),
        })
    }

    fn ordered(
        &mut self,
        expression: &IdedExpr,
        op: CompareOp,
        types: (Option<Type>, Option<Type>),
    ) -> Checked<()> {
        const EXPECTED: &str = "two numbers, two texts or two truth values";
        for found in [types.0, types.1] {
            self.expect(expression, op.symbol(), EXPECTED, found, |found| {
                found.is_number() || matches!(found, Type::Text | Type::Bool)
            })?;
        }
        match types {
            (Some(left), Some(right)) if left != right && !(left.is_number() && right.is_number()) => {
                Err(self.clash_of_two(expression, op.symbol(), EXPECTED, left, right))
            }
            _ => Ok(()),
        }
    }

    fn function(&mut self, expression: &IdedExpr, call: &CallExpr, depth: usize) -> Checked {
        let style = if call.target.is_some() { Style::Member } else { Style::Global };
        let function = self.known(expression, call, style)?;
        let mut nodes = Vec::with_capacity(2);
        for (index, argument) in call.target.as_deref().into_iter().chain(&call.args).enumerate() {
            let (node, found) = self.expression(argument, depth + 1)?;
            let types = function.takes[index];
            if let Some(found) = found
                && !types.is_empty()
                && !types.contains(&found)
            {
                let names: Vec<&str> = types
                    .iter()
                    .filter(|allowed| **allowed != Type::Number)
                    .map(|allowed| allowed.described())
                    .collect();
                return Err(self.clash(argument, function.name, &names.join(" or "), Some(found)));
            }
            nodes.push(node);
        }
        let gives = function.gives;
        let mut nodes = nodes.into_iter();
        let node = match (function.name, nodes.next(), nodes.next()) {
            ("size", Some(value), None) => Node::Size(Box::new(value)),
            ("int", Some(value), None) => Node::Convert(Conversion::Int, Box::new(value)),
            ("double", Some(value), None) => Node::Convert(Conversion::Double, Box::new(value)),
            ("string", Some(value), None) => Node::Convert(Conversion::Text, Box::new(value)),
            ("cvss", Some(value), None) => Node::Cvss(Box::new(value)),
            ("html_text", Some(value), None) => Node::HtmlText(Box::new(value)),
            ("startsWith", Some(hay), Some(needle)) => {
                Node::Search(SearchOp::StartsWith, Box::new([hay, needle]))
            }
            ("endsWith", Some(hay), Some(needle)) => {
                Node::Search(SearchOp::EndsWith, Box::new([hay, needle]))
            }
            ("contains", Some(hay), Some(needle)) => {
                Node::Search(SearchOp::Contains, Box::new([hay, needle]))
            }
            _ => return Ok(self.interpreted(gives)),
        };
        Ok((node, gives))
    }

    /// Finds the function that is called, with the right number of arguments.
    fn known(&self, expression: &IdedExpr, call: &CallExpr, style: Style) -> Checked<&'static Function> {
        let name = call.func_name.as_str();
        let named: Vec<&'static Function> =
            FUNCTIONS.iter().filter(|function| function.name == name).collect();
        let Some(first) = named.first() else {
            let names = FUNCTIONS.iter().map(|function| function.name);
            let hint = match suggest::nearest(name, names.clone()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => {
                    let mut names: Vec<&str> = names.collect();
                    names.sort_unstable();
                    names.dedup();
                    format!("there are {}", names.join(", "))
                }
            };
            return Err(self.named_error(expression, name, format!("there is no function {name:?}; {hint}")));
        };
        let given = call.args.len() + usize::from(call.target.is_some());
        match named.iter().find(|function| function.style == style && function.takes.len() == given) {
            Some(function) => Ok(function),
            None => {
                Err(self.named_error(expression, name, format!("{name:?} is called like {}", first.example)))
            }
        }
    }

    // Errors

    fn expect(
        &self,
        expression: &IdedExpr,
        symbol: &str,
        expected: &str,
        found: Option<Type>,
        admits: impl Fn(Type) -> bool,
    ) -> Checked<()> {
        match found {
            Some(found) if !admits(found) => Err(self.clash(expression, symbol, expected, Some(found))),
            _ => Ok(()),
        }
    }

    fn clash(&self, at: &IdedExpr, symbol: &str, expected: &str, found: Option<Type>) -> ExpressionError {
        let found = found.map_or("something else", Type::described);
        self.error(at, format!("{symbol} takes {expected}, found {found}"))
    }

    fn clash_of_two(
        &self,
        at: &IdedExpr,
        symbol: &str,
        expected: &str,
        left: Type,
        right: Type,
    ) -> ExpressionError {
        self.error(
            at,
            format!("{symbol} takes {expected}, found {} and {}", left.described(), right.described()),
        )
    }

    fn offset(&self, at: &IdedExpr) -> usize {
        let offset =
            self.info.offset_for(at.id).map_or(0, |(start, _)| start as usize).min(self.source.len());
        (0..=offset).rev().find(|at| self.source.is_char_boundary(*at)).unwrap_or(0)
    }

    fn error(&self, at: &IdedExpr, message: impl Into<String>) -> ExpressionError {
        ExpressionError::new(self.offset(at), message)
    }

    /// The parser places a call at its bracket; the name before it is what a person looks for.
    fn named_error(&self, at: &IdedExpr, name: &str, message: String) -> ExpressionError {
        let offset = self.offset(at);
        let before = &self.source[..offset];
        let here = self.source[offset..].starts_with(name);
        ExpressionError::new(if here { offset } else { before.rfind(name).unwrap_or(offset) }, message)
    }
}

/// An operator with two sides.
enum Binary {
    Logic(LogicOp),
    Arithmetic(ArithmeticOp),
    Compare(CompareOp),
    Equal { negated: bool },
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        operators::LOGICAL_AND => Binary::Logic(LogicOp::And),
        operators::LOGICAL_OR => Binary::Logic(LogicOp::Or),
        operators::ADD => Binary::Arithmetic(ArithmeticOp::Add),
        operators::SUBSTRACT => Binary::Arithmetic(ArithmeticOp::Subtract),
        operators::MULTIPLY => Binary::Arithmetic(ArithmeticOp::Multiply),
        operators::DIVIDE => Binary::Arithmetic(ArithmeticOp::Divide),
        operators::MODULO => Binary::Arithmetic(ArithmeticOp::Remainder),
        operators::LESS => Binary::Compare(CompareOp::Less),
        operators::LESS_EQUALS => Binary::Compare(CompareOp::LessOrEqual),
        operators::GREATER => Binary::Compare(CompareOp::Greater),
        operators::GREATER_EQUALS => Binary::Compare(CompareOp::GreaterOrEqual),
        operators::EQUALS => Binary::Equal { negated: false },
        operators::NOT_EQUALS => Binary::Equal { negated: true },
        _ => return None,
    })
}

/// A key as it stands in a record's bytes; the record's own writer says how.
fn escaped(key: &str) -> String {
    let mut builder = RecordBuilder::default();
    builder.null(key);
    builder.finish().fields().next().map_or_else(String::new, |(key, _)| key.to_owned())
}
