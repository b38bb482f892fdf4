//! Postgres' words that are no column names, and its punctuation.

/// Symbols that end an expression rather than continue it.
pub(super) const PUNCTUATION: [&str; 8] = [",", "(", ")", ".", ";", "[", "]", ":"];

/// Reserved words and words reserved for functions and types; sorted.
const RESERVED: [&str; 100] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "system_user",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
];

/// Whether an unquoted word cannot name a column.
pub(super) fn is_reserved(word: &str) -> bool {
    word == "with" || RESERVED.binary_search(&word).is_ok()
}

/// Reserved words that may name a function all the same.
pub(super) fn is_function(word: &str) -> bool {
    matches!(word, "left" | "right" | "like" | "ilike")
}

/// Constructs that begin with a word, and what they are called.
pub(super) fn construct(word: &str) -> Option<&'static str> {
    Some(match word {
        "current_user" | "session_user" | "system_user" | "user" | "current_role"
        | "current_catalog" | "current_schema" => "session values are",
        "select" | "with" => "subqueries are",
        "any" | "all" | "some" => "ANY and ALL without an operator are",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn reserved_words_are_sorted() {
        assert!(super::RESERVED.is_sorted());
    }
}
