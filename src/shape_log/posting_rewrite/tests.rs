//! Logs say the same before and after their files were written again, and after a restart.

use std::path::Path;

use brooklet_dataflows::{EndReason, Posting, Verdict};
use tempfile::TempDir;

use super::super::postings::{News, PostingWriter, Recovered};
use super::super::{LogPoint, Offset, ShapeLog};
use super::*;
use crate::shapes::visibility::Seen as Snapshot;
use crate::storage::Directory;
use crate::storage::tests::rng::Rng;

const SHAPES: u64 = 5;
const FILE_BYTES: u64 = 1500;

type Seen = Vec<(Offset, Posting)>;

struct Written {
    dir: TempDir,
    writer: PostingWriter,
    all: Vec<Arc<ShapeLog>>,
    rng: Rng,
    lsn: u64,
    seq: u64,
}

impl Logs for Vec<Arc<ShapeLog>> {
    fn each(&self, each: &mut dyn FnMut(&Arc<ShapeLog>)) {
        self.iter().for_each(each);
    }
}

fn restored(shape: u64, begin: LogPoint) -> Arc<ShapeLog> {
    let seen = Snapshot::new("1:1:".parse().unwrap(), Lsn(0));
    Arc::new(ShapeLog::restored(ShapeId(shape), 700, seen, begin))
}

/// Reads the files in `dir` back into logs that begin where these do.
fn open(dir: &Path, begins: &[LogPoint]) -> (PostingWriter, Vec<Arc<ShapeLog>>) {
    let logs: Vec<_> = (1..).zip(begins).map(|(id, begin)| restored(id, *begin)).collect();
    let storage = Directory::handle();
    let writer =
        PostingWriter::open_with(&storage, dir, Lsn(u64::MAX), FILE_BYTES, |found| match found {
            Recovered::News(shape, news) => logs[shape.0 as usize - 1].publish(news).map(|_| ()),
            Recovered::Ended(shape) => {
                logs[shape.0 as usize - 1].close(EndReason::Removed);
                Ok(())
            }
        });
    (writer.unwrap(), logs)
}

fn entries(log: &ShapeLog) -> Option<Seen> {
    let (blocks, _) = log.all().ok()?;
    let mut found = Seen::new();
    for block in blocks {
        let at = |posting: &Posting| Offset { tx: block.lsn.0, op: posting.op_position };
        found.extend(block.read().unwrap().into_iter().map(|posting| (at(&posting), posting)));
    }
    Some(found)
}

impl Written {
    fn new(seed: u64) -> Written {
        let dir = tempfile::tempdir().unwrap();
        let (writer, all) = open(dir.path(), &[LogPoint::BEGIN; SHAPES as usize]);
        Written { dir, writer, all, rng: Rng::new(seed), lsn: 10, seq: 0 }
    }

    fn postings(&mut self) -> Vec<Posting> {
        let count = 1 + self.rng.below(9) as u64;
        let one = |at| Posting {
            seq: self.seq + at,
            op_position: 2 * (self.seq + at),
            verdict: if at % 3 == 0 { Verdict::Update } else { Verdict::Insert },
            last: at + 1 == count,
            weight: 40,
            breaks_promise: false,
        };
        let postings = (0..count).map(one).collect();
        self.seq += count;
        postings
    }

    /// One transaction, now and then in parts, or one that came late or was taken back.
    fn transaction(&mut self) {
        self.lsn += 10;
        let (lsn, xid) = (Lsn(self.lsn), self.lsn as u32);
        let mut shapes: Vec<u64> = (1..=SHAPES).filter(|_| self.rng.percent(50)).collect();
        shapes.retain(|shape| self.all[*shape as usize - 1].ended().is_none());
        let mut parts: HashMap<u64, Vec<Block>> = HashMap::new();
        for _ in 0..self.rng.below(3) {
            let brought: Vec<(ShapeId, Vec<Posting>)> =
                shapes.iter().map(|shape| (ShapeId(*shape), self.postings())).collect();
            let entries: Vec<_> = brought.iter().map(|(shape, all)| (*shape, &all[..])).collect();
            let places = self.writer.append_part(&entries);
            for (shape, mut blocks) in shapes.iter().zip(places) {
                blocks.iter_mut().for_each(|block| block.belongs_to(lsn, xid));
                parts.entry(*shape).or_default().append(&mut blocks);
            }
            if self.rng.percent(20) {
                // Taken back.
                self.writer.abort();
                parts.clear();
            }
        }
        if shapes.is_empty() || self.rng.percent(10) {
            self.writer.abort();
            return;
        }
        let brought: Vec<(ShapeId, Vec<Posting>)> =
            shapes.iter().map(|shape| (ShapeId(*shape), self.postings())).collect();
        let entries: Vec<_> = brought.iter().map(|(shape, all)| (*shape, &all[..])).collect();
        let places = if self.rng.percent(20) {
            self.writer.abort();
            parts.clear();
            let late = |(shape, all): &(ShapeId, &[Posting])| {
                self.writer.append_late(lsn, xid, *shape, all)
            };
            entries.iter().map(late).collect()
        } else {
            self.writer.append(lsn, xid, &entries)
        };
        self.writer.flush().unwrap();
        for ((shape, postings), blocks) in brought.into_iter().zip(places) {
            let parts = parts.remove(&shape.0).unwrap_or_default();
            let log = &self.all[shape.0 as usize - 1];
            log.publish(News { parts, postings, blocks }).unwrap();
        }
        self.writer.roll().unwrap();
    }

