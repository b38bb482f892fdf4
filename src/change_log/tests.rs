//! The log against a model: what was committed can be read, after any cut, sealed or not.

use std::path::Path;
use std::sync::Arc;

use brooklet_dataflows::Change;
use brooklet_sql::{Lsn, Relation, RelationColumn, RelationName, ReplicaIdentity, Row};

use super::sealed::SealedWriter;
use super::segment::Segment;
use super::{ChangeLog, ChangeLogError, Replayed, Rolled, StoredCommit, Writer};
use crate::limits::BLOCK_BYTES_MAX;
use crate::storage::Directory;

fn open(dir: &Path) -> Result<(ChangeLog, Writer, Vec<StoredCommit>), ChangeLogError> {
    ChangeLog::open(&Directory::handle(), dir)
}

fn relation(oid: u32) -> Arc<Relation> {
    let column = |name: &str| RelationColumn { name: name.into(), type_oid: 25, type_modifier: -1 };
    Arc::new(Relation {
        oid,
        name: RelationName { schema: "public".into(), table: format!("t{oid}") },
        identity: ReplicaIdentity::Full,
        columns: vec![column("id"), column("body")],
        order: Vec::new(),
    })
}

fn row(id: u64, body: Option<&str>) -> Row {
    Row::new([Some(id.to_string().as_str()), body]).unwrap()
}

/// Transaction `n`: an insert, an update and a delete in tables 1 and 2.
fn transaction(n: u64) -> Vec<Change> {
    let change = |op, table, old, new| Change { seq: 0, op_position: op, table, old, new };
    vec![
        change(0, 1, None, Some(row(n, Some("süd")))),
        change(2, 2, Some(row(n, Some(""))), Some(row(n, None))),
        change(4, 1, Some(row(n, None)), None),
    ]
}

fn write(writer: &mut Writer, n: u64) -> Vec<Change> {
    let mut changes = transaction(n);
    writer.begin(Lsn(100 * n), n as u32).unwrap();
    writer.append(&mut changes);
    writer.commit(Lsn(100 * n + 50), 0).unwrap().unwrap();
    changes
}

fn replayed(log: &ChangeLog, after: Lsn) -> Vec<Change> {
    let mut found = Vec::new();
    log.replay(after, |event| {
        if let Replayed::Change(change) = event {
            found.push(change);
        }
    })
    .unwrap();
    found
}

#[test]
fn a_cut_anywhere_leaves_whole_transactions_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut writer, _) = open(dir.path()).unwrap();
    writer.append_relation(&relation(1));
    writer.append_relation(&relation(2));
    let written: Vec<Change> = (1..=3).flat_map(|n| write(&mut writer, n)).collect();
    writer.sync().unwrap();
    drop(writer);
    let file = dir.path().join(format!("{:020}.log", 0));
    let bytes = std::fs::read(&file).unwrap();
    for cut in (0..=bytes.len()).rev() {
        std::fs::write(&file, &bytes[..cut]).unwrap();
        let (log, mut writer, commits) = open(dir.path()).unwrap();
        let whole = &written[..3 * commits.len()];
        assert_eq!(replayed(&log, Lsn::ZERO), whole);
        assert_eq!(writer.end(), commits.last().map_or(Lsn::ZERO, |c| c.end_lsn));
        let next = write(&mut writer, 9);
        writer.sync().unwrap();
        assert_eq!(next[0].seq, whole.len() as u64);
        assert_eq!(log.read(next[2].seq, next[2].table).unwrap(), next[2]);
        assert_eq!(replayed(&log, Lsn(899)), next);
    }
}

#[test]
fn a_transaction_that_is_cut_off_is_taken_back_and_its_numbers_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer, _) = open(dir.path()).unwrap();
    writer.append_relation(&relation(1));
    write(&mut writer, 1);
    writer.begin(Lsn(200), 2).unwrap();
    writer.append(&mut transaction(2));
    writer.flush().unwrap();
    assert!(writer.begin(Lsn(200), 2).unwrap());
    let mut again = transaction(2);
    writer.append(&mut again);
    writer.commit(Lsn(250), 0).unwrap();
    writer.sync().unwrap();
    assert_eq!(again[0].seq, 3);
    assert_eq!(log.read(3, 1).unwrap(), again[0]);
    assert!(log.read(6, 1).is_err());
}

