//! Table tests of the grammar.

use super::*;
use crate::syntax::Query;
use crate::token::tokenize;

/// The tree with every node in brackets.
fn shape(text: &str) -> Result<String, WhereError> {
    let lexemes = tokenize(text)?;
    parse(&lexemes, text.chars().count(), true).map(|node| show(&node))
}

fn show(node: &Node) -> String {
    let children: Vec<String> = node.syntax.children().into_iter().map(show).collect();
    let inner = children.join(" ");
    match &node.syntax {
        Syntax::Column(parts) => parts.join("."),
        Syntax::Number(text) => text.clone(),
        Syntax::Text(text) => format!("'{text}'"),
        Syntax::Parameter(number) => format!("${number}"),
        Syntax::Bool(value) => value.to_string(),
        Syntax::Null => "null".to_owned(),
        Syntax::Moment(word) => word.clone(),
        Syntax::Unary { operator, .. } | Syntax::Binary { operator, .. } => {
            format!("[{operator} {inner}]")
        }
        Syntax::Quantified { operator, all, .. } => {
            format!("[{operator} {} {inner}]", if *all { "all" } else { "any" })
        }
        Syntax::Cast { target, .. } => {
            format!("[{inner}::{target}{:?}]", target.modifiers).replace("[]]", "]")
        }
        Syntax::Named { name, .. } => format!("{name}=>{inner}"),
        Syntax::Call { name, .. } => format!("[{}({inner})]", name.join(".")),
        Syntax::Case { .. } => format!("[case {inner}]"),
        Syntax::Array(_) => format!("[array {inner}]"),
        Syntax::Row(_) => format!("[row {inner}]"),
        Syntax::Subscript { subscripts, .. } => {
            let slice = matches!(subscripts[0], crate::syntax::Subscript::Slice(..));
            format!("[{} {inner}]", if slice { "slice" } else { "at" })
        }
        Syntax::Collate { collation, .. } => format!("[collate {} {inner}]", collation.join(".")),
        Syntax::Not(_) => format!("[not {inner}]"),
        Syntax::And(_) => format!("[and {inner}]"),
        Syntax::Or(_) => format!("[or {inner}]"),
        Syntax::Distinct { negated, .. } => format!("[distinct{} {inner}]", mark(*negated)),
        Syntax::IsNull { negated, .. } => format!("[null{} {inner}]", mark(*negated)),
        Syntax::Test { expected, negated, .. } => {
            format!("[is{} {expected:?} {inner}]", mark(*negated))
        }
        Syntax::In { negated, .. } => format!("[in{} {inner}]", mark(*negated)),
        Syntax::Member { query, negated, .. } => {
            format!("[member{} {} {inner}]", mark(*negated), tables(query))
        }
        Syntax::Exists(query) => format!("[exists {} {inner}]", tables(query)),
        Syntax::Single(query) => format!("[single {} {inner}]", tables(query)),
        Syntax::Between { negated, symmetric, .. } => {
            format!("[between{}{} {inner}]", mark(*negated), if *symmetric { "~" } else { "" })
        }
        Syntax::Like { form, negated, .. } => {
            format!("[{}{} {inner}]", form.words().to_lowercase(), mark(*negated))
        }
    }
}

fn tables(query: &Query) -> String {
    let sources = query.selects().flat_map(|select| &select.sources);
    sources.map(|source| source.table.join(".")).collect::<Vec<_>>().join(",")
}

fn mark(negated: bool) -> &'static str {
    if negated { "!" } else { "" }
}

