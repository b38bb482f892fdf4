//! The syntax tree of a clause, before names and types are known.
//!
//! *Invariant*: no tree is higher than `WHERE_NESTING_MAX`, so recursion over it is safe; AND and
//! OR chains are one node.

use crate::expr::Comparison;

/// A node and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) syntax: Syntax,
    /// Character index of what an error would point at.
    pub(crate) at: usize,
    /// Levels below and including this one.
    pub(crate) height: usize,
}

/// What stands there.
#[derive(Debug, Clone)]
pub(crate) enum Syntax {
    /// `schema.table.column` or shorter.
    Column(Vec<String>),
    /// With its sign.
    Number(String),
    Text(String),
    Parameter(usize),
    Bool(bool),
    Null,
    /// A unary sign before something that is no bare number.
    Sign {
        negative: bool,
        operand: Box<Node>,
    },
    Cast {
        operand: Box<Node>,
        type_name: String,
        type_at: usize,
    },
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Compare {
        comparison: Comparison,
        left: Box<Node>,
        right: Box<Node>,
    },
    Distinct {
        left: Box<Node>,
        right: Box<Node>,
        negated: bool,
    },
    IsNull {
        operand: Box<Node>,
        negated: bool,
    },
    /// IS TRUE, IS FALSE, IS UNKNOWN.
    Test {
        operand: Box<Node>,
        expected: Option<bool>,
        negated: bool,
    },
    In {
        operand: Box<Node>,
        list: Vec<Node>,
        negated: bool,
    },
    Between {
        operand: Box<Node>,
        low: Box<Node>,
        high: Box<Node>,
        symmetric: bool,
        negated: bool,
    },
    Like {
        operand: Box<Node>,
        pattern: Box<Node>,
        escape: Option<Box<Node>>,
        fold: bool,
        negated: bool,
    },
}

impl Syntax {
    /// The node's children.
    pub(crate) fn children(&self) -> Vec<&Node> {
        match self {
            Syntax::Column(_) | Syntax::Number(_) | Syntax::Text(_) => Vec::new(),
            Syntax::Parameter(_) | Syntax::Bool(_) | Syntax::Null => Vec::new(),
            Syntax::Sign { operand, .. } | Syntax::Cast { operand, .. } => vec![operand],
            Syntax::Not(operand) => vec![operand],
            Syntax::IsNull { operand, .. } | Syntax::Test { operand, .. } => vec![operand],
            Syntax::And(list) | Syntax::Or(list) => list.iter().collect(),
            Syntax::Compare { left, right, .. } | Syntax::Distinct { left, right, .. } => {
                vec![left, right]
            }
            Syntax::In { operand, list, .. } => {
                std::iter::once(operand.as_ref()).chain(list).collect()
            }
            Syntax::Between { operand, low, high, .. } => vec![operand, low, high],
            Syntax::Like { operand, pattern, escape, .. } => {
                [operand, pattern].into_iter().chain(escape).map(AsRef::as_ref).collect()
            }
        }
    }
}
