//! Parts of any size make the same logs: beside cut-off transactions, held shapes, snapshots taken
//! between two parts, shapes that end, and after a restart.

use std::path::Path;

use brooklet_dataflows::{Posting, Verdict};

use super::super::{LogPoint, Offset};
use super::*;
use crate::limits::COLLATED_POSTINGS_MAX;
use crate::storage::Directory;

const SHAPES: u64 = 4;

/// What the appender is told, in an order of its own for every seed.
enum Step {
    Change(Vec<u64>),
    Commit,
    CutOff,
    Begin(u64),
    End(u64),
}

/// Splitmix.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    fn steps(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..12 {
            for _ in 0..self.below(20) {
                steps.push(match self.below(40) {
                    0 => Step::Begin(1 + self.below(SHAPES)),
                    1 => Step::End(1 + self.below(4 * SHAPES)),
                    _ => Step::Change((1..=SHAPES).filter(|_| self.below(3) > 0).collect()),
                });
            }
            steps.push(if self.below(6) == 0 { Step::CutOff } else { Step::Commit });
        }
        (1..=SHAPES).for_each(|shape| steps.push(Step::Begin(shape)));
        steps
    }
}

/// The collator's part of it, for steps.
struct Run {
    appender: Appender,
    scale: Arc<Scale>,
    logs: Vec<Arc<ShapeLog>>,
    open: std::collections::BTreeMap<ShapeId, Vec<Posting>>,
    part: usize,
    seq: u64,
    op: u64,
    transaction: u64,
    begun: Vec<u64>,
    ended: Vec<u64>,
}

impl Run {
    fn new(dir: &Path, part: usize) -> Run {
        let file =
            PostingWriter::open(&Directory::handle(), dir, Lsn(u64::MAX), |_| Ok(())).unwrap();
        let shared = Arc::new(ShapeLogs::default());
        let (ended, _) = mpsc::unbounded_channel();
        let (large, _) = mpsc::unbounded_channel();
        let (appender, _) = Appender::new(file, Arc::clone(&shared), ended, large);
        let logs: Vec<_> =
            (1..=SHAPES).map(|shape| Arc::new(ShapeLog::new(ShapeId(shape), 1500))).collect();
        logs.iter().for_each(|log| shared.insert(log));
        Run {
            appender,
            scale: Arc::default(),
            logs,
            open: Default::default(),
            part,
            seq: 0,
            op: 0,
            transaction: 1,
            begun: Vec::new(),
            ended: Vec::new(),
        }
    }

    fn tell(&mut self, collated: Collated) {
        let load = self.scale.load(postings(&collated));
        self.appender.take(Command::Collated(collated, load)).unwrap();
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Change(shapes) => {
                for shape in shapes.iter().filter(|shape| !self.ended.contains(shape)) {
                    let verdict =
                        if self.seq.is_multiple_of(5) { Verdict::Rekey } else { Verdict::Insert };
                    self.open.entry(ShapeId(*shape)).or_default().push(Posting {
                        seq: self.seq,
                        op_position: self.op,
                        verdict,
                        last: false,
                        weight: (self.seq % 300) as u32,
                        breaks_promise: self.seq % 211 == 210,
                    });
                }
                (self.seq, self.op) = (self.seq + 1, self.op + 2);
                let count: usize = self.open.values().map(|postings| postings.len() - 1).sum();
                if count >= self.part {
                    let mut shapes = Vec::new();
                    for (shape, postings) in &mut self.open {
                        let postings: Vec<_> = postings.drain(..postings.len() - 1).collect();
                        if !postings.is_empty() {
                            shapes.push(ShapePostings { shape: *shape, postings });
                        }
                    }
                    self.tell(Collated::Part(shapes));
                }
            }
            Step::Commit => {
                let open = std::mem::take(&mut self.open).into_iter();
                let shapes = open.map(|(shape, mut postings)| {
                    postings.last_mut().unwrap().last = true;
                    ShapePostings { shape, postings }
                });
                let (lsn, xid) = (Lsn(10 * self.transaction), self.transaction as u32);
                let shapes = shapes.collect();
                self.tell(Collated::Transaction { lsn, xid, shapes });
                (self.transaction, self.op) = (self.transaction + 1, 0);
            }
            Step::CutOff => {
                self.open.clear();
                self.op = 0;
                self.tell(Collated::CutOff);
            }
            Step::Begin(shape) if self.begun.contains(shape) => {}
            Step::Begin(shape) => {
                self.begun.push(*shape);
                // The snapshot has every third transaction up to a little further than now.
                let text = format!("1:{}:1,2,4,5,7,8,10,11", self.transaction + 1);
                let visibility = text.parse().unwrap();
                let until = Lsn(10 * self.transaction + 10);
                let (done, _) = oneshot::channel();
                let shape = ShapeId(*shape);
                let early = Vec::new();
                let seen = Seen::new(visibility, until);
                let begin = Command::Begin { shapes: vec![(shape, early)], seen, done };
                self.appender.take(begin).unwrap();
            }
            Step::End(shape) => {
                self.ended.push(*shape);
                let (shape, why) = (ShapeId(*shape), EndReason::Truncated);
                self.open.remove(&shape);
                self.tell(Collated::Ended { shapes: vec![shape], why });
            }
        }
    }

    /// Chunk ends and postings of every log.
    fn found(&self) -> Vec<Option<Vec<(Offset, Posting)>>> {
        self.logs.iter().map(|log| entries(log)).collect()
    }
}

