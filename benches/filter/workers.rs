//! Would a second worker find shapes faster? Each holds half of them and sees every change.
//!
//! As favourable to two as can be: their answers are only counted, where a dataflow would have to put a
//! transaction's together again, in order. Both forms run in turns in the same process.

use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use brooklet_dataflows::index::ShapeIndex;
use brooklet_dataflows::{Change, ShapePlan};

use super::templates::{TEMPLATES, Template};
use super::{changes_of, issues, plans};

/// Templates whose costs differ most: a look-up, a search in a tree, a search in text, a test for each shape.
const COMPARED: [&str; 4] = ["equality", "range", "ILIKE substring", "no path"];

const ROUNDS: usize = 5;

/// Changes a second of one template, medians.
pub struct Compared {
    pub name: &'static str,
    pub shapes: usize,
    pub one: f64,
    pub two: f64,
}

/// All templates of the comparison that there are with so many shapes.
pub fn compare(shapes: usize, smoke: bool) -> Vec<Compared> {
    let fits =
        |template: &&Template| COMPARED.contains(&template.name) && shapes <= template.shapes_max;
    TEMPLATES.iter().filter(fits).map(|template| template_with(template, shapes, smoke)).collect()
}

fn template_with(template: &Template, shapes: usize, smoke: bool) -> Compared {
    let plans = plans(template, shapes, &issues::table());
    let count = if smoke || template.name.starts_with("no path") { 500 } else { 50_000 };
    let changes = Arc::new(changes_of(count, shapes));
    let (even, odd): (Vec<_>, Vec<_>) =
        plans.iter().cloned().partition(|plan| plan.id.0.is_multiple_of(2));
    let one = Workers::start(vec![plans], &changes);
    let two = Workers::start(vec![even, odd], &changes);
    let rounds: Vec<(Round, Round)> = (0..ROUNDS).map(|_| (one.round(), two.round())).collect();
    assert!(rounds.iter().all(|(one, two)| one.matches == two.matches), "{}", template.name);
    let rate = |of: fn(&(Round, Round)) -> Duration| {
        let mut took: Vec<Duration> = rounds.iter().map(of).collect();
        took.sort_unstable();
        changes.len() as f64 / took[ROUNDS / 2].as_secs_f64()
    };
    Compared { name: template.name, shapes, one: rate(|r| r.0.took), two: rate(|r| r.1.took) }
}

struct Round {
    took: Duration,
    matches: usize,
}

/// Threads with an index each, which go through all changes at a signal.
struct Workers {
    begin: Arc<Barrier>,
    counted: mpsc::Receiver<usize>,
    count: usize,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Workers {
    fn start(parts: Vec<Vec<Arc<ShapePlan>>>, changes: &Arc<Vec<Change>>) -> Workers {
        let begin = Arc::new(Barrier::new(parts.len() + 1));
        let (count, (send, counted)) = (parts.len(), mpsc::channel());
        let start = |part: Vec<Arc<ShapePlan>>| {
            let (changes, begin, send) = (Arc::clone(changes), Arc::clone(&begin), send.clone());
            std::thread::spawn(move || {
                // Made here: an index stays with its thread.
                let mut index = ShapeIndex::default();
                part.into_iter().for_each(|plan| index.add(plan));
                for _ in 0..ROUNDS {
                    begin.wait();
                    _ = send.send(matches(&mut index, &changes));
                }
            })
        };
        let threads = parts.into_iter().map(start).collect();
        Workers { begin, counted, count, threads }
    }

    fn round(&self) -> Round {
        self.begin.wait();
        let begun = Instant::now();
        let matches = self.counted.iter().take(self.count).sum();
        Round { took: begun.elapsed(), matches }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

fn matches(index: &mut ShapeIndex, changes: &[Change]) -> usize {
    let (mut found, mut matches) = (Vec::new(), 0);
    for change in changes {
        index.candidates(1, [change.old.as_ref(), change.new.as_ref()], &mut found);
        index.judge(change, &found, |_, _| matches += 1);
    }
    matches
}
