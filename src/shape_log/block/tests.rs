//! Postings come back as they were; damaged bytes are refused.

use super::*;
use crate::storage::Directory;

fn posting(seq: u64, op_position: u64, verdict: Verdict, weight: u32) -> Posting {
    Posting { seq, op_position, verdict, last: false, weight, breaks_promise: false }
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    // Open files outlive their names.
    let file = Directory::handle().create_new(&dir.path().join("0")).unwrap();
    Home { lsn: Lsn(7), xid: 9, file: PostingFile::new((0, 0), file) }
}

type Taken = Vec<(ShapeId, Vec<Posting>, Vec<Block>)>;

fn taken(bytes: &[u8], home: &Home) -> Option<Taken> {
    let mut found = Vec::new();
    take_shapes(bytes, home, 100, |shape, postings, blocks| found.push((shape, postings, blocks)))?;
    Some(found)
}

#[test]
fn what_is_put_is_taken_around_every_block_size() {
    let n = POSTINGS_PER_BLOCK_MAX as u64;
    for count in [0, 1, 2, n - 1, n, n + 1, 2 * n, 2 * n + 1] {
        let verdicts = [Verdict::Insert, Verdict::Update, Verdict::Delete, Verdict::Rekey];
        let one = |at: u64| Posting {
            last: at + 1 == count,
            ..posting(
                u64::MAX - 30_000 + 3 * at,
                2 * at,
                verdicts[at as usize % 4],
                u32::MAX - at as u32,
            )
        };
        let many: Vec<Posting> = (0..count).map(one).collect();
        let lone = [posting(1, u64::MAX, Verdict::Rekey, 0)];
        let home = home();
        let mut bytes = vec![1, 2, 3];
        let shapes: [ShapeEntry<'_>; 2] = [(ShapeId(5), &many), (ShapeId(u64::MAX), &lone)];
        let put = put_shapes(&shapes, &home, 97, &mut bytes);
        assert_eq!(put[0].len(), count.div_ceil(n) as usize);
        let found = taken(&bytes[3..], &home).unwrap();
        assert_eq!(found.len(), 2);
        for ((found, (shape, postings)), put) in found.iter().zip(shapes).zip(&put) {
            assert_eq!((found.0, &found.1[..]), (shape, postings));
            let place = |block: &Block| (block.at, block.length, block.count, block.last_op);
            let places = |blocks: &[Block]| blocks.iter().map(place).collect::<Vec<_>>();
            assert_eq!(places(&found.2), places(put));
        }
    }
}

#[test]
fn a_block_is_read_alone() {
    let many: Vec<Posting> = (0..10_000).map(|at| posting(at, at, Verdict::Update, 1)).collect();
    let (home, mut bytes) = (home(), Vec::new());
    let blocks = put_shapes(&[(ShapeId(1), &many)], &home, 50, &mut bytes).remove(0);
    home.file.file.write_all_at(&bytes, 50).unwrap();
    let read: Vec<Posting> = blocks.iter().rev().flat_map(|block| block.read().unwrap()).collect();
    assert_eq!(read.len(), many.len());
    assert_eq!(read.last(), Some(&many[POSTINGS_PER_BLOCK_MAX - 1]));
    let damaged = Block { length: blocks[0].length - 1, ..blocks[0].clone() };
    assert!(damaged.read().is_err());
}

#[test]
fn damaged_bytes_are_refused_or_mean_something_else_but_never_panic() {
    let many: Vec<Posting> = (0..40).map(|at| posting(1 << at, at, Verdict::Delete, 200)).collect();
    let (home, mut bytes) = (home(), Vec::new());
    put_shapes(&[(ShapeId(3), &many), (ShapeId(9), &many)], &home, 0, &mut bytes);
    for cut in 0..bytes.len() {
        assert!(taken(&bytes[..cut], &home).is_none());
    }
    for at in 0..bytes.len() {
        for value in 0..=u8::MAX {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            _ = taken(&bytes, &home);
        }
    }
    let huge = [1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0];
    assert!(taken(&huge, &home).is_none());
}

#[test]
fn a_change_that_concerns_ten_thousand_shapes_costs_at_most_16_bytes_a_shape() {
    // One of many thousand operations of its transaction, late in the life of a large server, with
    // a wide row; the shapes are some of a million.
    let one = [Posting { last: true, ..posting(40_000_000_000, 90_000, Verdict::Update, 2_500) }];
    let shapes: Vec<ShapeEntry<'_>> =
        (0..10_000).map(|at| (ShapeId(1_000_000 + 97 * at), &one[..])).collect();
    let mut bytes = Vec::new();
    put_shapes(&shapes, &home(), 0, &mut bytes);
    assert!(bytes.len() <= 16 * shapes.len(), "{} bytes a shape", bytes.len() as f64 / 1e4);
}