fn entries(log: &ShapeLog) -> Option<Vec<(Offset, Posting)>> {
    let (mut found, mut after) = (Vec::new(), Offset::SNAPSHOT_END);
    loop {
        let slice = log.slice(after).ok()?;
        for block in &slice.blocks {
            for posting in block.read().unwrap() {
                let at = Offset { tx: block.lsn.0, op: posting.op_position };
                if at > after && at <= slice.end {
                    found.push((slice.end, posting));
                }
            }
        }
        after = slice.end;
        if slice.up_to_date {
            return Some(found);
        }
    }
}

#[test]
fn parts_of_any_size_make_the_same_logs_also_after_a_restart() {
    let mut told = 0;
    for seed in 0..60 {
        let steps = Rng(seed).steps();
        let mut expected = None;
        for part in [usize::MAX, 1, 2, 3, 5, 16] {
            let dir = tempfile::tempdir().unwrap();
            let mut rng = Rng(seed ^ 77);
            let mut run = Run::new(dir.path(), part);
            for step in &steps {
                run.step(step);
                if rng.below(3) == 0 {
                    run.appender.publish().unwrap();
                }
            }
            run.appender.publish().unwrap();
            let found = run.found();
            assert_eq!(expected.get_or_insert_with(|| found.clone()), &found, "{seed} {part}");
            told += found.iter().flatten().map(Vec::len).sum::<usize>();
            run.appender.file.sync(Lsn(0)).unwrap();
            drop(run);
            assert_eq!(restarted(dir.path()), found, "restarted {seed} {part}");
        }
    }
    assert!(told > 10_000, "{told}");
}

fn restarted(dir: &Path) -> Vec<Option<Vec<(Offset, Posting)>>> {
    use super::super::postings::Recovered;
    let seen = || Seen::new("1:1:".parse().unwrap(), Lsn(0));
    let restored = |shape| ShapeLog::restored(ShapeId(shape), 1500, seen(), LogPoint::BEGIN);
    let logs: Vec<ShapeLog> = (1..=SHAPES).map(restored).collect();
    PostingWriter::open(&Directory::handle(), dir, Lsn(u64::MAX), |recovered| match recovered {
        Recovered::News(shape, news) => logs[shape.0 as usize - 1].publish(news).map(|_| ()),
        Recovered::Ended(shape) => {
            let log = logs.get(shape.0 as usize - 1);
            log.into_iter().for_each(|log| log.close(EndReason::Removed));
            Ok(())
        }
    })
    .unwrap();
    logs.iter().map(entries).collect()
}

/// Notes how far all logs are said to be when a reader is woken.
struct Woken {
    logs: Arc<ShapeLogs>,
    processed: std::sync::Mutex<Option<Lsn>>,
}

impl std::task::Wake for Woken {
    fn wake(self: Arc<Woken>) {
        *self.processed.lock().unwrap() = Some(self.logs.processed());
    }
}

