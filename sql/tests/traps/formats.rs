//! Formats of intervals, texts read by formats, times of day, offsets, and what patterns match.

use super::Answer::{Error, False, Refused, True};
use super::check;

#[test]
fn formats_of_lengths_and_texts() {
    let of = [("iv", "P-1M-5DT-26H-3M-4.5S"), ("t", "2024/1 5")];
    check(&[
        ("to_char(iv, 'YYYY MM DD HH24:MI:SS.MS') = '0000 -01 -5 -26:-03:-04.-500'", &of, True),
        ("to_char(iv, 'HH12 AM Q W') = '-02 AM 1 1'", &of, True),
        (
            "to_char(interval '13 mons 100 hours', 'FMYY-FMMM HH24 SSSSS') = '1-1 100 360000'",
            &[],
            True,
        ),
        ("to_char(iv, 'Month') = ''", &of, Refused),
        ("to_char(iv, 'D') = ''", &of, Refused),
        ("to_char(iv, t) = ''", &of, Refused),
        ("to_date(t, 'YYYY-MM-DD') = '2024-01-05'", &of, True),
        ("to_date(t, 'YYYYMMDD') IS NULL", &of, Error),
        ("to_date('02-31', 'MM-DD') = '0001-03-02 BC'", &[], True),
        ("to_date('2023-02-29', 'YYYY-MM-DD') IS NULL", &[], Error),
        ("to_date('', 'YYYY') = '0001-01-01 BC'", &[], True),
        ("to_date('5 sept 2024', 'DD Month YYYY') IS NULL", &[], Error),
        ("to_date('Fri, 5 SEPT 69', 'Dy, DD MonX YY') IS NULL", &[], Refused),
        ("to_date('Fri, 5 SEP 69', 'Dy, DD Mon YY') = '2069-09-05'", &[], True),
        ("to_timestamp('12:30 am 2024', 'HH:MI PM YYYY') = '2024-01-01 00:30+00'", &[], True),
        ("to_timestamp('13:30 pm', 'HH12:MI PM') IS NULL", &[], Error),
        ("to_timestamp('2024 25', 'YYYY MS') = '2024-01-01 00:00:00.25+00'", &[], True),
        ("to_timestamp('20240105 24', 'YYYYMMDD HH24') IS NULL", &[], Error),
        ("to_timestamp(t, 'YYYY MM DD TZH') IS NULL", &of, Refused),
        ("to_timestamp(NULL, 'YYYY') IS NULL", &[], True),
    ]);
}

#[test]
fn times_of_day() {
    let of = [("iv", "-1 mons +2 days -25:00:01.5"), ("tm", "24:00:00"), ("ttz", "23:30:00-05:30")];
    check(&[
        ("ts::time = '00:00'", &[("ts", "2024-01-31 00:00:00")], True),
        ("ts::time = '23:59:59.999999'", &[("ts", "1969-12-31 23:59:59.999999")], True),
        ("ts::time(3) = '24:00'", &[("ts", "1969-12-31 23:59:59.999999")], True),
        ("ts::time IS NULL", &[("ts", "infinity")], True),
        ("'-infinity'::timestamptz::time IS NULL", &[], True),
        ("ts::timetz IS NULL", &[("ts", "infinity")], Refused),
        ("tz::timetz = '10:00+00'", &[("tz", "2024-01-31 10:00:00+00")], True),
        ("tz::timetz = '12:00+02'", &[("tz", "2024-01-31 10:00:00+00")], False),
        ("iv::time = '22:59:58.5'", &of, True),
        ("iv::time = '00:00'", &[("iv", "48:00:00")], True),
        ("tm::interval = '1 day'", &of, True),
        ("tm::timetz = '24:00+00'", &of, True),
        ("ttz::time = '23:30'", &of, True),
        ("'10:00'::time::timestamp IS NULL", &[], Refused),
        // Near the end Postgres subtracts floats.
        (
            "date_part('epoch', tz)::text = '9224318012399.502'",
            &[("tz", "294276-12-31 22:59:59.5+00")],
            True,
        ),
    ]);
}

#[test]
fn offsets_as_intervals() {
    let of = [
        ("ts", "2024-01-31 10:00:00"),
        ("tz", "2024-01-31 10:00:00+00"),
        ("iv", "02:00:00.9"),
        ("ttz", "23:30:00-05:30"),
    ];
    check(&[
        ("timezone(iv, ts) = '2024-01-31 08:00+00'", &of, True),
        ("timezone(iv, tz) = '2024-01-31 12:00'", &of, True),
        ("tz AT TIME ZONE interval '-5:30' = '2024-01-31 04:30'", &of, True),
        ("timezone(iv, ttz)::text = '07:00:00+02'", &of, True),
        ("ttz AT TIME ZONE 'UTC' = '05:00+00'", &of, True),
        ("tz AT TIME ZONE interval '1 day' IS NULL", &of, Error),
        ("timezone(iv, ts) IS NULL", &[("ts", "infinity"), ("iv", "02:00:00")], False),
        ("ts AT TIME ZONE interval '-8:00' = ts", &[("ts", "294276-12-31 23:00:00")], Error),
        ("ttz AT TIME ZONE interval '16:00' = ttz", &of, Refused),
        (
            "timezone(iv, ttz)::text = '10:00:00+100'",
            &[("ttz", "06:00:00+00"), ("iv", "100:00:00")],
            True,
        ),
    ]);
}

