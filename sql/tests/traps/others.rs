//! Documents, bytes, bits, addresses, and what is left of rows and arrays.

use super::Answer::{Error, False, Null, Refused, True};
use super::check;

#[test]
fn rows_among_constant_rows_with_null() {
    check(&[
        ("(1, NULL) IN (SELECT 2, 3)", &[], False),
        ("(1, NULL) IN (SELECT 1, NULL::int4)", &[], Null),
        ("(1, 2) IN (SELECT 1, NULL::int4)", &[], Null),
        ("(1, 2) NOT IN (SELECT 3, NULL::int4)", &[], True),
        ("i4 IN (SELECT 1 UNION SELECT NULL::int4)", &[("i4", "5")], Null),
        ("i4 NOT IN (SELECT 1 UNION SELECT NULL::int4)", &[("i4", "5")], Null),
        ("i4 IN (SELECT 1 UNION SELECT NULL::int4)", &[], Null),
        ("i4 NOT IN (SELECT 1)", &[], Null),
        ("i4 = ANY (SELECT 1 UNION SELECT NULL::int4)", &[("i4", "1")], True),
        ("(NULL::bool AND false) OR NOT NULL::bool", &[], Null),
        // Nothing but NULL is text.
        ("(1, NULL) IN (SELECT 1, NULL)", &[], Null),
        ("(1, NULL) NOT IN (SELECT 2, NULL)", &[], True),
        ("(1, 2) IN (SELECT 1, NULL)", &[], Error),
        ("(1, 2) NOT IN (SELECT 3, NULL)", &[], Error),
        ("i4 IN (VALUES (NULL), (NULL))", &[], Error),
        ("t IN (SELECT NULL)", &[("t", "a")], Null),
        // An array that is NULL has no elements, and one of its elements may be.
        ("i4 IN (SELECT unnest(ia))", &[("i4", "1")], False),
        ("i4 NOT IN (SELECT unnest(ia))", &[], True),
        ("i4 NOT IN (SELECT unnest(ia))", &[("i4", "1"), ("ia", "{2,NULL}")], Null),
        ("i4 IN (SELECT unnest(ia))", &[("i4", "1"), ("ia", "{{2},{1}}")], True),
        ("i4 NOT IN (SELECT unnest(NULL::int4[]))", &[], True),
    ]);
}

#[test]
fn text_without_a_collation_has_that_of_the_database() {
    check(&[
        ("lower(j ->> 'a') = 'é'", &[("j", "{\"a\": \"É\"}")], True),
        ("j ->> 'a' ILIKE 'é%'", &[("j", "{\"a\": \"Éa\"}")], True),
        ("upper(t::text) LIKE upper('%é%')", &[("t", "aÉb")], True),
        ("t = lower('É')", &[("t", "é")], True),
        ("t = lower('É' COLLATE \"C\")", &[("t", "é")], False),
        ("i4::text < '5' AND m::text ILIKE 'O%'", &[("i4", "10"), ("m", "ok")], True),
        // A name's is "C", which goes before that of the database.
        ("lower('É'::name) = 'É'", &[], True),
        ("lower(t || 'É'::name) = 'aÉ'", &[("t", "A")], True),
        ("t ILIKE ('É%'::name)::text", &[("t", "éa")], False),
        ("lower((ARRAY['É'::name]::text[])[1]) = 'É'", &[], True),
        ("lower(i4::name || t) = '1É'", &[("i4", "1"), ("t", "É")], True),
        ("ci = 'É'::name::citext", &[("ci", "É")], Refused),
        // Postgres refuses the first, too.
        ("t COLLATE \"C\" < t COLLATE \"POSIX\"", &[("t", "a")], Refused),
        ("t COLLATE \"C\" < 'b' AND t COLLATE \"POSIX\" < 'b'", &[("t", "a")], Refused),
        ("t COLLATE \"C\" < (t COLLATE \"C\" || 'b')", &[("t", "a")], True),
    ]);
}

#[test]
fn equal_intervals_have_text_of_their_own() {
    check(&[
        ("iv = '1 mon' AND iv::text = 'P30D'", &[("iv", "P30D")], True),
        ("iv IN ('1 mon', '1 year')", &[("iv", "P30D")], True),
        ("tz > '2024-01-01 00:00'", &[("tz", "2024-01-01 00:00:00+00")], False),
        ("ts::text = '12024-01-01 00:00:00'", &[("ts", "12024-01-01 00:00:00")], True),
        ("iv::interval(0) = '2 s'", &[("iv", "PT1.5S")], True),
        ("iv::interval(0) = '-2 s'", &[("iv", "PT-1.5S")], True),
        ("interval(1) '0.05 s' = '0.1 s'", &[], True),
        ("ttz + interval '1 hour' = '00:30+02'", &[("ttz", "23:30:00+02")], True),
        ("d + ttz = '2024-01-05 21:30+00'", &[("d", "2024-01-05"), ("ttz", "23:30:00+02")], True),
        ("extract(timezone_minute from ttz) = -30", &[("ttz", "23:30:00-05:30")], True),
        ("extract(julian from d) = 2451545", &[("d", "2000-01-01")], True),
        ("extract(julian from ts) = 2451545", &[("ts", "2000-01-01 00:00:00")], Refused),
    ]);
}

