//! Integer expressions over axes: shapes, constraints, costs, guards, workspace sizes.
//!
//! Grammar, loosest first: `||`, `&&`, comparison (`== != < <= > >=`), `+ -`, `* / %`, unary `- !`, then
//! numbers (`1024`, `4Ki`, `1Mi`), axis names, calls (`min max ceil_div sqrt`) and parentheses. Division rounds toward
//! zero. Truth is 1 and 0. All arithmetic is checked: overflow and division by zero are errors, never wrap-around.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

mod parse;

/// The value of each axis, by name.
pub type Bindings = BTreeMap<String, i64>;

/// A parsed expression that remembers its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expr {
    text: String,
    node: Node,
}

/// Why an expression cannot be read or has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// The text does not follow the grammar; `offset` is the byte at which reading stopped.
    #[error("expected {expected} at byte {offset} of `{text}`")]
    Syntax {
        /// The whole text.
        text: String,
        /// Byte offset into `text`.
        offset: usize,
        /// What would have been legal there.
        expected: &'static str,
    },
    /// A name that is not an axis of the contract.
    #[error("unknown axis `{name}` in `{text}`; known axes: {known}")]
    UnknownAxis {
        /// The name.
        name: String,
        /// The whole text.
        text: String,
        /// The names that are known, comma-separated.
        known: String,
    },
    /// A value left the 64-bit range, or something was divided by zero.
    #[error("`{text}` overflows or divides by zero for {bindings}")]
    Range {
        /// The whole text.
        text: String,
        /// The axis values.
        bindings: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Number(i64),
    Axis(String),
    Unary(Unary, Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unary {
    Negate,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Min,
    Max,
    CeilDiv,
    Sqrt,
}

impl Expr {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        let node = parse::parse(text)?;
        Ok(Self { text: text.to_owned(), node })
    }

    /// A plain number.
    pub fn number(value: i64) -> Self {
        Self { text: value.to_string(), node: Node::Number(value) }
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The axis names that occur, sorted and unique.
    pub fn axes(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect_axes(&self.node, &mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Refuses names that are not among `known`.
    pub fn check_axes<'a>(&self, known: impl IntoIterator<Item = &'a str>) -> Result<(), ExprError> {
        let known: Vec<&str> = known.into_iter().collect();
        match self.axes().into_iter().find(|name| !known.contains(name)) {
            None => Ok(()),
            Some(name) => Err(ExprError::UnknownAxis {
                name: name.to_owned(),
                text: self.text.clone(),
                known: known.join(", "),
            }),
        }
    }

    /// The value for the given axes.
    pub fn eval(&self, bindings: &Bindings) -> Result<i64, ExprError> {
        self.check_axes(bindings.keys().map(String::as_str))?;
        eval(&self.node, bindings)
            .ok_or_else(|| ExprError::Range { text: self.text.clone(), bindings: format!("{bindings:?}") })
    }

    /// Whether the value is not zero.
    pub fn holds(&self, bindings: &Bindings) -> Result<bool, ExprError> {
        Ok(self.eval(bindings)? != 0)
    }
}

fn collect_axes<'a>(node: &'a Node, names: &mut Vec<&'a str>) {
    match node {
        Node::Number(_) => {}
        Node::Axis(name) => names.push(name),
        Node::Unary(_, inner) => collect_axes(inner, names),
        Node::Binary(_, left, right) => {
            collect_axes(left, names);
            collect_axes(right, names);
        }
        Node::Call(_, arguments) => arguments.iter().for_each(|argument| collect_axes(argument, names)),
    }
}

fn eval(node: &Node, bindings: &Bindings) -> Option<i64> {
    match node {
        Node::Number(value) => Some(*value),
        Node::Axis(name) => bindings.get(name).copied(),
        Node::Unary(Unary::Negate, inner) => eval(inner, bindings)?.checked_neg(),
        Node::Unary(Unary::Not, inner) => Some(i64::from(eval(inner, bindings)? == 0)),
        Node::Binary(Binary::Or, left, right) => {
            Some(i64::from(eval(left, bindings)? != 0 || eval(right, bindings)? != 0))
        }
        // Short-circuit, so that a guard may protect a division.
        Node::Binary(Binary::And, left, right) => {
            Some(i64::from(eval(left, bindings)? != 0 && eval(right, bindings)? != 0))
        }
        Node::Binary(operator, left, right) => {
            apply(*operator, eval(left, bindings)?, eval(right, bindings)?)
        }
        Node::Call(function, arguments) => {
            let values: Option<Vec<i64>> =
                arguments.iter().map(|argument| eval(argument, bindings)).collect();
            call(*function, &values?)
        }
    }
}

fn apply(operator: Binary, left: i64, right: i64) -> Option<i64> {
    match operator {
        Binary::Or => Some(i64::from(left != 0 || right != 0)),
        Binary::And => Some(i64::from(left != 0 && right != 0)),
        Binary::Equal => Some(i64::from(left == right)),
        Binary::NotEqual => Some(i64::from(left != right)),
        Binary::Less => Some(i64::from(left < right)),
        Binary::LessEqual => Some(i64::from(left <= right)),
        Binary::Greater => Some(i64::from(left > right)),
        Binary::GreaterEqual => Some(i64::from(left >= right)),
        Binary::Add => left.checked_add(right),
        Binary::Subtract => left.checked_sub(right),
        Binary::Multiply => left.checked_mul(right),
        Binary::Divide => left.checked_div(right),
        Binary::Remainder => left.checked_rem(right),
    }
}

fn call(function: Function, values: &[i64]) -> Option<i64> {
    match (function, values) {
        (Function::Min, values) => values.iter().min().copied(),
        (Function::Max, values) => values.iter().max().copied(),
        (Function::CeilDiv, [left, right]) if *right > 0 => {
            Some(left.checked_add(right.checked_sub(1)?)?.div_euclid(*right))
        }
        (Function::Sqrt, [value]) if *value >= 0 => Some(value.isqrt()),
        _ => None,
    }
}

impl TryFrom<String> for Expr {
    type Error = ExprError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Expr> for String {
    fn from(expr: Expr) -> Self {
        expr.text
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> i64 {
        let bindings = Bindings::from([("rows".to_owned(), 7), ("cols".to_owned(), 100)]);
        Expr::parse(text).unwrap().eval(&bindings).unwrap()
    }

    #[test]
    fn precedence_follows_c() {
        assert_eq!(value("2 + 3 * rows"), 23);
        assert_eq!(value("(2+3)*rows - 1"), 34);
        assert_eq!(value("cols % 16 == 4 && rows < 8"), 1);
        assert_eq!(value("-rows + 4Ki"), 4089);
        assert_eq!(value("ceil_div(cols, 16) + min(rows, 3, 9)"), 10);
        assert_eq!(value("!(rows == 7) || cols >= 100"), 1);
    }

    #[test]
    fn a_guard_protects_a_division() {
        assert_eq!(value("rows != 7 && cols / (rows - 7) > 1"), 0);
    }

    #[test]
    fn bad_text_names_the_place() {
        let error = Expr::parse("rows + * 2").unwrap_err();
        assert!(matches!(error, ExprError::Syntax { offset: 7, .. }), "{error}");
        for bad in ["", "rows rows", "(1", "9999999999999999999", "foo(1)", "1 +", "ceil_div(1)"] {
            assert!(Expr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_axes_and_overflow_are_errors() {
        let bindings = Bindings::from([("n".to_owned(), i64::MAX)]);
        assert!(matches!(Expr::parse("m").unwrap().eval(&bindings), Err(ExprError::UnknownAxis { .. })));
        assert!(matches!(Expr::parse("n * 2").unwrap().eval(&bindings), Err(ExprError::Range { .. })));
        assert!(matches!(Expr::parse("n / 0").unwrap().eval(&bindings), Err(ExprError::Range { .. })));
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
        assert!(Expr::parse(&"(".repeat(100_000)).is_err());
        assert!(Expr::parse(&format!("{}1", "-".repeat(100_000))).is_err());
    }
}