#[test]
fn what_a_pattern_matches() {
    let of = [("t", "baac"), ("t2", "a")];
    check(&[
        // An empty match is found right behind another one.
        ("regexp_replace(t, 'a*', 'X', 'g') = 'XbXXcX'", &of, True),
        ("regexp_replace(t, 'a*', 'X') = 'Xbaac'", &of, True),
        ("regexp_replace(t, '', '-', 'g') = '-b-a-a-c-'", &of, True),
        (
            "regexp_replace(t, '(a)(a)', E'[\\\\2\\\\&\\\\\\\\\\\\3\\\\x\\\\]') = E'b[aaa\\\\\\\\x\\\\]c'",
            &of,
            True,
        ),
        ("regexp_replace(t, 'x', 'y', NULL) IS NULL", &of, True),
        ("regexp_replace(t, '^b', '', 'gg') = 'aac'", &of, True),
        ("regexp_replace(t, 'A', '', 'gi') = 'bc'", &of, True),
        ("regexp_replace(t, 'A', '', 'gic') = 'baac'", &of, True),
        ("regexp_replace(t, 'a', '', 'n') = 'bac'", &of, Refused),
        ("regexp_count(t, 'a', 1, 'g') = 2", &of, Refused),
        ("regexp_replace(t, 'A', '', '2') = 'bc'", &of, Refused),
        ("regexp_replace(t, t2, '') = 'bac'", &of, Refused),
        ("regexp_replace(t, 'a|aa', '') = 'bc'", &of, Refused),
        ("regexp_replace(t, '(a|b)+', '') = 'c'", &of, Refused),
        ("regexp_replace(t, 'a+?', '') = 'bac'", &of, Refused),
        ("regexp_match(t, 'a+') = '{aa}'", &of, True),
        ("regexp_match(t, '(b)(a*)(a)(z?)') = '{b,a,a,\"\"}'", &of, True),
        ("regexp_match(t, 'z') IS NULL", &of, True),
        ("substring(t from 'a(.)c') = 'a'", &of, True),
        ("substring(t, 'a.c') = 'aac'", &of, True),
        ("regexp_count(t, 'a?') = 5", &of, True),
        ("regexp_substr(t, '[ac]+$') = 'aac'", &of, True),
    ]);
}

#[test]
fn places_and_options_of_regular_expressions() {
    let of = [("t", "éaAaB"), ("t2", "i")];
    check(&[
        ("regexp_replace(t, 'a', 'x', 3) = 'éaAxB'", &of, True),
        ("regexp_replace(t, 'a', 'x', 1, 2) = 'éaAxB'", &of, True),
        ("regexp_replace(t, 'a', 'x', 2, 0, 'i') = 'éxxxB'", &of, True),
        ("regexp_replace(t, 'a', 'x', 1, 1, 'g') = 'éxAaB'", &of, True),
        ("regexp_replace(t, 'a', 'x', 9) = t", &of, True),
        ("regexp_replace(t, 'a', 'x', 0) = t", &of, Error),
        ("regexp_replace(t, 'a', 'x', 1, -1) = t", &of, Error),
        ("regexp_substr(t, '([a-z])(b)', 1, 1, 'i', 2) = 'B'", &of, True),
        ("regexp_substr(t, 'a', 1, 1, '', 1) = 'a'", &of, True),
        ("regexp_substr(t, 'a', 1, 1, '', 2) IS NULL", &of, True),
        ("regexp_substr(t, 'a', 1, 3) IS NULL", &of, True),
        ("regexp_substr(t, 'a', 1, 0) IS NULL", &of, Error),
        ("regexp_instr(t, 'a', 3) = 4 AND regexp_instr(t, 'a', 1, 1, 1) = 3", &of, True),
        ("regexp_instr(t, 'x') = 0 AND regexp_instr(t, '(a)(B)', 1, 1, 0, '', 2) = 5", &of, True),
        ("regexp_instr(t, 'a', 1, 1, 2) = 3", &of, Error),
        ("regexp_count(t, 'a', 2, 'i') = 3 AND regexp_count(t, '^é', 2) = 0", &of, True),
        ("regexp_count(t, 'x*', 6) = 1 AND regexp_count(t, 'x*', 7) = 0", &of, True),
        ("regexp_match(t, '(b)', 'i') = '{B}' AND regexp_like(t, 'AAAB', 'i')", &of, True),
        ("regexp_like(t, 'AAAB', 'ic')", &of, False),
        ("regexp_like(t, 'AAAB', t2)", &of, Refused),
        ("regexp_like(t, 'AAAB', NULL) IS NULL", &of, True),
    ]);
}

#[test]
fn instants_of_a_zone() {
    let of = [("i4", "2024")];
    check(&[
        ("make_timestamptz(i4, 1, 5, 10, 0, 0, 'utc') = '2024-01-05 10:00Z'", &of, True),
        ("make_timestamptz(i4, 13, 5, 10, 0, 0, 'utc') > '2024-01-05'", &of, Error),
        ("make_timestamptz(i4, 1, 5, 10, 0, 0, 'CEST') > '2024-01-05'", &of, Refused),
        ("make_timestamptz(i4, 1, 5, 10, 0, 0, '+02') > '2024-01-05'", &of, Refused),
    ]);
}
