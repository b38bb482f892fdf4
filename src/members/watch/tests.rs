//! What the thread hears of the stream, when it gets on and when it does not.

use std::time::Duration;

use brooklet_dataflows::Change;
use brooklet_sql::Row;

use super::*;

const WATCHED: u32 = 7;

fn change(op_position: u64) -> Change {
    let row = Row::new([Some("some text that takes a few bytes")]);
    Change { seq: op_position, op_position, table: WATCHED, old: None, new: Some(row.unwrap()) }
}

fn watched(stall: Duration) -> (Watch, mpsc::Receiver<Input>) {
    let (inputs, received) = mpsc::channel(64);
    let backlog = Backlog::new(2 * MEMBERS_PART_BYTES, stall);
    (Watch::with(inputs, HashSet::from([WATCHED]), backlog), received)
}

fn transaction(watch: &mut Watch, lsn: u64) {
    watch.change(&change(lsn));
    watch.commit(Lsn(lsn), lsn as u32);
    watch.flush();
}

/// What is received: transactions by their place, what is missing by the place up to which it is.
fn heard(input: &Input) -> String {
    match input {
        Input::Stream(stream, _) => {
            let commits = stream.iter().map(|streamed| match streamed {
                Streamed::Commit { lsn, .. } => format!("commit {}", lsn.0),
                Streamed::Passed(lsn) => format!("passed {}", lsn.0),
                Streamed::Change(_) => "change".to_owned(),
                other => format!("{other:?}"),
            });
            commits.collect::<Vec<_>>().join(", ")
        }
        Input::Missed(lsn) => format!("missed {}", lsn.0),
        other => format!("{other:?}"),
    }
}

#[test]
fn who_gets_nothing_done_is_told_what_is_missing_and_hears_all_that_comes_after() {
    let (mut watch, mut received) = watched(Duration::from_millis(1));
    (1..=5).for_each(|lsn| transaction(&mut watch, lsn));
    // It asks while nothing is told, and is heard behind what is missing.
    watch.watch(vec![8], Input::Remove(Vec::new()));
    let first = received.try_recv().unwrap();
    assert_eq!(heard(&first), "change, commit 1");
    assert!(received.try_recv().is_err(), "more waits than may");
    transaction(&mut watch, 6);
    assert!(received.try_recv().is_err(), "told while it is busy");
    // Begun before it is done: the end of a transaction without its beginning is not told.
    watch.change(&change(7));
    drop(first);
    watch.flush();
    watch.change(&change(8));
    watch.commit(Lsn(8), 8);
    transaction(&mut watch, 9);
    let rest: Vec<String> =
        std::iter::from_fn(|| received.try_recv().ok()).map(|input| heard(&input)).collect();
    assert_eq!(rest, ["missed 8", "Remove", "change, commit 9"]);
}

#[test]
fn a_quiet_stream_tells_what_is_missing_too() {
    let (mut watch, mut received) = watched(Duration::from_millis(1));
    (1..=3).for_each(|lsn| transaction(&mut watch, lsn));
    drop(received.try_recv().unwrap());
    watch.position(Lsn(10));
    watch.flush();
    assert_eq!(heard(&received.try_recv().unwrap()), "missed 9");
    watch.position(Lsn(11));
    watch.flush();
    assert_eq!(heard(&received.try_recv().unwrap()), "passed 10");
}

#[test]
fn who_gets_on_is_waited_for() {
    let (mut watch, mut received) = watched(Duration::from_secs(600));
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        while let Some(input) = received.blocking_recv() {
            all.push(heard(&input));
        }
        all
    });
    (1..=50).for_each(|lsn| transaction(&mut watch, lsn));
    drop(watch);
    let expected: Vec<String> = (1..=50).map(|lsn| format!("change, commit {lsn}")).collect();
    assert_eq!(reader.join().unwrap(), expected);
}
