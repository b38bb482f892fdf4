//! Whole numbers, numerics and floats.

use super::Answer::{Error, False, Refused, True};
use super::check;

#[test]
fn square_roots_of_numerics() {
    let of = [("n", "2"), ("f8", "2")];
    check(&[
        ("sqrt(n)::text = '1.414213562373095'", &of, True),
        ("sqrt(n + 0.00)::text = '1.414213562373095'", &of, True),
        ("sqrt(0.0)::text = '0.000000000000000'", &[], True),
        ("sqrt(0.00000002)::text = '0.0001414213562373095'", &[], True),
        ("sqrt(1e-20)::text = '0.0000000001000000000000000'", &[], True),
        ("sqrt(99999999::numeric)::text = '9999.9999499999999'", &[], True),
        ("sqrt(9999.99)::text = '99.999949999987500'", &[], True),
        ("sqrt(1e100) = 1e50", &[], True),
        ("sqrt('NaN'::numeric) = 'NaN'", &[], True),
        ("sqrt('Infinity'::numeric) = 'Infinity'", &[], True),
        ("sqrt(- n) > 0", &of, Error),
        ("sqrt(- '-Infinity'::numeric) > 0", &[], True),
        ("|/ n = sqrt(f8)", &of, True),
    ]);
}

#[test]
fn powers_and_logarithms_of_numerics() {
    let two = [("n", "2"), ("i4", "2")];
    let zero = [("n", "0.0")];
    check(&[
        ("(n ^ 2.00)::text = '4.0000000000000000'", &two, True),
        ("(12.0 ^ 2)::text = '144.0000000000000000'", &[], True),
        ("power(n, -1)::text = '0.5000000000000000'", &two, True),
        ("pow(n, 0.5)::text = '1.4142135623730950'", &two, True),
        ("(n ^ 0)::text = '1.0000000000000000'", &zero, True),
        ("(n ^ -3)::text = '0.1250000000000000'", &two, True),
        ("(n ^ n)::text = '1.0000000000000000'", &zero, True),
        ("(n ^ -1) = 0", &zero, Error),
        ("((- n) ^ 3.0)::text = '-8.0000000000000000'", &two, True),
        ("(- n) ^ 0.5 > 0", &two, Error),
        ("n ^ 2147483647 > 0", &two, Error),
        ("n ^ 13000 > 0", &two, True),
        ("n ^ 14000 > 0", &two, Error),
        ("(n ^ -60000)::text = '0.0000000000000000'", &two, True),
        ("(- n - 2 ^ 2.0)::text = '-6.0000000000000000'", &two, True),
        ("(n ^ 3 ^ 2)::text = '64.0000000000000000'", &two, True),
        ("'NaN'::numeric ^ 0 = 1 AND 1::numeric ^ 'NaN' = 1", &[], True),
        ("(-1.0) ^ 'Infinity'::numeric = 1 AND '-Infinity'::numeric ^ 3 = '-Infinity'", &[], True),
        ("0.5 ^ '-Infinity'::numeric = 'Infinity' AND exp('-Infinity'::numeric) = 0", &[], True),
        ("exp(n - 1)::text = '2.7182818284590452'", &two, True),
        ("exp(n - 2)::text = '1.0000000000000000'", &two, True),
        ("exp(n * 3000) > 0", &two, Error),
        ("exp(n * -3000) = 0", &two, True),
        ("ln(n)::text = '0.6931471805599453'", &two, True),
        ("ln(n - 1)::text = '0.0000000000000000'", &two, True),
        ("ln(n) > 0 OR ln(- n - 1) > 0", &zero, Error),
        ("log(n * 50)::text = '2.0000000000000000'", &two, True),
        ("log10(n)::text = '0.3010299956639812'", &two, True),
        ("log(n, 10)::text = '3.3219280948873623'", &two, True),
        ("log(n - 1, 10) > 0", &two, Error),
        ("log('Infinity', n) = 0", &two, True),
        ("(3.5 ^ 1900)::text <> n::text AND 1e999 * 1e999 > n", &two, True),
        // Of integers and floats the C library decides.
        ("i4 ^ 2 = 4", &two, Refused),
        ("ln(i4) > 0", &two, Refused),
        ("power(n, 2::float8) = 4", &two, Refused),
        ("exp(f8) > 0", &[("f8", "1")], Refused),
    ]);
}

