//! Which tables a clause names, before anything is known of them.

use crate::limits::NAMED_TABLES_MAX;
use crate::syntax::{Node, Syntax};
use crate::{RelationName, parse, resolve, token};

/// The tables that the subqueries of a clause name: what [`crate::compile_with`] has to be given. None
/// if the clause cannot be parsed, which compiling it says better.
#[must_use]
pub fn named_tables(text: &str) -> Vec<RelationName> {
    let mut found = Vec::new();
    // Most clauses have none, and nobody should parse them twice to learn that.
    if !text.to_ascii_lowercase().contains("select") {
        return found;
    }
    let parsed = token::tokenize(text)
        .and_then(|lexemes| parse::parse(&lexemes, text.chars().count(), true));
    if let Ok(node) = parsed {
        walk(&node, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    // Of more than these none can be served: a clause has fewer subqueries.
    found.truncate(NAMED_TABLES_MAX);
    found
}

fn walk(node: &Node, found: &mut Vec<RelationName>) {
    if let Syntax::Member { query, .. } | Syntax::Exists(query) | Syntax::Single(query) =
        &node.syntax
    {
        let sources = query.selects().flat_map(|select| &select.sources);
        found.extend(sources.filter_map(|source| resolve::relation_name(&source.table)));
    }
    node.syntax.children().into_iter().for_each(|child| walk(child, found));
}