#[test]
fn documents_that_are_changed() {
    let of = [("j", r#"{"b": [1, null], "aa": 2, "c": null}"#), ("i4", "0"), ("t", "b")];
    check(&[
        (r#"(j || '{"b": 5, "a": 1}')::text = '{"a": 1, "b": 5, "c": null, "aa": 2}'"#, &of, True),
        ("('1'::jsonb || '2') = '[1, 2]' AND ('[]'::jsonb || '1') = '[1]'", &of, True),
        (r#"('{"a": 1}'::jsonb || '[2]') = '[{"a": 1}, 2]'"#, &of, True),
        (r#"(j - 'b' - '{c,x}'::text[]) = '{"aa": 2}'"#, &of, True),
        (r#"('["a", 1, "a"]'::jsonb - 'a') = '[1]'"#, &of, True),
        ("('[1, 2, 3]'::jsonb - -1) = '[1, 2]' AND ('[1]'::jsonb - 5) = '[1]'", &of, True),
        ("j - i4 IS NULL", &of, Error),
        ("'5'::jsonb - t IS NULL", &of, Error),
        (r#"(j #- '{b,-1}') -> 'b' = '[1]'"#, &of, True),
        ("j #- '{b,x}' IS NULL", &of, Error),
        ("j #- '{b,NULL}' IS NULL", &of, Error),
        ("(j #- '{aa,x}') = j AND (j #- '{}') = j", &of, True),
        (r#"jsonb_strip_nulls(j) = '{"b": [1, null], "aa": 2}'"#, &of, True),
        ("j['b'][0] = '1' AND j[t][i4] = '1' AND j['b'][-1] = 'null'", &of, True),
        ("j['b'][5] IS NULL AND j[NULL] IS NULL AND j['x']['y'] IS NULL", &of, True),
        ("j['a':'b'] IS NULL", &of, Error),
        ("j[lower(t)] IS NULL", &of, Refused),
        ("j['b']['\u{a0}0'] IS NULL AND j['b'][' 0'] = '1'", &of, True),
    ]);
}

#[test]
fn bytes_and_bits() {
    let of = [("by", r"\x00616263ff"), ("bt", "1010"), ("vb", "101"), ("i4", "9")];
    check(&[
        (r"encode(by, 'escape') = '\000abc\377' AND encode(by, 'hex') = '00616263ff'", &of, True),
        ("encode(by, 'base64') = 'AGFiY/8='", &of, True),
        (r"decode('AGFi Y/8=', 'base64') = by AND decode('\000abc\377', 'escape') = by", &of, True),
        ("decode('AGF', 'base64') = by", &of, Error),
        (r"decode('\x41', 'escape') = by", &of, Error),
        ("encode(by, 'utf8') = 'a'", &of, Error),
        ("octet_length(encode(decode(repeat('00', 57), 'hex'), 'base64')) = 77", &of, True),
        ("get_byte(by, 4) = 255 AND get_bit(by, 8) = 1 AND bit_length(by) = 40", &of, True),
        ("get_byte(by, i4) = 0", &of, Error),
        (r"substring(by from 2 for 1) = 'a' AND substring(by from -1 for 3) = '\x00'", &of, True),
        (r"position('b'::bytea in by) = 3 AND position(''::bytea in by) = 1", &of, True),
        (r"overlay(by placing 'x' from 1 for 9) = 'x'", &of, True),
        (r"trim('\x00ff'::bytea from by) = 'abc' AND ltrim(by, '\x00') <> by", &of, True),
        ("encode(sha224(''), 'hex') LIKE 'd14a028c%'", &of, True),
        ("bt = B'1010' AND bt = X'A' AND bt <> vb AND vb < bt", &of, True),
        ("bt::bit(2) = B'10' AND vb::bit(5) = B'10100' AND '11'::bit = B'1'", &of, True),
        ("(bt & B'1100') = B'1000' AND (~ bt) = B'0101' AND (bt << 1) = B'0100'", &of, True),
        ("bt & B'1' = B'1'", &of, Error),
        ("vb = '102'", &of, Error),
        ("length(vb || B'1') = 4 AND vb::text = '101' AND get_bit(bt, 0) = 1", &of, True),
        ("bt::int4 = 10", &of, Refused),
    ]);
}

#[test]
fn what_nothing_is_cut_to() {
    for unit in
        ["julian", "j", "jd", "timezone_h", "timezone_hour", "timezone_m", "timezone_minute"]
    {
        for cut in ["ts", "tz", "iv", "tz, 'UTC'"] {
            let clause = format!("date_trunc('{unit}', {cut}) IS NULL");
            check(&[(&clause, &[], Refused)]);
        }
    }
}

#[test]
fn addresses_and_positions() {
    let of = [("mac", "08:00:2b:01:02:03"), ("x8", "18446744073709551615"), ("ls", "16/B374D848")];
    check(&[
        ("mac = '08-00-2B-01-02-03' AND mac < 'f0:00:00:00:00:00'", &of, True),
        ("mac = '08002b:010203'", &of, Error),
        ("x8 > '9' AND x8 IN ('1', '18446744073709551615')", &of, True),
        ("x8 = '010'", &of, Error),
        ("ls > '9/0' AND ls = '16/b374d848' AND ls::text = '16/B374D848'", &of, True),
        ("net + 1 = '10.0.1.0/8' AND net - 255 = '10.0.0.0/8'", &[("net", "10.0.0.255/8")], True),
        ("net + 1 > net", &[("net", "255.255.255.255")], Error),
        ("net - '10.0.0.1' = -1", &[("net", "10.0.0.0")], True),
        ("net - '0.0.0.1' = 1", &[("net", "::2")], Error),
        // As text they have their size, but not where they are printed.
        ("net || '' = '10.0.0.1/32' AND '' || net = '10.0.0.1/32'", &[("net", "10.0.0.1")], True),
        ("net || '' = '::1/128'", &[("net", "::1")], True),
        ("quote_literal(net) = '''10.0.0.1/32'''", &[("net", "10.0.0.1")], True),
        ("quote_nullable(net) = '''10.0.0.1/32'''", &[("net", "10.0.0.1")], True),
        ("concat_ws(',', net, 'x') = '10.0.0.1,x'", &[("net", "10.0.0.1")], True),
        ("format('%s %L', net, net) = '10.0.0.1 ''10.0.0.1'''", &[("net", "10.0.0.1")], True),
        ("array_to_string(array[net], ',') = '10.0.0.1'", &[("net", "10.0.0.1")], True),
        ("to_jsonb(net) = '\"10.0.0.1\"'", &[("net", "10.0.0.1")], True),
        (
            "net & '0.0.0.255' = '0.0.0.1/32' AND ~ net = '245.255.255.254/8'",
            &[("net", "10.0.0.1/8")],
            True,
        ),
    ]);
}

#[test]
fn parts_of_text_and_arrays() {
    let of = [("t", "aébc"), ("ia", "[0:3]={1,NULL,3,1}"), ("i4", "0")];
    check(&[
        ("overlay(t placing 'xx' from 2 for 1) = 'axxbc'", &of, True),
        ("overlay(t placing 'xx' from 9) = 'aébcxx'", &of, True),
        ("overlay(t placing 'xx' from i4) = 'a'", &of, Error),
        ("overlay(t placing 'xx' from 2 for 2147483647) = 'a'", &of, Error),
        ("num_nulls(t, NULL, i4) = 1 AND num_nonnulls(t, NULL, i4) = 2", &of, True),
        ("array_positions(ia, 1) = '{0,3}' AND array_positions(ia, NULL) = '{1}'", &of, True),
        ("array_replace(ia, NULL, 7)::text = '[0:3]={1,7,3,1}'", &of, True),
        ("array_dims(ia) = '[0:3]' AND array_dims('{}'::int4[]) IS NULL", &of, True),
        ("trim_array(ia, 1) = '{1,NULL,3}' AND trim_array(ia, 4) = '{}'", &of, True),
        ("trim_array(ia, 5) = '{}'", &of, Error),
        ("i4::char(3) = '0' AND octet_length(i4::char(3)) = 3", &of, True),
    ]);
}

#[test]
fn a_collation_gives_no_type() {
    let of = [("bp", "ab  "), ("t", "ab"), ("i4", "5")];
    check(&[
        ("'ab ' COLLATE \"C\" = bp AND bp = 'ab   ' COLLATE \"C\"", &of, True),
        ("t = 'ab ' COLLATE \"C\"", &of, False),
        ("i4 = '5' COLLATE \"C\"", &of, True),
        ("i4 = 'x' COLLATE \"C\"", &of, Error),
        ("t < 'b' COLLATE \"C\" AND t > NULL COLLATE \"C\" IS NULL", &of, True),
        ("i4 COLLATE \"C\" = 5", &of, Refused),
    ]);
}
