//! Where `citext` heeds case and where it does not.

use super::Answer::{False, Refused, True};
use super::check;

#[test]
fn citext_folds_only_where_postgres_does() {
    check(&[
        ("ci = 'ÉA'", &[("ci", "éA")], True),
        ("ci <> 'ÉA'", &[("ci", "éA")], False),
        ("ci IN ('x', 'EA')", &[("ci", "Ea")], True),
        ("ci IN ('x'::text, 'EA')", &[("ci", "Ea")], False),
        ("ci = ANY('{x,EA}')", &[("ci", "Ea")], True),
        ("ci = ANY(ARRAY['x', 'EA'])", &[("ci", "Ea")], False),
        ("ci = ANY(ta)", &[("ci", "Ea"), ("ta", "{EA}")], False),
        ("ci = t", &[("ci", "a"), ("t", "A")], False),
        ("ci = t::citext", &[("ci", "a"), ("t", "A")], True),
        ("ci = 'A'::text", &[("ci", "a")], False),
        ("ci = 'A'::varchar", &[("ci", "a")], False),
        ("ci LIKE 'A%'", &[("ci", "ab")], True),
        ("t LIKE ci", &[("ci", "a"), ("t", "A")], False),
        ("ci LIKE t", &[("ci", "a"), ("t", "A")], True),
        ("ci !~ '^A'", &[("ci", "ab")], False),
        ("ci SIMILAR TO '(A|b)+'", &[("ci", "aB")], True),
        // `_` is between the upper and the lower case of ASCII.
        ("ci < '_'", &[("ci", "Z")], False),
        ("ci::text < '_'", &[("ci", "Z")], True),
        ("ci || 'B' = 'aB'", &[("ci", "a")], True),
        ("ci || 'B' = 'ab'", &[("ci", "a")], False),
        ("starts_with(ci, 'A')", &[("ci", "a")], False),
        ("CASE ci WHEN 'A' THEN true ELSE false END", &[("ci", "a")], True),
        ("coalesce(ci, 'x') = 'X'", &[], True),
        ("coalesce(ci, t) = 'X'", &[("t", "x")], False),
        ("ci IS DISTINCT FROM 'A'", &[("ci", "a")], False),
        ("(ci, 1) IN (('A', 1))", &[("ci", "a")], True),
        ("'A'::citext = 'a'", &[], True),
        ("pg_catalog.citext('A') = 'a'", &[], Refused),
        ("ci COLLATE \"C\" = 'a'", &[], Refused),
        ("strpos(ci, 'A') = 1", &[], Refused),
        ("greatest(ci, 'A') = 'a'", &[], Refused),
        ("ARRAY[ci] = ARRAY['a'::citext]", &[("ci", "A")], True),
        ("'{a}'::citext[] = '{A}'", &[], True),
    ]);
}
