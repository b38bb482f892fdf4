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
        query: Box<Query>,
        negated: bool,
    },
    Exists(Box<Query>),
    /// `(SELECT …)` in the place of a value.
    Single(Box<Query>),
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

/// What stands behind IN and EXISTS: the rows of all its branches.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// Where `LIMIT` stands, if it does.
    pub(crate) limit: Option<usize>,
    pub(crate) branches: Vec<Branch>,
    pub(crate) at: usize,
}

/// One side of a UNION.
#[derive(Debug, Clone)]
pub(crate) enum Branch {
    Select(Select),
    /// `VALUES …`; rows of several columns are [`Syntax::Row`]s.
    Values(Vec<Node>),
    /// `SELECT …` without FROM.
    Row(Node),
}

/// `SELECT … FROM … WHERE …` inside a clause.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    /// None stands for `*`.
    pub(crate) items: Vec<Node>,
    /// What they are called, where they are columns or named with AS.
    pub(crate) names: Vec<Option<String>>,
    pub(crate) distinct: bool,
    /// What ORDER BY names: columns of its tables, or items themselves. It has no effect, but must exist.
    pub(crate) order: Vec<Node>,
    pub(crate) sources: Vec<Source>,
    pub(crate) filter: Option<Node>,
    pub(crate) at: usize,
}

/// A table behind FROM, and how it is joined with those before it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// `schema.table` or shorter.
    pub(crate) table: Vec<String>,
    pub(crate) at: usize,
    pub(crate) alias: Option<String>,
    /// `LEFT JOIN`.
    pub(crate) optional: bool,
    /// The first of the tables that its ON sees; the last is itself.
    pub(crate) first: usize,
    pub(crate) on: Option<Node>,
    pub(crate) using: Vec<String>,
}

impl Query {
    /// Every expression in it.
    pub(crate) fn nodes(&self) -> Vec<&Node> {
        self.branches.iter().flat_map(Branch::nodes).collect()
    }

    /// Its branches but constants.
    pub(crate) fn selects(&self) -> impl Iterator<Item = &Select> {
        self.branches.iter().filter_map(|branch| match branch {
            Branch::Select(select) => Some(select),
            Branch::Values(_) | Branch::Row(_) => None,
        })
    }
}

impl Branch {
    fn nodes(&self) -> Vec<&Node> {
        match self {
            Branch::Values(_) | Branch::Row(_) => self.rows().iter().collect(),
            Branch::Select(select) => select.nodes(),
        }
    }

    /// Its rows, where they are not a table's.
    pub(crate) fn rows(&self) -> &[Node] {
        match self {
            Branch::Values(rows) => rows,
            Branch::Row(row) => std::slice::from_ref(row),
            Branch::Select(_) => &[],
        }
    }

    /// How many columns it has; 0 for `*`.
    pub(crate) fn width(&self) -> usize {
        match self {
            Branch::Select(select) => select.items.len(),
            Branch::Values(_) | Branch::Row(_) => {
                match self.rows().first().map(|row| &row.syntax) {
                    Some(Syntax::Row(fields)) => fields.len(),
                    Some(_) => 1,
                    None => 0,
                }
            }
        }
    }
}

impl Select {
    /// Every expression in it.
    pub(crate) fn nodes(&self) -> Vec<&Node> {
        let joined = self.sources.iter().flat_map(|source| &source.on);
        self.items.iter().chain(joined).chain(&self.filter).collect()
    }
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
                std::iter::once(left.as_ref()).chain(query.nodes()).collect()
            }
            Syntax::Exists(query) | Syntax::Single(query) => query.nodes(),
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
            Syntax::Member { .. } | Syntax::Exists(_) | Syntax::Single(_) => "SubLink",
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
