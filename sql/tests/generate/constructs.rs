//! What random clauses are made of.

/// Everything that [`super::Clause::constructs`] may name.
pub const CONSTRUCTS: [&str; 29] = [
    "AND",
    "or",
    "NOT",
    "TRUE",
    "NOT TRUE",
    "FALSE",
    "NOT FALSE",
    "UNKNOWN",
    "NOT UNKNOWN",
    "NULL",
    "NOT NULL",
    "=",
    "<>",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "IS DISTINCT FROM",
    "DISTINCT FROM",
    "IN",
    "BETWEEN",
    "BETWEEN SYMMETRIC",
    "LIKE",
    "ILIKE",
    "ESCAPE",
    "text::date",
    "domain[]",
    "$",
];

/// A refusal without what it quotes, so that it may be counted.
pub fn outside_quotes(refusal: &str) -> String {
    refusal.split('"').step_by(2).collect::<Vec<_>>().join("…")
}
