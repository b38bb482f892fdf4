//! The dialect that text is cut by: Postgres' without geometry, with which the tokenizer loses the
//! character behind `&>`. Operators are cut anew afterwards, so nothing else changes.

use std::any::TypeId;

use sqlparser::dialect::{Dialect, PostgreSqlDialect};

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

#[derive(Debug)]
pub(super) struct Plain;

impl Dialect for Plain {
    fn dialect(&self) -> TypeId {
        POSTGRES.dialect()
    }

    fn supports_geometric_types(&self) -> bool {
        false
    }

    // What the tokenizer asks for and Postgres answers in its own way.

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        POSTGRES.is_delimited_identifier_start(c)
    }

    fn is_identifier_start(&self, c: char) -> bool {
        POSTGRES.is_identifier_start(c)
    }

    fn is_identifier_part(&self, c: char) -> bool {
        POSTGRES.is_identifier_part(c)
    }

    fn is_custom_operator_part(&self, c: char) -> bool {
        POSTGRES.is_custom_operator_part(c)
    }

    // It reads escapes before it knows of UESCAPE: `unicode` puts these together again.
    fn supports_unicode_string_literal(&self) -> bool {
        false
    }

    fn supports_string_escape_constant(&self) -> bool {
        POSTGRES.supports_string_escape_constant()
    }

    fn supports_nested_comments(&self) -> bool {
        POSTGRES.supports_nested_comments()
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        POSTGRES.supports_numeric_literal_underscores()
    }

    fn supports_non_decimal_integer_literals(&self) -> bool {
        POSTGRES.supports_non_decimal_integer_literals()
    }

    fn supports_tilde_like_match_operator(&self) -> bool {
        POSTGRES.supports_tilde_like_match_operator()
    }
}
