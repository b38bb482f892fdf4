//! The posting log after a restart: what counted, in order; parts count with their end only.

use std::fs;

use brooklet_dataflows::Verdict;

use super::*;
use crate::storage::Directory;
use crate::storage::tests::faulty::Faulty;
use crate::storage::tests::rng::Rng;

fn postings(from: u64, count: u64) -> Vec<Posting> {
    let one = |at| Posting {
        seq: from + at,
        op_position: 2 * at,
        verdict: Verdict::Insert,
        last: at + 1 == count,
        weight: 10,
        breaks_promise: false,
    };
    (0..count).map(one).collect()
}

/// What is told: shape, transaction and seqs, those of parts first.
type Told = (u64, u64, Vec<u64>);

fn told(recovered: Recovered) -> io::Result<Option<Told>> {
    let Recovered::News(shape, news) = recovered else { return Ok(None) };
    let mut seqs = Vec::new();
    for part in &news.parts {
        assert_eq!((part.lsn, part.xid), (news.blocks[0].lsn, news.blocks[0].xid));
        seqs.extend(part.read()?.iter().map(|posting| posting.seq));
    }
    seqs.extend(news.postings.iter().map(|posting| posting.seq));
    Ok(Some((shape.0, news.blocks[0].lsn.0, seqs)))
}

fn open(dir: &Path, end: u64) -> (PostingWriter, Vec<Told>) {
    let mut found = Vec::new();
    let writer = PostingWriter::open(&Directory::handle(), dir, Lsn(end), |recovered| {
        found.extend(told(recovered)?);
        Ok(())
    });
    (writer.unwrap(), found)
}

#[test]
fn a_log_says_again_what_was_written_up_to_the_change_logs_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 0);
    let (a, b) = (postings(0, 3), postings(7, 1));
    writer.append(Lsn(10), 1, &[(ShapeId(1), &a), (ShapeId(4), &b)]);
    writer.append_late(Lsn(5), 9, ShapeId(9), &b);
    writer.append_ended(&[ShapeId(4)]);
    writer.append(Lsn(20), 2, &[(ShapeId(1), &b)]);
    writer.sync(Lsn(30)).unwrap();
    drop(writer);
    let first = [(1, 10, vec![0, 1, 2]), (4, 10, vec![7]), (9, 5, vec![7])];
    let (writer, found) = open(dir.path(), 31);
    assert_eq!(found, [&first[..], &[(1, 20, vec![7])]].concat());
    assert_eq!(writer.position(), Lsn(30));
    drop(writer);
    let (mut writer, found) = open(dir.path(), 19);
    assert_eq!((found, writer.position()), (first.to_vec(), Lsn(18)));
    writer.append(Lsn(20), 3, &[(ShapeId(1), &a)]);
    writer.sync(Lsn(20)).unwrap();
    drop(writer);
    let (_, found) = open(dir.path(), 31);
    assert_eq!(found, [&first[..], &[(1, 20, vec![0, 1, 2])]].concat());
}

#[test]
fn parts_count_with_the_frame_that_ends_them_and_for_the_shapes_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 0);
    let (a, b, c) = (postings(0, 5000), postings(6000, 2), postings(9000, 1));
    // Taken back.
    writer.append_part(&[(ShapeId(1), &a)]);
    writer.abort();
    // Ended; shape 2 does not take it.
    writer.append_part(&[(ShapeId(1), &b), (ShapeId(2), &a)]);
    writer.append_late(Lsn(3), 9, ShapeId(7), &c);
    writer.append_part(&[(ShapeId(1), &a)]);
    writer.append(Lsn(10), 1, &[(ShapeId(1), &c)]);
    // Nobody takes it: no frame ends it.
    writer.append_part(&[(ShapeId(1), &a)]);
    writer.abort();
    writer.append(Lsn(20), 2, &[(ShapeId(1), &c)]);
    // The process is killed before the end.
    writer.append_part(&[(ShapeId(1), &b)]);
    writer.append_part(&[(ShapeId(1), &b)]);
    writer.sync(Lsn(20)).unwrap();
    drop(writer);
    let whole: Vec<u64> = (6000..6002).chain(0..5000).chain([9000]).collect();
    let mut expected = vec![(7, 3, vec![9000]), (1, 10, whole), (1, 20, vec![9000])];
    let (mut writer, found) = open(dir.path(), 100);
    assert_eq!(found, expected);
    // It comes again.
    writer.append_part(&[(ShapeId(1), &a)]);
    writer.append(Lsn(30), 3, &[(ShapeId(1), &c)]);
    writer.sync(Lsn(30)).unwrap();
    drop(writer);
    expected.push((1, 30, (0..5000).chain([9000]).collect()));
    assert_eq!(open(dir.path(), 100).1, expected);
}