#[test]
fn sealing_changes_no_answer_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer, _) = open(dir.path()).unwrap();
    writer.append_relation(&relation(1));
    writer.append_relation(&relation(2));
    let mut written: Vec<Change> = (1..=5).flat_map(|n| write(&mut writer, n)).collect();
    writer.append_relation(&relation(1));
    written.extend(write(&mut writer, 6));
    let rolled = writer.roll().unwrap();
    assert_eq!(rolled.end, Lsn(600));
    written.extend(write(&mut writer, 7));
    writer.sync().unwrap();
    log.seal(&rolled).unwrap();
    drop(writer);
    let read = |log: &ChangeLog| -> Vec<Change> {
        written.iter().map(|change| log.read(change.seq, change.table).unwrap()).collect()
    };
    assert_eq!(read(&log), written);
    let (log, writer, commits) = open(dir.path()).unwrap();
    assert_eq!(read(&log), written);
    assert_eq!(commits.len(), 7);
    assert_eq!(writer.end(), Lsn(750));
    assert_eq!(replayed(&log, Lsn(600)), written[18..]);
    assert!(log.replay(Lsn(599), |_| {}).is_err(), "a sealed file cannot be replayed");
    assert!(log.read(written[0].seq, 2).is_err(), "another table's");
    assert!(log.seal(&Rolled { first_seq: 77, end: Lsn::ZERO }).is_ok());
}

#[test]
fn a_definition_is_told_again_only_with_the_transaction_that_announced_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer, _) = open(dir.path()).unwrap();
    let announce = |writer: &mut Writer, oid: u32, n: u64| {
        writer.begin(Lsn(100 * n), n as u32).unwrap();
        writer.append_relation(&relation(oid));
        writer.append(&mut transaction(n));
        writer.commit(Lsn(100 * n + 50), 0).unwrap();
    };
    announce(&mut writer, 1, 1);
    announce(&mut writer, 2, 2);
    writer.roll().unwrap();
    announce(&mut writer, 3, 3);
    writer.sync().unwrap();
    let told = |after: u64| {
        let mut found = Vec::new();
        log.replay(Lsn(after), |event| match event {
            Replayed::Relation(relation) => found.push(u64::from(relation.oid)),
            Replayed::Commit(commit) => found.push(commit.lsn.0),
            _ => {}
        })
        .unwrap();
        found
    };
    assert_eq!(told(0), [1, 100, 2, 200, 3, 300]);
    assert_eq!(told(100), [2, 200, 3, 300]);
    assert_eq!(told(200), [3, 300]);
    assert!(told(300).is_empty());
}

/// Six sealed files of one transaction each, and the newest, row-wise one.
fn sealed_files(dir: &Path) -> (ChangeLog, Vec<Change>) {
    let (log, mut writer, _) = open(dir).unwrap();
    writer.append_relation(&relation(1));
    writer.append_relation(&relation(2));
    let mut written = Vec::new();
    for n in 1..=6 {
        written.extend(write(&mut writer, n));
        let rolled = writer.roll().unwrap();
        log.seal(&rolled).unwrap();
    }
    written.extend(write(&mut writer, 7));
    writer.sync().unwrap();
    (log, written)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_sealed_file_of_another_version_is_refused_by_name_and_left_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(sealed_files(dir.path()));
    let all = names(dir.path());
    for name in all.iter().filter(|name| name.ends_with(".arrow")) {
        let path = dir.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        let mut other = bytes.clone();
        other[8] += 1;
        std::fs::write(&path, &other).unwrap();
        let refused = open(dir.path()).err().unwrap().to_string();
        assert!(refused.contains(name.as_str()) && refused.contains("version"), "{refused}");
        assert!(names(dir.path()) == all && std::fs::read(&path).unwrap() == other);
        std::fs::write(&path, &bytes).unwrap();
    }
    open(dir.path()).unwrap();
}

/// What is left of `written` can be read, all else is gone, and the log goes on at its end.
fn check_left(log: &ChangeLog, written: &[Change], left: &[u64]) {
    for change in written {
        let found = log.read(change.seq, change.table).ok();
        assert_eq!(found.as_ref(), Some(change).filter(|c| left.contains(&c.seq)), "{change:?}");
    }
}

