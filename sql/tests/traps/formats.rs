//! Formats of intervals, and texts read by formats.

use super::Answer::{Error, Refused, True};
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
