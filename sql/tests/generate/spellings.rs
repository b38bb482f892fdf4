//! What may be written in several ways.

use super::expression::Template;

pub const SPELLED_TEMPLATES: &[Template] = &[
    ("bool", "({} ISNULL)", &["any"]),
    ("bool", "({} NOTNULL)", &["any"]),
    ("bool", "({} != {})", &["any", "any"]),
    ("bool", "({} OPERATOR(pg_catalog.=) {})", &["int4", "int4"]),
    ("int4", "({} OPERATOR(pg_catalog.+) {})", &["int4", "int4"]),
    ("bool", "({} OPERATOR(~~) 'a%')", &["text"]),
    ("bool", "({} = SOME({}))", &["int4", "int4[]"]),
    ("bool", "({} LIKE ALL({}))", &["text", "text[]"]),
    ("bool", "({} NOT LIKE ANY({}))", &["text", "text[]"]),
    ("bool", "({} NOT ILIKE ALL('{a%,\"%B\"}'))", &["text"]),
    ("bool", "(NOT {} = {})", &["any", "any"]),
    ("bool", "({} BETWEEN SYMMETRIC {} AND {})", &["any", "any", "any"]),
    ("text", "({} || U&'\\0061\\d83d\\de00' || E'\\u0062\\n\\x41\\101' || $$c'$$)", &["text"]),
    ("text", "({} || U&'!0061' UESCAPE '!' || $tag$x$tag$)", &["text"]),
    ("int4", "CAST({} AS int)", &["int8"]),
    ("float8", "CAST({} AS double precision)", &["int4"]),
    ("numeric", "({} + 1e2 - .5 + 5. * 3000000000)", &["numeric"]),
    ("interval", "({} - timestamp with time zone '2024-01-31 10:00+02')", &["timestamptz"]),
    ("interval", "({} + interval '1' month - interval '2' day)", &["interval"]),
    ("text", "/* one /* two */ */ lower({})", &["text"]),
];
