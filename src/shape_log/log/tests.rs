//! Admission by snapshot, and chunks that never move.

use brooklet_dataflows::Verdict;

use super::super::postings::PostingWriter;
use super::*;

fn posting(seq: u64, op_position: u64, verdict: Verdict) -> Posting {
    Posting { seq, op_position, verdict, last: false, weight: 100, breaks_promise: false }
}

fn seen(text: &str, until: u64) -> Arc<Seen> {
    Seen::new(text.parse().unwrap(), Lsn(until))
}

#[test]
fn held_transactions_are_filtered_by_visibility_and_later_ones_until_the_stream_has_passed() {
    let log = ShapeLog::new(ShapeId(1), 1000);
    let admit = |lsn, xid| {
        let one = vec![posting(0, 0, Verdict::Insert)];
        log.admit(Lsn(lsn), xid, one.into()).is_some()
    };
    // In commit order: 12 commits before 10.
    assert!(!admit(100, 12));
    assert!(!admit(200, 10));
    assert!(!admit(300, 14));
    let kept = log.begin(&seen("10:14:10", 500));
    assert_eq!(kept.iter().map(|t| t.xid).collect::<Vec<_>>(), [10, 14]);
    // 13 was visible though its commit is streamed after one that was not.
    assert!(admit(400, 15));
    assert!(!admit(500, 13));
    assert!(admit(600, 16));
}

#[test]
fn a_completed_chunk_is_the_same_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = PostingWriter::open(
        &crate::storage::Directory::handle(),
        dir.path(),
        Lsn(u64::MAX),
        |_| Ok(()),
    )
    .unwrap();
    let log = ShapeLog::new(ShapeId(1), 500);
    log.begin(&seen("1:1:", 0));
    let mut ends = Vec::new();
    for n in 1..=10u64 {
        let verdict = if n % 3 == 0 { Verdict::Rekey } else { Verdict::Update };
        let postings = [posting(2 * n, 0, Verdict::Insert), posting(2 * n + 1, 2, verdict)];
        let mut blocks = file.append(Lsn(n), n as u32, &[(ShapeId(1), &postings)]);
        file.flush().unwrap();
        let (blocks, postings) = (blocks.remove(0), postings.into());
        log.publish(News { parts: Vec::new(), postings, blocks }).unwrap();
        // Two entries fill a chunk of 500 bytes (weight and overhead are 300 each).
        let slice = log.slice(Offset::SNAPSHOT_END).unwrap();
        ends.push((slice.end, slice.up_to_date));
    }
    assert_eq!(ends[0], (Offset { tx: 1, op: 2 }, true));
    assert_eq!(ends[1..], [(Offset { tx: 1, op: 2 }, false); 9]);
    let third = log.slice(Offset { tx: 2, op: 2 }).unwrap();
    assert_eq!(third.end, Offset { tx: 3, op: 3 });
    let read = third.blocks[0].read().unwrap();
    assert_eq!(read.iter().map(|p| p.seq).collect::<Vec<_>>(), [6, 7]);
    let end = log.slice(Offset { tx: 10, op: 2 }).unwrap();
    assert!(end.up_to_date && end.blocks.is_empty());
    log.close(EndReason::Removed);
    assert!(log.slice(Offset::SNAPSHOT_END).is_err());
}

#[tokio::test]
async fn a_subscriber_that_looked_before_the_entry_is_woken_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let storage = crate::storage::Directory::handle();
    let mut file = PostingWriter::open(&storage, dir.path(), Lsn(u64::MAX), |_| Ok(())).unwrap();
    let log = ShapeLog::new(ShapeId(1), 500);
    log.begin(&seen("1:1:", 0));
    let mut waiter = log.subscribe();
    for lsn in [7, 9] {
        let slice = log.slice(Offset { tx: lsn - 2, op: 0 }).unwrap();
        assert!(slice.blocks.is_empty() && !waiter.has_changed().unwrap());
        let postings = [posting(lsn, 0, Verdict::Insert)];
        let mut blocks = file.append(Lsn(lsn), 1, &[(ShapeId(1), &postings)]);
        file.flush().unwrap();
        let (blocks, postings) = (blocks.remove(0), postings.into());
        log.publish(News { parts: Vec::new(), postings, blocks }).unwrap();
        // At once: nothing else happens that could wake it.
        assert!(waiter.has_changed().unwrap(), "not woken");
        waiter.changed().await.unwrap();
        assert_eq!(log.slice(slice.end).unwrap().blocks.len(), 1, "woken for nothing");
    }
}

#[tokio::test]
async fn a_subscriber_is_woken_by_the_end() {
    let log = ShapeLog::new(ShapeId(1), 500);
    log.begin(&seen("1:1:", 0));
    let mut waiter = log.subscribe();
    assert!(log.slice(Offset::SNAPSHOT_END).unwrap().blocks.is_empty());
    log.close(EndReason::Removed);
    waiter.changed().await.unwrap();
}

#[test]
fn whoever_stands_in_the_gap_of_a_repair_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let storage = crate::storage::Directory::handle();
    let mut file = PostingWriter::open(&storage, dir.path(), Lsn(u64::MAX), |_| Ok(())).unwrap();
    let log = ShapeLog::new(ShapeId(1), 1000);
    log.begin(&seen("1:1:", 0));
    let mut bring = |lsn: u64| {
        let postings = [posting(lsn, 0, Verdict::Insert), posting(lsn + 1, 2, Verdict::Insert)];
        let mut blocks = file.append(Lsn(lsn), 1, &[(ShapeId(1), &postings)]);
        file.flush().unwrap();
        let (blocks, postings) = (blocks.remove(0), postings.into());
        log.publish(News { parts: Vec::new(), postings, blocks }).unwrap();
    };
    bring(10);
    bring(20);
    let at = |tx, op| Offset { tx, op };
    let known = [Offset::SNAPSHOT_END, at(10, 0), at(10, 2), at(20, 0), at(20, 2)];
    for repaired in [false, true] {
        if repaired {
            log.note_repairs(&[Lsn(50)]);
            // The same again, as after a restart, when what it brought is there.
            bring(50);
            bring(70);
            log.note_repairs(&[Lsn(50)]);
        }
        assert!(known.iter().all(|offset| log.slice(*offset).is_ok()));
    }
    for unknown in [at(20, 3), at(21, 0), at(49, 9)] {
        assert_eq!(log.slice(unknown).unwrap_err(), SliceError::Forgotten, "{unknown}");
    }
    assert!([at(50, 0), at(50, 2), at(70, 0)].iter().all(|offset| log.slice(*offset).is_ok()));
    // Another loss does not make the first forgotten; nor does a third, that follows it at once.
    log.note_repairs(&[Lsn(90)]);
    log.note_repairs(&[Lsn(95)]);
    for unknown in [at(21, 0), at(49, 9), at(71, 4), at(89, 0), at(92, 0)] {
        assert_eq!(log.slice(unknown).unwrap_err(), SliceError::Forgotten, "{unknown}");
    }
    bring(95);
    let places = [at(20, 2), at(50, 0), at(70, 2), at(95, 0)];
    assert!(places.iter().all(|offset| log.slice(*offset).is_ok()));
    log.forget_before(at(70, 0));
    assert_eq!(log.slice(at(92, 0)).unwrap_err(), SliceError::Forgotten);
    assert!(log.slice(at(70, 2)).is_ok());
}
