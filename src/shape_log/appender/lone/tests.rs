//! A disk that fails: nobody waits for ever, and nothing is published that was not written.

use std::path::Path;
use std::time::Duration;

use brooklet_dataflows::{Posting, ShapeId, ShapePostings, Verdict};
use brooklet_sql::Lsn;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::limits::COLLATED_IN_FLIGHT_MAX;
use crate::shape_log::appender::ShapeLogs;
use crate::shape_log::log::ShapeLog;
use crate::shape_log::postings::PostingWriter;
use crate::shapes::visibility::Seen;
use crate::storage::tests::faulty::{Fault, Faulty};
use crate::storage::tests::rng::Rng;

fn transaction(number: u64) -> Collated {
    let postings = vec![Posting {
        seq: number,
        op_position: 0,
        verdict: Verdict::Insert,
        last: true,
        weight: 1,
        breaks_promise: false,
    }];
    let shapes = vec![ShapePostings { shape: ShapeId(1), postings }];
    Collated::Transaction { lsn: Lsn(10 * number), xid: number as u32, shapes }
}

struct Running {
    disk: Faulty,
    logs: Arc<ShapeLogs>,
    handle: AppenderHandle,
    results: Results,
    thread: std::thread::JoinHandle<Result<(), FrameError>>,
}

fn run() -> Running {
    let disk = Faulty::new(Rng::new(1));
    let file =
        PostingWriter::open(&disk.handle(), Path::new("/postings"), Lsn(u64::MAX), |_| Ok(()));
    let logs = Arc::new(ShapeLogs::default());
    logs.insert(&Arc::new(ShapeLog::new(ShapeId(1), 1500)));
    let (ended, _) = mpsc::unbounded_channel();
    let (large, _) = mpsc::unbounded_channel();
    let (appender, handle) = Appender::new(file.unwrap(), Arc::clone(&logs), ended, large);
    let appender = Arc::new(Mutex::new(appender));
    let results = Results::new(Arc::clone(&appender), handle.clone());
    let thread = std::thread::spawn(move || Appender::run(&appender));
    Running { disk, logs, handle, results, thread }
}

/// What a test of a wait that should end has to wait at most, were it to fail.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_an_appender_that_fails_is_let_go() {
    for lone in [true, false] {
        let Running { disk, logs, handle, results, thread } = run();
        let seen = Seen::new("1:1:".parse().unwrap(), Lsn(0));
        handle.begin(vec![(ShapeId(1), Vec::new())], seen).await.unwrap();
        assert_eq!(handle.sync().await.unwrap(), Lsn(0));
        disk.arm(Fault::NoSpace, 0);
        let (emitted, all) = oneshot::channel();
        // No task: a test that fails would wait for it.
        std::thread::spawn(move || {
            // More than have room in the queue: nobody takes them any more.
            for number in 1..=2 * COLLATED_IN_FLIGHT_MAX as u64 {
                results.emit(transaction(number));
                if lone {
                    results.rest();
                }
            }
            results.rest();
            emitted.send(()).unwrap();
        });
        let waiting = async {
            while handle.sync().await.is_ok() {}
            all.await.unwrap();
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("nobody waits for ever");
        let failed = tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        assert!(failed.is_err(), "the process has to learn of it");
        assert!(logs.processed() < Lsn(10), "{:?}", logs.processed());
    }
}
