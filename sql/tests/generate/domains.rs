//! Arrays of domains.

use brooklet_sql::ColumnDomain;
use brooklet_sql::name::literal;

use super::Random;
use super::expression::Template;

/// The domain of a column, or of its elements.
pub fn of(sql_type: &str) -> Option<ColumnDomain> {
    let name = sql_type.trim_end_matches("[]");
    let (oid, modifier) = match name {
        "domain_int" => (91_000, -1),
        "domain_text" => (91_001, -1),
        "own_int" => (91_002, -1),
        "own_text" => (91_003, -1),
        // `numeric(6,2)`
        "own_digits" => (91_004, (6 << 16 | 2) + 4),
        _ => return None,
    };
    Some(ColumnDomain { oid, modifier, schema: "pg_temp".to_owned(), name: name.to_owned() })
}

pub const SETUP: &str = "
    CREATE DOMAIN own_int AS int4 CHECK (VALUE IS DISTINCT FROM 77);
    CREATE DOMAIN own_text AS text;
    CREATE DOMAIN own_digits AS numeric(6,2);
";

pub const INTEGERS: [&str; 8] =
    ["{}", "{1,2}", "{1,NULL}", "{NULL}", "[0:1]={1,2}", "{2}", "{1,2,3,2}", "{{1,2},{3,4}}"];
pub const TEXTS: [&str; 6] =
    ["{}", "{a,b}", "{NULL,\"NULL\"}", "{\"\",\"a,b\",\"q\\\"\"}", "{a}", "{A,é,\" x\"}"];
pub const DIGITS: [&str; 6] =
    ["{}", "{1.0,2.50}", "{1.005,NULL}", "{NaN}", "{1234.567}", "{-0.004,7}"];

/// What a predicate asks of them.
pub fn clause(random: &mut Random) -> String {
    const OPERATORS: [&str; 9] = ["=", "<>", "<", "<=", ">", ">=", "@>", "<@", "&&"];
    let ints = random.chance(60);
    let (column, whole) = if ints { ("das", "int4[]") } else { ("dts", "text[]") };
    let value = literal(random.pick(if ints { &INTEGERS[..7] } else { &TEXTS }));
    let element = match ints {
        true => random.pick(&["1", "2", "i4", "i2 + 0", "'2'", "3.0", "di", "n"]),
        false => random.pick(&["'a'", "t", "v", "''", "c", "dt", "'é'::text"]),
    };
    let operator = random.pick(&OPERATORS);
    let place = random.pick(&["1", "2", "0", "-1", "i2"]);
    match random.below(14) {
        0 | 1 => format!("({column} {operator} {value})"),
        2 => format!("({value} {operator} {column})"),
        3 => format!("({column}::{whole} {operator} {value}::{whole})"),
        4 | 5 => format!("({element} = ANY({column}))"),
        6 => format!("({element} {} ALL({column}))", random.pick(&["<>", "<", ">="])),
        7 => format!("({column}[{place}] = {element})"),
        8 => format!("({column}[{place}:] {operator} {value})"),
        9 => format!("({column} IS DISTINCT FROM {value})"),
        10 => format!("({column} IN ({value}, '{{}}'))"),
        11 => format!("(array_position({column}::{whole}, {element}) = 1)"),
        12 => format!("(cardinality({column}) > 1)"),
        _ => format!("({column} {operator} {column})"),
    }
}

/// The same of values.
pub const DOMAIN_TEMPLATES: &[Template] = &[
    ("bool", "({} @> {})", &["own_int[]", "own_int[]"]),
    ("bool", "({} <@ {})", &["own_digits[]", "own_digits[]"]),
    ("bool", "({} && {})", &["own_text[]", "own_text[]"]),
    ("bool", "({} = ANY({}))", &["int4", "own_int[]"]),
    ("bool", "({} = ANY({}))", &["numeric", "own_digits[]"]),
    ("bool", "({} <> ALL({}))", &["text", "own_text[]"]),
    ("bool", "({} < ANY({}))", &["int8", "own_int[]"]),
    ("bool", "({} LIKE ANY({}))", &["text", "own_text[]"]),
    ("bool", "({} @> {})", &["own_int[]", "int4[]"]),
    ("bool", "({} = {}::own_int[])", &["own_int[]", "own_int[]"]),
    ("int4", "(({})[{}])", &["own_int[]", "k"]),
    ("numeric", "(({})[{}])", &["own_digits[]", "k"]),
    ("text", "(({})[{}])", &["own_text[]", "k"]),
    ("own_int[]", "(({})[{}:{}])", &["own_int[]", "k", "k"]),
    ("own_int[]", "({} || {})", &["own_int[]", "own_int[]"]),
    ("own_int[]", "array_append({}, oa[1])", &["own_int[]"]),
    ("own_int[]", "array_remove({}, '1')", &["own_int[]"]),
    ("own_digits[]", "array_append({}, '1.005')", &["own_digits[]"]),
    ("own_text[]", "array_replace({}, 'a', 'b')", &["own_text[]"]),
    ("int4[]", "({} || {})", &["own_int[]", "int4"]),
    ("int4[]", "array_prepend({}, {})", &["int4", "own_int[]"]),
    ("int4[]", "{}::int4[]", &["own_int[]"]),
    ("int4[]", "{}::int4[]", &["own_digits[]"]),
    ("text[]", "{}::text[]", &["own_int[]"]),
    ("text[]", "array_append({}, {})", &["own_text[]", "varchar"]),
    ("numeric[]", "{}::numeric[]", &["own_digits[]"]),
    ("text", "{}::text", &["own_digits[]"]),
    ("text", "array_to_string({}, '-', 'x')", &["own_text[]"]),
    ("int4", "cardinality({})", &["own_int[]"]),
    ("int4", "array_position({}, {})", &["own_int[]", "int4"]),
    ("int4", "array_position({}, '1')", &["own_int[]"]),
    ("int4[]", "array_positions({}, oa[2])", &["own_int[]"]),
];