#[test]
fn a_cut_anywhere_leaves_whole_transactions_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 0);
    let (a, b) = (postings(0, 3), postings(5, 1));
    for n in 1..=3u64 {
        writer.append_part(&[(ShapeId(1), &a)]);
        writer.append_part(&[(ShapeId(1), &a), (ShapeId(2), &a)]);
        writer.append(Lsn(n), 1, &[(ShapeId(1), &b), (ShapeId(2), &b)]);
    }
    writer.sync(Lsn(3)).unwrap();
    drop(writer);
    let file = dir.path().join("000000.log");
    let bytes = fs::read(&file).unwrap();
    let (_, all) = open(dir.path(), 100);
    assert_eq!(all.len(), 6);
    for cut in (0..bytes.len()).rev() {
        fs::write(&file, &bytes[..cut]).unwrap();
        let (mut writer, found) = open(dir.path(), 100);
        assert_eq!(found.len() % 2, 0);
        assert_eq!(found, all[..found.len()]);
        assert_eq!(writer.position(), Lsn(found.len() as u64 / 2));
        writer.append(Lsn(50), 5, &[(ShapeId(1), &b)]);
        writer.sync(Lsn(50)).unwrap();
        drop(writer);
        let (_, again) = open(dir.path(), 100);
        assert_eq!(again, [found, vec![(1, 50, vec![5])]].concat());
    }
}

#[test]
fn a_frame_that_cannot_be_read_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("000000.log");
    let mut file = FrameFile::create(&Directory::handle(), &path, FileKind::Postings).unwrap();
    file.append(kind::TRANSACTION, &[&[0; 12], &[0, 1, 1, 1]]);
    file.sync().unwrap();
    drop(file);
    let opened = PostingWriter::open(&Directory::handle(), dir.path(), Lsn(1), |_| Ok(()));
    assert!(matches!(opened.err(), Some(FrameError::Damaged(..))));
}

/// What the change log had lost is cut off here too, and comes again: it must not come back with a power
/// cut, in the middle of what was appended since.
#[test]
fn what_was_cut_off_stays_so_when_the_power_goes() {
    let dir = Path::new("/postings");
    let open = |disk: &Faulty, end| {
        let mut found = Vec::new();
        let writer = PostingWriter::open_with(&disk.handle(), dir, Lsn(end), 1, |recovered| {
            found.extend(told(recovered)?);
            Ok(())
        });
        (writer.unwrap(), found)
    };
    let (before, since) = (postings(0, 40), postings(500, 70));
    let kept = vec![(1, 10, (0..40).collect::<Vec<u64>>())];
    let again = [&kept[..], &[(1, 20, (500..570).collect())]].concat();
    let mut outcomes = [0, 0];
    for seed in 0..200 {
        let disk = Faulty::new(Rng::new(seed));
        let (mut writer, _) = open(&disk, 0);
        writer.append(Lsn(10), 1, &[(ShapeId(1), &before)]);
        writer.append(Lsn(20), 2, &[(ShapeId(1), &before)]);
        writer.sync(Lsn(20)).unwrap();
        writer.roll().unwrap();
        writer.append(Lsn(30), 3, &[(ShapeId(1), &before)]);
        writer.sync(Lsn(30)).unwrap();
        drop(writer);
        let disk = disk.restart(false);
        let (mut writer, found) = open(&disk, 15);
        assert_eq!(found, kept);
        writer.append(Lsn(20), 2, &[(ShapeId(1), &since)]);
        writer.flush().unwrap();
        drop(writer);
        let found = open(&disk.restart(true), 100).1;
        assert!(found == kept || found == again, "seed {seed}: {found:?}");
        outcomes[usize::from(found == again)] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 20), "{outcomes:?}");
}

/// Files before it may go at any time.
#[test]
fn the_newest_file_alone_says_the_position_whatever_ended_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path(), 0);
    writer.append(Lsn(10), 1, &[(ShapeId(1), &postings(0, 3))]);
    writer.sync(Lsn(30)).unwrap();
    drop(writer);
    // Killed when the next one was just begun.
    let begun = dir.path().join("000001.log");
    FrameFile::create(&Directory::handle(), &begun, FileKind::Postings).unwrap();
    assert_eq!(open(dir.path(), 100).0.position(), Lsn(30));
    fs::remove_file(dir.path().join("000000.log")).unwrap();
    assert_eq!(open(dir.path(), 100).0.position(), Lsn(30));
    // Cut where the change log ends: whatever was said to be there stays so.
    let (mut writer, _) = open(dir.path(), 100);
    writer.append(Lsn(60), 2, &[(ShapeId(1), &postings(3, 3))]);
    writer.sync(Lsn(60)).unwrap();
    drop(writer);
    for _ in 0..2 {
        assert_eq!(open(dir.path(), 50).0.position(), Lsn(49));
    }
}