    /// A log is folded and its old entries go, or its shape ends.
    fn forget(&mut self) {
        let log = &self.all[self.rng.below(SHAPES as usize)];
        let living = self.all.iter().filter(|log| log.ended().is_none()).count();
        if living > 2 && self.rng.percent(10) {
            self.writer.append_ended(&[log.shape()]);
            log.close(EndReason::Removed);
        } else if let Ok((blocks, _)) = log.all()
            && !blocks.is_empty()
        {
            // Bases stand between transactions.
            let lsn = blocks[self.rng.below(blocks.len())].lsn;
            let last = blocks.iter().rfind(|block| block.lsn == lsn);
            log.forget_before(last.unwrap().end());
        }
    }

    fn seen(&self) -> Vec<Option<Seen>> {
        self.all.iter().map(|log| entries(log)).collect()
    }

    fn rewrite(&self) -> usize {
        let files = self.writer.files();
        let all = runs(files, &self.all);
        let count = all.len();
        for mut run in all {
            run.note_live(&self.all);
            run.write(files, &self.all).unwrap();
        }
        count
    }

    /// What a restart finds in `dir`. Shapes whose end the catalogue knows are not asked for.
    fn restart(&self, dir: &Path) -> (PostingWriter, Vec<Option<Seen>>) {
        let begin = |log: &Arc<ShapeLog>| {
            let offset = log.begin_offset();
            LogPoint { offset, ..LogPoint::BEGIN }
        };
        let begins: Vec<LogPoint> = self.all.iter().map(begin).collect();
        let (writer, found) = open(dir, &begins);
        for (log, found) in self.all.iter().zip(&found).filter(|(log, _)| log.ended().is_some()) {
            found.close(log.ended().unwrap());
        }
        (writer, found.iter().map(|log| entries(log)).collect())
    }
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn whatever_was_forgotten_logs_say_the_same_and_so_does_a_restart_among_old_and_new_files() {
    let (mut rewritten, mut both) = (0, 0);
    for seed in 0..20 {
        let mut logs = Written::new(seed);
        for _ in 0..6 {
            (0..40).for_each(|_| logs.transaction());
            (0..1 + logs.rng.below(8)).for_each(|_| logs.forget());
            let slow: Vec<Block> =
                logs.all.iter().flat_map(|log| log.all()).flat_map(|(all, _)| all).collect();
            let (before, bytes) = (logs.seen(), logs.writer.files().bytes());
            let old = tempfile::tempdir().unwrap();
            copy_dir(logs.dir.path(), old.path());
            let count = logs.rewrite();
            rewritten += count;
            assert_eq!(logs.seen(), before, "{seed}");
            // Who has looked before reads on.
            assert!(slow.iter().all(|block| block.read().is_ok()));
            assert_eq!(logs.rewrite(), 0, "again without a reason");
            assert!(count == 0 || logs.writer.files().bytes() < bytes, "{seed}: nothing is saved");
            let (writer, found) = logs.restart(logs.dir.path());
            assert!(found == before, "{seed}: not the same after a restart");
            assert_eq!(writer.position(), logs.writer.position());
            // Killed before the old ones went: any of them may be there.
            let mut names: Vec<_> = std::fs::read_dir(old.path()).unwrap().flatten().collect();
            names.retain(|name| !logs.dir.path().join(name.file_name()).exists());
            both += names.len();
            for name in names.into_iter().filter(|_| logs.rng.percent(60)) {
                std::fs::copy(name.path(), logs.dir.path().join(name.file_name())).unwrap();
            }
            std::fs::write(logs.dir.path().join("000000-000009.tmp"), "half of it").unwrap();
            let (_, found) = logs.restart(logs.dir.path());
            assert!(found == before, "{seed}: old and new are counted");
        }
    }
    assert!(rewritten > 50 && both > 100, "{rewritten} {both}");
}

#[test]
fn a_file_that_is_not_what_was_written_stays_as_it_is() {
    let mut logs = Written::new(3);
    (0..60).for_each(|_| logs.transaction());
    let offset = logs.all[0].end().unwrap();
    logs.all.iter().take(4).for_each(|log| log.forget_before(offset));
    let path = logs.writer.files().path((0, 0));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let files = logs.writer.files();
    let mut run = runs(files, &logs.all).remove(0);
    run.note_live(&logs.all);
    assert!(matches!(run.write(files, &logs.all), Err(RewriteError::Unchanged(_))));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(files.list().unwrap().len(), files.closed().len() + 1);
}
