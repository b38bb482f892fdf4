//! Every kind, with the values that it holds and those that it must not.

use super::*;

fn column(oid: u32, modifier: i32) -> Column {
    Column {
        base_type_oid: oid,
        type_oid: oid,
        type_modifier: modifier,
        dropped: false,
        ..Column::gone()
    }
}

fn numeric(precision: i32, scale: i32) -> Kind {
    Kind::of(&column(1700, (precision << 16 | (scale & 0x7FF)) + 4))
}

#[test]
fn kinds_follow_from_declarations() {
    for (oid, kind) in [
        (16, Kind::Bool),
        (17, Kind::Bytes),
        (18, Kind::Text),
        (19, Kind::Text),
        (20, Kind::Int8),
        (21, Kind::Int2),
        (22, Kind::Text),
        (23, Kind::Int4),
        (25, Kind::Text),
        (26, Kind::Text),
        (30, Kind::Text),
        (114, Kind::Json),
        (600, Kind::Text),
        (700, Kind::Float4),
        (701, Kind::Float8),
        (790, Kind::Text),
        (869, Kind::Text),
        (1042, Kind::Text),
        (1043, Kind::Text),
        (1082, Kind::Date),
        (1083, Kind::Time),
        (1114, Kind::Timestamp),
        (1184, Kind::Timestamptz),
        (1186, Kind::Text),
        (1266, Kind::Text),
        (1700, Kind::Text),
        (2950, Kind::Uuid),
        (3802, Kind::Json),
        (3904, Kind::Text),
        (1_000_000, Kind::Text),
    ] {
        assert_eq!(Kind::of(&column(oid, -1)), kind, "{oid}");
    }
    let list = |oid, modifier| Kind::of(&column(oid, modifier));
    assert_eq!(list(1007, -1), Kind::List(Box::new(Kind::Int4)));
    assert_eq!(list(199, -1), Kind::List(Box::new(Kind::Json)));
    // Boxes are separated by semicolons, intervals have no kind: arrays of either are text.
    assert_eq!((list(1020, -1), list(1187, -1)), (Kind::Text, Kind::Text));
    let two = Column { dimensions: 2, ..column(1007, -1) };
    assert_eq!(Kind::of(&two), Kind::Text);
    let mood = Column { labels: vec!["a".into()], ..column(90_000, -1) };
    assert_eq!(Kind::of(&mood), Kind::Text);
    let moods = Column { element_type_oid: 89_999, ..mood };
    assert_eq!(Kind::of(&moods), Kind::List(Box::new(Kind::Text)));
}

#[test]
fn decimals_have_room_for_every_scale() {
    let kind = |precision, scale| Kind::Decimal { precision, scale };
    assert_eq!(numeric(8, 2), kind(8, 2));
    assert_eq!(numeric(38, 38), kind(38, 38));
    assert_eq!(numeric(3, -2), kind(5, 0));
    assert_eq!(numeric(2, 4), kind(4, 4));
    assert_eq!(
        (numeric(39, 0), numeric(37, -2), numeric(2, 39)),
        (Kind::Text, Kind::Text, Kind::Text)
    );
    assert_eq!(numeric(1000, 1000), Kind::Text);
    assert_eq!(Kind::of(&column(1231, (8 << 16 | 2) + 4)), Kind::List(Box::new(kind(8, 2))));
}

