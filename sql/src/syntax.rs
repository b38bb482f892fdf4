//! The syntax tree of a clause, before names and types are known.
//!
//! *Invariant*: no tree is higher than `WHERE_NESTING_MAX`, so recursion over it is safe; AND and
//! OR chains are one node.

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
    /// CURRENT_DATE and its kin, by its word.
    Moment(String),
    /// A prefix operator; a sign only before something that is no bare number.
    Unary {
        operator: String,
        operand: Box<Node>,
    },
    Binary {
        operator: String,
        left: Box<Node>,
        right: Box<Node>,
    },
    /// `left operator ANY (array)`, with `all` ALL.
    Quantified {
        operator: String,
        left: Box<Node>,
        array: Box<Node>,
        all: bool,
    },
    Cast {
        operand: Box<Node>,
        target: TypeName,
    },
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
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
    /// `left [NOT] IN (SELECT …)`, `= ANY`, `<> ALL`.
    Member {
        left: Box<Node>,
        query: Box<Select>,
        negated: bool,
    },
    Exists(Box<Select>),
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
        form: PatternForm,
        negated: bool,
    },
    /// Also what the grammar writes as special forms: `extract('year', d)`.
    Call {
        name: Vec<String>,
        arguments: Vec<Node>,
    },
    /// An argument of a call by its name: `days => 1`.
    Named {
        name: String,
        value: Box<Node>,
    },
    Case {
        operand: Option<Box<Node>>,
        branches: Vec<(Node, Node)>,
        otherwise: Option<Box<Node>>,
    },
    /// `ARRAY[…]`.
    Array(Vec<Node>),
    /// `ROW(…)`, `(a, b)`.
    Row(Vec<Node>),
    Subscript {
        operand: Box<Node>,
        subscripts: Vec<Subscript>,
    },
    Collate {
        operand: Box<Node>,
        collation: Vec<String>,
    },
}

/// `SELECT … FROM … WHERE …` inside a clause.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    /// None stands for `*`.
    pub(crate) items: Vec<Node>,
    /// `schema.table` or shorter.
    pub(crate) table: Vec<String>,
    pub(crate) table_at: usize,
    pub(crate) alias: Option<String>,
    pub(crate) filter: Option<Node>,
    pub(crate) at: usize,
}

/// Which pattern language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatternForm {
    Like,
    Ilike,
    Similar,
}

impl PatternForm {
    /// The words of it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            PatternForm::Like => "LIKE",
            PatternForm::Ilike => "ILIKE",
            PatternForm::Similar => "SIMILAR TO",
        }
    }
}

/// `[index]` or `[lower:upper]`.
#[derive(Debug, Clone)]
pub(crate) enum Subscript {
    Index(Node),
    Slice(Option<Node>, Option<Node>),
}

/// A type as a clause names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeName {
    /// Schema and name, the keywords of SQL already replaced (`integer` is `int4`).
    pub(crate) path: Vec<String>,
    pub(crate) modifiers: Vec<i32>,
    /// Pairs of brackets.
    pub(crate) dimensions: usize,
    /// The fields of an interval, `day to second`.
    pub(crate) fields: Option<String>,
    pub(crate) at: usize,
}

impl std::fmt::Display for TypeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path.join("."))?;
        f.write_str(&"[]".repeat(self.dimensions))
    }
}

impl Syntax {
    /// The node's children.
    pub(crate) fn children(&self) -> Vec<&Node> {
        match self {
            Syntax::Column(_) | Syntax::Number(_) | Syntax::Text(_) | Syntax::Moment(_) => {
                Vec::new()
            }
            Syntax::Parameter(_) | Syntax::Bool(_) | Syntax::Null => Vec::new(),
            Syntax::Unary { operand, .. } | Syntax::Cast { operand, .. } => vec![operand],
            Syntax::Not(operand) | Syntax::Collate { operand, .. } => vec![operand],
            Syntax::Named { value, .. } => vec![value],
            Syntax::IsNull { operand, .. } | Syntax::Test { operand, .. } => vec![operand],
            Syntax::And(list) | Syntax::Or(list) => list.iter().collect(),
            Syntax::Array(list) | Syntax::Row(list) => list.iter().collect(),
            Syntax::Call { arguments, .. } => arguments.iter().collect(),
            Syntax::Binary { left, right, .. } | Syntax::Distinct { left, right, .. } => {
                vec![left, right]
            }
            Syntax::Quantified { left, array, .. } => vec![left, array],
            Syntax::In { operand, list, .. } => {
                std::iter::once(operand.as_ref()).chain(list).collect()
            }
            Syntax::Member { left, query, .. } => {
                let inner = query.items.iter().chain(&query.filter);
                std::iter::once(left.as_ref()).chain(inner).collect()
            }
            Syntax::Exists(query) => query.items.iter().chain(&query.filter).collect(),
            Syntax::Between { operand, low, high, .. } => vec![operand, low, high],
            Syntax::Like { operand, pattern, escape, .. } => {
                [operand, pattern].into_iter().chain(escape).map(AsRef::as_ref).collect()
            }
            Syntax::Case { operand, branches, otherwise } => {
                let ends = operand.iter().chain(otherwise).map(AsRef::as_ref);
                ends.chain(branches.iter().flat_map(|(when, then)| [when, then])).collect()
            }
            Syntax::Subscript { operand, subscripts } => {
                let inner = subscripts.iter().flat_map(|subscript| match subscript {
                    Subscript::Index(index) => vec![index],
                    Subscript::Slice(low, high) => low.iter().chain(high).collect(),
                });
                std::iter::once(operand.as_ref()).chain(inner).collect()
            }
        }
    }

    /// What the node is called in a message.
    pub(crate) fn title(&self) -> &'static str {
        match self {
            Syntax::Column(_) => "ColumnRef",
            Syntax::Number(_) | Syntax::Text(_) | Syntax::Bool(_) | Syntax::Null => "A_Const",
            Syntax::Parameter(_) => "ParamRef",
            Syntax::Moment(_) => "SQLValueFunction",
            Syntax::Unary { .. } | Syntax::Binary { .. } | Syntax::Quantified { .. } => "A_Expr",
            Syntax::Distinct { .. } | Syntax::In { .. } => "A_Expr",
            Syntax::Member { .. } | Syntax::Exists(_) => "SubLink",
            Syntax::Between { .. } | Syntax::Like { .. } => "A_Expr",
            Syntax::Cast { .. } => "TypeCast",
            Syntax::Not(_) | Syntax::And(_) | Syntax::Or(_) => "BoolExpr",
            Syntax::IsNull { .. } => "NullTest",
            Syntax::Test { .. } => "BooleanTest",
            Syntax::Call { .. } => "FuncCall",
            Syntax::Named { .. } => "NamedArgExpr",
            Syntax::Case { .. } => "CaseExpr",
            Syntax::Array(_) => "A_ArrayExpr",
            Syntax::Row(_) => "RowExpr",
            Syntax::Subscript { .. } => "A_Indirection",
            Syntax::Collate { .. } => "CollateClause",
        }
    }
}