#[test]
fn integers() {
    check(&[
        ("2147483647 + 1 = 0", &[], Error),
        ("32767::int2 + 1::int2 = 0", &[], Error),
        ("i8 + 1 > 0", &[("i8", "9223372036854775807")], Error),
        ("i2 + 1 = 32768", &[("i2", "32767")], True),
        ("i4 / (-1) = 0", &[("i4", "-2147483648")], Error),
        ("i4 % (-1) = 0", &[("i4", "-2147483648")], True),
        ("- i2 = 0", &[("i2", "-32768")], Error),
        ("-7 / 2 = -3", &[], True),
        ("-7 % 2 = -1", &[], True),
        ("7 % -2 = 1", &[], True),
        ("1/0 = 1", &[], Error),
        ("5 % i4 = 1", &[("i4", "0")], Error),
        ("0::numeric / 0 = 1", &[], Error),
        ("1/0 = 1 OR true", &[], Error),
        ("1 / i4 = 1 OR true", &[("i4", "0")], True),
        ("1::int2 = 100000", &[], False),
        ("i4 = '100000000000'", &[("i4", "1")], Error),
        ("i4 = 3000000000", &[("i4", "1")], False),
        ("i4 = '1.0'", &[("i4", "1")], Error),
        ("i4 = 1.0", &[("i4", "1")], True),
        ("' 5 '::int = 5", &[], True),
        ("'0x10'::int = 16", &[], Error),
        ("'1_000'::int = 1000", &[], Error),
        ("5::bool", &[], True),
        ("0::bool", &[], False),
        ("(-1)::bool", &[], True),
        ("i2::bool", &[("i2", "1")], Refused),
        ("i8 < 9223372036854775808", &[("i8", "9223372036854775807")], True),
        ("9223372036854775808 / 2 = 4611686018427387904.0", &[], True),
        ("i4 OPERATOR(pg_catalog.+) 1 OPERATOR(=) 3", &[("i4", "2")], True),
        ("i4 OPERATOR(*) 2 + 1 = 6", &[("i4", "2")], True),
        ("i4 OPERATOR(=) ANY('{1,2}')", &[("i4", "2")], True),
        ("i4 OPERATOR(other.=) 2", &[("i4", "2")], Refused),
        ("i4 OPERATOR(pg_catalog.) 2", &[("i4", "2")], Refused),
    ]);
}

#[test]
fn numerics_and_floats() {
    check(&[
        ("0.1 + 0.2 = 0.3", &[], True),
        ("n = '12345678901234567890.1'", &[("n", "12345678901234567890.2")], False),
        ("n = 1.5", &[("n", "1.50")], True),
        ("1.50::text = '1.50'", &[], True),
        ("(1.1*1.10)::text = '1.210'", &[], True),
        ("(1::numeric/3)::text = '0.33333333333333333333'", &[], True),
        ("(10::numeric/3)::text = '3.3333333333333333'", &[], True),
        ("(7.0/2)::text = '3.5000000000000000'", &[], True),
        ("1::numeric/3*3 = 1", &[], False),
        ("i8 = n", &[("i8", "9007199254740993"), ("n", "9007199254740993")], True),
        ("9007199254740993::int8 = 9007199254740992::float8", &[], True),
        ("16777217 = 16777216::float4", &[], False),
        ("'1.1'::float4 = 1.1", &[], False),
        ("'1.1'::float4 = '1.1'::float8", &[], False),
        ("f4 = '1.1'", &[("f4", "1.1")], True),
        ("'NaN'::float8 = 'NaN'", &[], True),
        ("'NaN'::numeric > 'Infinity'", &[], True),
        ("greatest('NaN'::float8, 1)::text = 'NaN'", &[], True),
        ("'NaN' = ANY('{NaN}'::float8[])", &[], True),
        ("'-0'::float8 = 0", &[], True),
        ("'-0'::float8::text = '-0'", &[], True),
        ("f8 * 1e10 > 0", &[("f8", "1e+308")], Error),
        ("'1e400'::float8 > 0", &[], Error),
        ("'1e-400'::float8 > 0", &[], Error),
        ("('Infinity'::float8 - 'Infinity')::text = 'NaN'", &[], True),
        ("('Infinity'::numeric - 'Infinity')::text = 'NaN'", &[], True),
        ("0::float8/0 = 0", &[], Error),
        ("('NaN'::numeric/0)::text = 'NaN'", &[], True),
        ("2.5::int = 3", &[], True),
        ("(-2.5)::numeric::int = -3", &[], True),
        ("0.5::numeric::int = 1", &[], True),
        ("2.5::float8::int = 2 AND 1.5::float8::int = 2 AND 0.5::float8::int = 0", &[], True),
        ("(-0.5)::float8::int = 0", &[], True),
        ("1e20::float8::int8 = 0", &[], Error),
        ("-2 ^ 2 = 4", &[], Refused),
        ("1.005::numeric(10,2) = 1.01", &[], True),
        ("'1e15'::float8::text = '1e+15'", &[], True),
        ("'1.0'::float8::text = '1'", &[], True),
        ("'1e6'::float4::text = '1e+06'", &[], True),
        ("5.5 % 2 = 1.5", &[], True),
        ("2 ^ 3 ^ 2 = 64", &[], Refused),
        ("sqrt(f8) = 2", &[("f8", "-4")], Error),
        ("|/ f8 = 2", &[("f8", "-4")], Error),
        ("2 ^ -1 = 0.5", &[], Refused),
        ("n IN (1.5)", &[("n", "1.500")], True),
    ]);
}