#[test]
fn many_ends_are_told_in_few_messages_and_a_turn_takes_no_more_than_it_has_room_for() {
    const SHAPES: usize = 4 * SHAPES_PER_BATCH_MAX + 100;
    let dir = tempfile::tempdir().unwrap();
    let file =
        PostingWriter::open(&Directory::handle(), dir.path(), Lsn(u64::MAX), |_| Ok(())).unwrap();
    let logs = Arc::new(ShapeLogs::default());
    let (ended, mut ends) = mpsc::unbounded_channel();
    let (mut appender, handle) =
        Appender::new(file, Arc::clone(&logs), ended, mpsc::unbounded_channel().0);
    let shapes: Vec<ShapeId> = (1..=SHAPES as u64).map(ShapeId).collect();
    let all: Vec<_> = shapes.iter().map(|id| Arc::new(ShapeLog::new(*id, 1500))).collect();
    all.iter().for_each(|log| logs.insert(log));
    handle.ended(&shapes, EndReason::Truncated);
    assert_eq!(appender.commands.len(), 5);
    let mut told = 0;
    while !appender.commands.is_empty() {
        let before = logs.ends_told();
        appender.turn().unwrap();
        assert!(logs.ends_told() - before <= COLLATED_IN_FLIGHT_MAX as u64);
        while let Ok((some, EndReason::Truncated, _)) = ends.try_recv() {
            assert!(some.len() <= SHAPES_PER_BATCH_MAX);
            assert!(some.iter().all(|shape| !logs.has(*shape)));
            told += 1;
        }
    }
    assert_eq!((told, logs.ends_told()), (5, SHAPES as u64));
    assert!(all.iter().all(|log| log.end().is_err()));
    drop((appender, handle));
    let (mut found, storage) = (Vec::new(), Directory::handle());
    PostingWriter::open(&storage, dir.path(), Lsn(u64::MAX), |recovered| {
        if let super::super::postings::Recovered::Ended(shape) = recovered {
            found.push(shape);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(found, shapes);
}

#[test]
fn how_far_all_logs_are_is_said_after_the_last_of_them_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), 1);
    let (done, _) = oneshot::channel();
    let shapes = vec![(ShapeId(1), Vec::new()), (ShapeId(2), Vec::new())];
    let seen = Seen::new("1:1:".parse().unwrap(), Lsn(0));
    run.appender.take(Command::Begin { shapes, seen, done }).unwrap();
    run.appender.publish().unwrap();
    let logs = Arc::clone(&run.appender.logs);
    let mut readers = [0, 1].map(|at| {
        let woken = Arc::new(Woken { logs: Arc::clone(&logs), processed: Default::default() });
        (run.logs[at].subscribe(), woken)
    });
    let waiting = readers.each_mut().map(|(changed, woken)| {
        let waker = std::task::Waker::from(Arc::clone(woken));
        let mut changed = Box::pin(changed.changed());
        let polled = changed.as_mut().poll(&mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending());
        (changed, Arc::clone(woken))
    });
    let posting = |seq| Posting {
        seq,
        op_position: 0,
        verdict: Verdict::Insert,
        last: true,
        weight: 1,
        breaks_promise: false,
    };
    let shapes =
        [1, 2].map(|shape| ShapePostings { shape: ShapeId(shape), postings: vec![posting(shape)] });
    run.tell(Collated::Transaction { lsn: Lsn(10), xid: 9, shapes: shapes.into() });
    run.appender.publish().unwrap();
    for (_, woken) in &waiting {
        let told = woken.processed.lock().unwrap().expect("it is woken");
        assert!(told < Lsn(10), "who looks now is told of what cannot be read");
    }
    assert_eq!(logs.processed(), Lsn(10));
}

#[test]
fn what_shapes_with_subqueries_bring_waits_for_room() {
    use brooklet_dataflows::Change;
    use brooklet_sql::Row;
    let dir = tempfile::tempdir().unwrap();
    let file = PostingWriter::open(&Directory::handle(), dir.path(), Lsn(u64::MAX), |_| Ok(()));
    let (ended, large) = (mpsc::unbounded_channel().0, mpsc::unbounded_channel().0);
    let (mut appender, handle) = Appender::new(file.unwrap(), Arc::default(), ended, large);
    // Few postings, but large rows: each message is more than half of what may be on its way.
    let text = "x".repeat(2 * COLLATED_POSTINGS_MAX / 3 * size_of::<Posting>() / 8);
    let row = Row::new([Some(text.as_str())]).unwrap();
    let (done, sent) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        for lsn in 1..=2 {
            let new = Some(row.clone());
            let change = Change { seq: 0, op_position: 0, table: 1, old: None, new };
            let (seq, op_position, verdict) = (0, 0, Verdict::Insert);
            let (last, weight, breaks_promise) = (false, 0, false);
            let posting = Posting { seq, op_position, verdict, last, weight, breaks_promise };
            let moved = vec![(change, posting); 8];
            let news = MemberNews { shape: ShapeId(1), own: Vec::new(), moved };
            handle.members(Lsn(lsn), 1, vec![news]);
            done.send(lsn).unwrap();
        }
    });
    assert_eq!(sent.recv().unwrap(), 1);
    let more = sent.recv_timeout(std::time::Duration::from_millis(200));
    assert!(more.is_err(), "the second goes before the first is written");
    appender.turn().unwrap();
    assert_eq!(sent.recv().unwrap(), 2);
    thread.join().unwrap();
}