#[test]
fn numbers_are_exact_or_nothing() {
    assert_eq!((boolean("t"), boolean("f"), boolean("yes")), (Some(true), Some(false), None));
    assert_eq!(number::<i16>("-32768"), Some(i16::MIN));
    assert_eq!((number::<i16>("32768"), number::<i64>("")), (None, None));
    assert_eq!(number::<i64>("9223372036854775807"), Some(i64::MAX));
    assert!(number::<f64>("NaN").is_some_and(f64::is_nan));
    assert_eq!(number::<f32>("-Infinity"), Some(f32::NEG_INFINITY));
    assert_eq!(number::<f64>("-0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
    assert_eq!(number::<f64>("5e-324"), Some(5e-324));
    assert_eq!(decimal("-12.50", 8, 2), Some(-1250));
    assert_eq!(decimal("1200", 5, 0), Some(1200));
    assert_eq!(decimal("0.0012", 4, 4), Some(12));
    assert_eq!(decimal("7", 4, 2), Some(700));
    let nines = "9".repeat(38);
    assert_eq!(decimal(&nines, 38, 0), Some(10_i128.pow(38) - 1));
    for text in
        ["NaN", "Infinity", "-Infinity", "", "-", ".", "-.", "1e5", "100.00", "1.001", "--1", "+1"]
    {
        assert_eq!(decimal(text, 4, 2), None, "{text}");
    }
    assert_eq!(decimal(&"9".repeat(500), 38, 0), None);
    assert_eq!(decimal("1", u8::MAX, 0), None);
}

#[test]
fn instants_count_from_1970_and_stop_where_they_cannot() {
    assert_eq!(date("1970-01-01"), Some(0));
    assert_eq!(date("2000-02-29"), Some(11_016));
    assert_eq!(date("4714-11-24 BC"), Some(-2_440_588));
    assert_eq!(date("5874897-12-31"), Some(2_145_042_905));
    assert_eq!((date("infinity"), date("-infinity"), date("x")), (None, None, None));
    assert_eq!(time("23:59:59.999999"), Some(DAY_MICROS - 1));
    assert_eq!((time("24:00:00"), time("00:00:00+01"), time("")), (None, None, None));
    assert_eq!(timestamp("1970-01-01 00:00:00.000001"), Some(1));
    assert_eq!(timestamp("1969-12-31 23:59:59"), Some(-1_000_000));
    assert_eq!(timestamptz("1970-01-01 00:00:00+00"), Some(0));
    assert_eq!(timestamptz("0044-03-15 12:00:00+00 BC"), Some(-63_517_780_800_000_000));
    assert_eq!(timestamp("4714-11-24 00:00:00 BC"), Some(-2_440_588 * DAY_MICROS));
    assert_eq!(timestamp("294247-01-10 04:00:54.775807"), Some(i64::MAX));
    for text in [
        "294247-01-10 04:00:54.775808",
        "294276-12-31 23:59:59.999999",
        "infinity",
        "-infinity",
        "",
    ] {
        assert_eq!(timestamp(text), None, "{text}");
        assert_eq!(timestamptz(&format!("{text}+00")), None, "{text}");
        assert_eq!(timestamptz(text), None, "{text}");
    }
}

#[test]
fn bytes_uuids_and_items_are_read_as_printed() {
    assert_eq!(bytes("\\x00ff"), Some(vec![0, 255]));
    assert_eq!(bytes("\\x"), Some(vec![]));
    assert_eq!(bytes("\\x0"), None);
    assert_eq!(uuid("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").map(|uuid| uuid[15]), Some(0x11));
    assert_eq!(uuid("a0eebc99"), None);
    let item = |text: &str| Some(text.to_owned());
    assert_eq!(items("{}"), Some(vec![]));
    assert_eq!(
        items(r#"{a,NULL,"NULL","","a \"b\" \\c,{}"}"#),
        Some(vec![item("a"), None, item("NULL"), item(""), item(r#"a "b" \c,{}"#)])
    );
    for text in ["{{1,2},{3,4}}", "[0:1]={1,2}", "{", "}", "", "{1}}", "{,}", "1,2", "[1:1]={1,2}"]
    {
        assert_eq!(items(text), None, "{text}");
    }
    assert_eq!(items("[1:2]={1,2}").map(|items| items.len()), Some(2));
}

#[test]
fn any_text_is_held_or_not_and_nothing_else() {
    let nasty = [
        "",
        " ",
        "-",
        "\\",
        "\\x",
        "{",
        "}",
        "{{",
        "{\"",
        "[",
        "[=",
        "[1:9223372036854775807]={1}",
        "infinity",
        "NaN",
        "ä",
        "\u{1F980}",
        "0000-00-00",
        "9999999-01-01",
        "24:00:00.1",
        "1.",
        "-99999999999999999999999999999999999999999",
        "{NULL}",
        "{\"\\",
        "\0",
    ];
    let scalar = [
        Kind::Bool,
        Kind::Int2,
        Kind::Int4,
        Kind::Int8,
        Kind::Float4,
        Kind::Float8,
        Kind::Decimal { precision: 38, scale: 38 },
        Kind::Bytes,
        Kind::Uuid,
        Kind::Date,
        Kind::Time,
        Kind::Timestamp,
        Kind::Timestamptz,
        Kind::Json,
        Kind::Text,
    ];
    for kind in scalar {
        let list = Kind::List(Box::new(kind.clone()));
        for text in nasty {
            let held = kind.holds(text) || list.holds(text);
            assert!(held || !matches!(kind, Kind::Json | Kind::Text), "{kind:?} {text:?}");
        }
        assert!(list.holds("{NULL}") && !list.holds("{") && !list.holds("{{1},{2}}"));
    }
}
