//! Every message kind, and every way to cut it short.

use super::*;

fn bytes(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

fn samples() -> Vec<(Bytes, Message)> {
    let text = |t: &'static str| TupleColumn::Text(Bytes::from_static(t.as_bytes()));
    let begin = bytes(&[b"B", &7u64.to_be_bytes(), &8i64.to_be_bytes(), &9u32.to_be_bytes()]);
    let commit = bytes(&[b"C\0", &7u64.to_be_bytes(), &8u64.to_be_bytes(), &9i64.to_be_bytes()]);
    let relation = bytes(&[
        b"R\0\0\0\x2apublic\0issues\0f\0\x02",
        b"\x01id\0\0\0\0\x14\xff\xff\xff\xff",
        b"\x01title\0\0\0\0\x19\xff\xff\xff\xff",
    ]);
    let column =
        |name: &str, type_oid| RelationColumn { name: name.into(), type_oid, type_modifier: -1 };
    let tuple: &[u8] = b"\0\x03t\0\0\0\x011nu";
    let columns = || vec![text("1"), TupleColumn::Null, TupleColumn::Unchanged];
    let update = |parts: &[&[u8]]| bytes(&[b"U\0\0\0\x2a", &parts.concat()]);
    vec![
        (begin, Message::Begin { final_lsn: Lsn(7), time: 8, xid: 9 }),
        (commit, Message::Commit { lsn: Lsn(7), end_lsn: Lsn(8), time: 9 }),
        (
            relation,
            Message::Relation(Relation {
                oid: 42,
                name: RelationName { schema: "public".into(), table: "issues".into() },
                identity: ReplicaIdentity::Full,
                columns: vec![column("id", 20), column("title", 25)],
                order: Vec::new(),
            }),
        ),
        (bytes(&[b"I\0\0\0\x2aN", tuple]), Message::Insert { table: 42, new: columns() }),
        (update(&[b"N", tuple]), Message::Update { table: 42, old: None, new: columns() }),
        (
            update(&[b"O", tuple, b"N", tuple]),
            Message::Update { table: 42, old: Some(OldTuple::Full(columns())), new: columns() },
        ),
        (
            update(&[b"K", tuple, b"N", tuple]),
            Message::Update { table: 42, old: Some(OldTuple::Key(columns())), new: columns() },
        ),
        (
            bytes(&[b"D\0\0\0\x2aO", tuple]),
            Message::Delete { table: 42, old: OldTuple::Full(columns()) },
        ),
        (
            bytes(&[b"D\0\0\0\x2aK", tuple]),
            Message::Delete { table: 42, old: OldTuple::Key(columns()) },
        ),
        (
            bytes(&[b"T\0\0\0\x02\x01\0\0\0\x2a\0\0\0\x2b"]),
            Message::Truncate { tables: vec![42, 43] },
        ),
        (bytes(&[b"Y\0\0\0\x2apublic\0mood\0"]), Message::Type),
        (bytes(&[b"O", &7u64.to_be_bytes(), b"origin\0"]), Message::Origin),
        (bytes(&[b"M\x01", &7u64.to_be_bytes(), b"p\0\0\0\0\x02ab"]), Message::Logical),
    ]
}

#[test]
fn every_kind_is_read_and_every_prefix_of_it_is_refused() {
    for (bytes, message) in samples() {
        assert_eq!(decode(bytes.clone()).unwrap(), message);
        for cut in 0..bytes.len() {
            assert!(decode(bytes.slice(..cut)).is_err(), "{message:?} cut at {cut}");
        }
        assert!(decode([bytes.as_ref(), b"x"].concat().into()).is_err(), "{message:?} and more");
    }
}

#[test]
fn no_byte_changed_anywhere_panics() {
    for (bytes, _) in samples() {
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut changed = bytes.to_vec();
                changed[at] = value;
                let _ = decode(changed.into());
            }
        }
    }
}

#[test]
fn an_unchanged_value_comes_from_the_old_row_or_is_an_error() {
    let text = |text: &'static str| TupleColumn::Text(text.into());
    let old = [text("1"), TupleColumn::Null, text("big")];
    let mut tuple = [text("2"), TupleColumn::Null, TupleColumn::Unchanged];
    assert!(row(tuple.iter()).is_err());
    complete(&mut tuple, &old).unwrap();
    let new = row(tuple.iter()).unwrap();
    assert_eq!(new, Row::new([Some("2"), None, Some("big")]).unwrap());
    assert!(complete(&mut [TupleColumn::Unchanged], &[TupleColumn::Null]).is_err());
    assert!(row([TupleColumn::Text(Bytes::from_static(b"\xff"))].iter()).is_err());
}

#[test]
fn the_fuzzers_seeds_are_whole_messages_of_every_kind() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/pgoutput");
    let mut kinds = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        // What the fuzzer has found by itself is named by its hash and not kept.
        if path.file_name().unwrap().len() == 40 {
            continue;
        }
        let bytes = std::fs::read(path).unwrap();
        kinds.insert(bytes[0]);
        assert!(decode(bytes.into()).is_ok());
    }
    assert_eq!(kinds, b"BCDIMORTUY".iter().copied().collect());
}