#[test]
fn cleaning_keeps_what_is_live_under_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let (log, written) = sealed_files(dir.path());
    let sealed = log.sealed();
    let firsts: Vec<u64> = sealed.iter().map(|file| file.first_seq).collect();
    assert_eq!(firsts, [0, 3, 6, 9, 12], "without the newest");
    assert!(sealed.iter().all(|file| file.changes == 3 && file.bytes > 0));
    assert_eq!(sealed[1].last_lsn, Lsn(200));
    log.delete(0).unwrap();
    log.rewrite(&[3, 6, 9], &[4, 5, 9]).unwrap();
    let left: Vec<u64> = [4, 5, 9].into_iter().chain(12..21).collect();
    check_left(&log, &written, &left);
    let after: Vec<(u64, u64, Lsn)> =
        log.sealed().iter().map(|f| (f.first_seq, f.changes, f.last_lsn)).collect();
    assert_eq!(after, [(3, 3, Lsn(400)), (12, 3, Lsn(500))]);
    assert_eq!(names(dir.path()).len(), 4);
    drop(log);
    let (log, writer, commits) = open(dir.path()).unwrap();
    check_left(&log, &written, &left);
    assert_eq!((writer.end(), writer.last_commit()), (Lsn(750), Lsn(700)));
    assert_eq!(commits.iter().map(|c| c.lsn.0).collect::<Vec<_>>(), [400, 500, 600, 700]);
    // Written again a second time, alone.
    log.rewrite(&[3], &[9]).unwrap();
    check_left(&log, &written, &left[2..]);
}

#[test]
fn a_file_that_was_merged_into_the_one_before_it_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (log, written) = sealed_files(dir.path());
    let leftover = dir.path().join(format!("{:020}.arrow", 6));
    let bytes = std::fs::read(&leftover).unwrap();
    log.rewrite(&[3, 6], &[5, 6]).unwrap();
    // Killed before it was deleted.
    std::fs::write(&leftover, bytes).unwrap();
    let (log, ..) = open(dir.path()).unwrap();
    let left: Vec<u64> = (0..3).chain([5, 6]).chain(9..21).collect();
    check_left(&log, &written, &left);
    assert!(!leftover.exists());
}

#[test]
fn a_file_that_could_not_be_sealed_keeps_its_neighbours_apart_and_is_sealed_later() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer, _) = open(dir.path()).unwrap();
    let (mut written, mut rolled) = (Vec::new(), Vec::new());
    for n in 1..=5 {
        writer.append_relation(&relation(1));
        writer.append_relation(&relation(2));
        written.extend(write(&mut writer, n));
        rolled.push(writer.roll().unwrap());
    }
    written.extend(write(&mut writer, 6));
    writer.sync().unwrap();
    let failed = rolled.remove(2);
    rolled.iter().for_each(|rolled| log.seal(rolled).unwrap());
    let firsts = |log: &ChangeLog| log.sealed().iter().map(|f| f.first_seq).collect::<Vec<_>>();
    assert_eq!(firsts(&log), [0], "up to it, without the last of them");
    drop((log, writer));
    let (log, _, commits) = open(dir.path()).unwrap();
    assert_eq!(commits.iter().map(|c| c.lsn.0 / 100).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let unsealed = log.unsealed(&commits);
    assert_eq!((unsealed.len(), unsealed[0].first_seq, unsealed[0].end), (1, 6, failed.end));
    log.seal(&unsealed[0]).unwrap();
    assert_eq!(firsts(&log), [0, 3, 6, 9]);
    check_left(&log, &written, &(0..18).collect::<Vec<_>>());
}

#[test]
fn every_change_of_a_large_transaction_is_found_around_every_step_of_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer, _) = open(dir.path()).unwrap();
    writer.append_relation(&relation(1));
    let wide = "w".repeat(5000);
    let step = crate::limits::PLACE_CHANGES_MAX as u64;
    let mut written = Vec::new();
    let fill = |writer: &mut Writer, count: u64, body: Option<&str>| {
        let row = |n| Some(row(n, body));
        let change = |n| Change { seq: 0, op_position: 2 * n, table: 1, old: None, new: row(n) };
        let mut changes: Vec<Change> = (0..count).map(change).collect();
        writer.append(&mut changes);
        changes
    };
    for (n, count) in [step - 1, step, step + 1, 2 * step, 1].into_iter().enumerate() {
        let lsn = 100 * (1 + n as u64);
        writer.begin(Lsn(lsn), 1).unwrap();
        // Cut off: its numbers are used again.
        fill(&mut writer, count, None);
        writer.flush().unwrap();
        assert!(writer.begin(Lsn(lsn), 1).unwrap());
        for body in [None, Some(&*wide), Some("x")] {
            written.extend(fill(&mut writer, count, body));
        }
        writer.commit(Lsn(lsn + 50), 0).unwrap().unwrap();
    }
    writer.sync().unwrap();
    let check = |log: &ChangeLog| {
        for (seq, change) in written.iter().enumerate() {
            assert_eq!(log.read(seq as u64, 1).unwrap(), *change);
        }
        assert!(log.read(written.len() as u64, 1).is_err());
    };
    check(&log);
    drop(writer);
    let (log, mut writer, _) = open(dir.path()).unwrap();
    check(&log);
    assert_eq!(write(&mut writer, 9)[0].seq, written.len() as u64);
}