#[test]
fn precedence_is_that_of_postgres() {
    for (text, tree) in [
        ("a = 1 and b or not c", "[or [and [= a 1] b] [not c]]"),
        ("a and b and (c and d)", "[and a b [and c d]]"),
        ("not a = b", "[not [= a b]]"),
        ("a = not b and c", "[and [= a [not b]] c]"),
        ("a = b is null", "[null [= a b]]"),
        ("not a is null", "[not [null a]]"),
        ("a is true = b", "[= [is Some(true) a] b]"),
        ("a is null is not null", "[null! [null a]]"),
        ("a isnull or b notnull", "[or [null a] [null! b]]"),
        ("a = b like c", "[= a [like b c]]"),
        ("a like b = c", "[= [like a b] c]"),
        ("a not ilike b escape '!'", "[ilike! a b '!']"),
        ("a between 1 and 2 and b", "[and [between a 1 2] b]"),
        ("a not between symmetric 1 and 2", "[between!~ a 1 2]"),
        ("a in (1, -2) = true", "[= [in a 1 -2] true]"),
        ("a is not distinct from b and c", "[and [distinct! a b] c]"),
        ("a = -1::int2", "[= a [- [1::int2]]]"),
        ("- - 5 = - (7)", "[= 5 -7]"),
        (
            "'1'::text::int4 <> cast($1 as double precision)",
            "[<> [['1'::text]::int4] [$1::float8]]",
        ),
        ("d >= date '2024-01-01'", "[>= d ['2024-01-01'::date]]"),
        ("t = timestamp with time zone 'x'", "[= t ['x'::timestamptz]]"),
        ("\"Order\".\"a b\" != t.select", "[<> Order.a b t.select]"),
        ("timestamp > date", "[> timestamp date]"),
        ("A /* x */ = -- y\n 1", "[= a 1]"),
        ("-a ^ 2 + b * c % d", "[+ [^ [- a] 2] [% [* b c] d]]"),
        ("@ a + 1", "[@ [+ a 1]]"),
        ("a ~ b || c", "[|| [~ a b] c]"),
        ("a = (select b from c)", "[= a [single c b]]"),
        ("((select b from c) = 5) = (((a)))", "[= [= [single c b] 5] a]"),
        ("a in ((select b from c), 2)", "[in a [single c b] 2]"),
        ("a in (((select b from c)) union (select d from e))", "[member c,e a b d]"),
        ("a < ((select b from c) union (select d from e) order by 1)", "[< a [single c,e b d]]"),
        ("a || b = c -> 'x' ->> 'y'", "[= [|| a b] [->> [-> c 'x'] 'y']]"),
        ("2 ^ 3 ^ 2", "[^ [^ 2 3] 2]"),
        ("a = any($1) and b", "[and [= any a $1] b]"),
        ("a not like all(b)", "[!~~ all a b]"),
        ("a[1][2] = b[1:]", "[= [at a 1 2] [slice b 1]]"),
        ("a::int4[] = array[1, 2]", "[= [a::int4[]] [array 1 2]]"),
        ("(a, b) < row(1, 2)", "[< [row a b] [row 1 2]]"),
        ("case when a then b else c end", "[case c a b]"),
        ("extract(year from d) = 2024", "[= [extract('year' d)] 2024]"),
        ("position('a' in t) > 1", "[> [position(t 'a')] 1]"),
        (
            "trim(leading 'x' from t) = substring(t from 2 for 3)",
            "[= [ltrim(t 'x')] [substring(t 2 3)]]",
        ),
        ("a at time zone 'utc' > b", "[> [timezone('utc' a)] b]"),
        ("a collate \"C\" < b", "[< [collate C a] b]"),
        ("interval '1' day = i", "[= ['1'::interval] i]"),
        ("a = '1'::varchar(2)", "[= a ['1'::varchar[2]]]"),
        ("left(t, 2) similar to 'a%'", "[similar to [left(t 2)] 'a%']"),
        ("a = current_date", "[= a current_date]"),
    ] {
        assert_eq!(shape(text).as_deref(), Ok(tree), "{text}");
    }
}