#[test]
fn a_sealed_form_rules_beside_the_row_wise_one_unless_it_cannot_be_read() {
    let cases: [(&[u64], bool); 4] =
        [(&[3], true), (&[3], false), (&[3, 6], true), (&[0, 3, 6], true)];
    for (run, readable) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (log, mut writer, _) = open(dir.path()).unwrap();
        writer.append_relation(&relation(1));
        writer.append_relation(&relation(2));
        let (mut written, mut raw) = (Vec::new(), Vec::new());
        let path = |seq: u64, form: &str| dir.path().join(format!("{seq:020}.{form}"));
        for n in 1..=4 {
            written.extend(write(&mut writer, n));
            let rolled = writer.roll().unwrap();
            raw.push(std::fs::read(path(rolled.first_seq, "log")).unwrap());
            log.seal(&rolled).unwrap();
        }
        let live: Vec<u64> = (0..12).collect();
        log.rewrite(run, &live).unwrap();
        // As if it had not been deleted.
        std::fs::write(path(3, "log"), &raw[1]).unwrap();
        if !readable {
            std::fs::write(path(3, "arrow"), "half of it").unwrap();
        }
        drop((log, writer));
        let (log, _, commits) = open(dir.path()).unwrap();
        check_left(&log, &written, &live);
        let unsealed = log.unsealed(&commits);
        assert_eq!(unsealed.len(), usize::from(!readable));
        unsealed.iter().for_each(|rolled| log.seal(rolled).unwrap());
        assert!(!path(3, "log").exists());
        drop(log);
        let (log, ..) = open(dir.path()).unwrap();
        check_left(&log, &written, &live);
    }
}

#[test]
fn a_block_that_was_written_again_is_no_larger_than_one_that_was_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer, _) = open(dir.path()).unwrap();
    writer.append_relation(&relation(1));
    // What repeats would be small on disk, and large again in memory.
    let (wide, huge) = ("w".repeat(10_000), "h".repeat(BLOCK_BYTES_MAX + 1));
    let mut written = Vec::new();
    for n in 1..=4 {
        writer.begin(Lsn(100 * n), 1).unwrap();
        let row = |at| Some(row(at, Some(if at == 100 { &huge } else { &wide })));
        let change = |at| Change { seq: 0, op_position: at, table: 1, old: None, new: row(at) };
        let mut changes: Vec<Change> = (0..150).map(change).collect();
        writer.append(&mut changes);
        let (_, rolled) = writer.commit(Lsn(100 * n + 50), 0).unwrap().unwrap();
        written.extend(changes);
        log.seal(&rolled.unwrap()).unwrap();
    }
    let blocks = |log: &ChangeLog| -> Vec<arrow::array::RecordBatch> {
        let Segment::Sealed(file) = &*log.all()[0] else { panic!("not sealed") };
        file.batches(1).map(|batch| batch.unwrap()).collect()
    };
    let check = |log: &ChangeLog, live: &[u64]| {
        let blocks = blocks(log);
        let bytes: Vec<usize> = blocks.iter().map(|block| block.get_array_memory_size()).collect();
        for (block, bytes) in blocks.iter().zip(&bytes) {
            assert!(*bytes < 2 * BLOCK_BYTES_MAX, "{} rows: {bytes} bytes", block.num_rows());
        }
        // Nor are they many.
        let pairs = bytes.windows(2).filter(|pair| pair[0] + pair[1] < BLOCK_BYTES_MAX);
        assert!(pairs.count() < 2, "{bytes:?}");
        check_left(log, &written[..450], live);
    };
    let live: Vec<u64> = (0..450).filter(|seq| seq % 3 != 0).collect();
    log.rewrite(&[0, 150, 300], &live).unwrap();
    check(&log, &live);
    // As one block, which is how it was done before.
    let all = blocks(&log);
    let all = arrow::compute::concat_batches(&all[0].schema(), &all).unwrap();
    let mut file = SealedWriter::create(&Directory::handle(), dir.path(), 0).unwrap();
    file.push_batch(1, &all).unwrap();
    let Segment::Sealed(old) = &*log.all()[0] else { panic!("not sealed") };
    old.commits().iter().for_each(|commit| file.push_commit(*commit));
    file.finish().unwrap();
    drop((log, writer));
    let (log, ..) = open(dir.path()).unwrap();
    assert_eq!(blocks(&log).len(), 1);
    log.rewrite(&[0], &live).unwrap();
    check(&log, &live);
}

mod faults;