const REFUSED: &[(&str, usize, &str)] = &[
    ("a < b < c", 6, "syntax error at or near \"<\""),
    ("a = b = c", 6, "syntax error at or near \"=\""),
    ("a like b like c", 9, "syntax error at or near \"like\""),
    ("a is distinct from b is null", 21, "syntax error at or near \"is\""),
    ("select = 1", 0, "subqueries are not supported"),
    ("order = 1", 0, "syntax error at or near \"order\""),
    ("user = 1", 0, "session values are not supported"),
    ("a = 1; drop table x", 5, "syntax error at or near \";\""),
    ("a = 1 group by b", 6, "syntax error at or near \"group\""),
    ("a = 1 limit 1", 6, "syntax error at or near \"limit\""),
    ("a = 1 union select 2", 6, "syntax error at or near \"union\""),
    ("a =", 3, "syntax error at end of input"),
    ("", 0, "syntax error at end of input"),
    ("a in ()", 6, "syntax error at or near \")\""),
    ("a in (select 1 where true)", 15, "a subquery without FROM is not supported"),
    ("exists (select)", 14, "syntax error at or near \")\""),
    (
        "a in (select b from t order by b + 1)",
        33,
        "in subqueries ORDER BY what is no column is not supported",
    ),
    (
        "a in (select b from t union select c from u order by t.b)",
        53,
        "in subqueries ORDER BY what is no column is not supported",
    ),
    (
        "a in (select b from t order by 2)",
        31,
        "in subqueries ORDER BY what is no column is not supported",
    ),
    ("a in (select b from t order by b limit 1)", 33, "LIMIT in subqueries is not supported"),
    (
        "a in (select b from t right join u on true)",
        22,
        "RIGHT JOIN, write LEFT JOIN; it is not supported",
    ),
    ("a in (select b from t full join u on true)", 22, "FULL JOIN in subqueries is not supported"),
    (
        "a in (select b from t natural join u)",
        22,
        "NATURAL JOIN, write USING (…); it is not supported",
    ),
    ("a in (select b from t join u)", 28, "syntax error at or near \")\""),
    ("a in (select b from t x (c))", 24, "names for the columns of a table are not supported"),
    (
        "a in (select b from t intersect select c from u)",
        22,
        "INTERSECT, to which NULLs are equal, write AND with two INs; it is not supported",
    ),
    (
        "a in (with t as (select 1) select * from t)",
        6,
        "WITH as a subquery, write SELECT; it is not supported",
    ),
    ("a = ((select b from t), 1", 25, "syntax error at end of input"),
    ("a in (values ((1, 2)))", 14, "rows as values are not supported"),
    (
        "a in (select b from (select 1) t)",
        20,
        "parentheses and subqueries in FROM are not supported",
    ),
    ("a in (select b from only t)", 20, "FROM ONLY is not supported"),
    (
        "a > all (select b from t)",
        4,
        "subqueries with ANY and ALL, but for = ANY and <> ALL, are not supported",
    ),
    ("'a'\n'b' = c", 4, "syntax error at or near \"'b'\""),
    ("a is", 4, "syntax error at end of input"),
    ("a not = b", 2, "syntax error at or near \"not\""),
];

#[test]
fn refuses_what_postgres_refuses_and_what_we_lack() {
    for (text, location, reason) in REFUSED {
        assert_eq!(shape(text), Err(WhereError::at(*location, *reason)), "{text}");
    }
}

#[test]
fn subqueries_have_the_place_of_lists() {
    for (text, expected) in [
        ("a in (select b from t)", "[member t a b]"),
        ("a not in (select distinct b from s.t where c = 1)", "[member! s.t a b [= c 1]]"),
        ("(a, b) in (select c, d from t)", "[member t [row a b] c d]"),
        ("a = any (select b from t as u where u.c)", "[member t a b u.c]"),
        ("a <> all (select b from t) and c", "[and [member! t a b] c]"),
        ("a in (select b as x from t order by x desc nulls last, 1)", "[member t a b]"),
        ("a in ((select b y from t union all (select c from u)))", "[member t,u a b c]"),
        ("a in (values (1), (2) union select 3)", "[member  a 1 2 3]"),
        ("(a, b) in (select 1, 2)", "[member  [row a b] [row 1 2]]"),
        (
            "a in (select b from t x, u join v on v.c = u.c left outer join w using (d, e) cross join z where f)",
            "[member t,u,v,w,z a b [= v.c u.c] f]",
        ),
        ("not exists (select * from t where t.a = b)", "[not [exists t [= t.a b]]]"),
    ] {
        assert_eq!(shape(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn depth_is_bounded_and_chains_are_not() {
    let nested = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
    assert!(shape(&nested(WHERE_NESTING_MAX - 1)).is_ok());
    for text in [
        nested(WHERE_NESTING_MAX),
        "(".repeat(60_000),
        "not ".repeat(16_000) + "a",
        "-".to_owned() + &" -".repeat(20_000) + "1",
        format!("1{}", "::int4".repeat(5_000)),
        format!("a{}", " is null".repeat(5_000)),
        format!("a{}", " in (1)".repeat(5_000)),
    ] {
        let reason = shape(&text).unwrap_err().reason;
        assert_eq!(reason, "nested deeper than 128 levels");
    }
    assert!(shape(&format!("a{}", " or a".repeat(12_000))).is_ok());
    assert!(shape(&format!("a{}", " or a and b".repeat(5_000))).is_ok());
    let list = |count: usize| format!("a in (1{})", ",1".repeat(count - 1));
    assert!(shape(&list(IN_LIST_ELEMENTS_MAX)).is_ok());
    assert!(shape(&list(IN_LIST_ELEMENTS_MAX + 1)).unwrap_err().reason.contains("16384 elements"));
}
