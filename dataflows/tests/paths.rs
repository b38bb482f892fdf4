//! The index against brute force: random shapes of every template come and go, and no row may miss one
//! whose filter it satisfies.

#![allow(clippy::unwrap_used)]

mod schema;
mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brooklet_dataflows::index::ShapeIndex;
use brooklet_dataflows::{Selection, ShapeId, ShapePlan};
use brooklet_sql::{Access, Row, TableSchema, Truth, compile};

use templates::{KINDS, NEVER_FALSE, NEVER_TRUE, Rng, filter, row, table};

/// The index, and the shapes that are in it.
#[derive(Default)]
struct World {
    index: ShapeIndex,
    live: BTreeMap<ShapeId, Live>,
    next: u64,
    found: Vec<Arc<ShapePlan>>,
}

struct Live {
    plan: Arc<ShapePlan>,
    template: &'static str,
    /// The kind of its template, and its path in words.
    path: (&'static str, String),
}

/// Outcomes of updates, for the old row and for the new one, in the order of [`OUTCOMES`].
type Sides = [[usize; 4]; 2];

const OUTCOMES: [Truth; 4] = [Truth::True, Truth::False, Truth::Null, Truth::Error];

#[derive(Default)]
struct Tally {
    asked: usize,
    named: usize,
    held: usize,
    /// Per template.
    templates: BTreeMap<&'static str, Sides>,
    /// Per kind, and per path in it.
    kinds: BTreeMap<&'static str, Sides>,
    paths: BTreeMap<(&'static str, String), Sides>,
    /// Per kind: shapes that neither row was said to concern.
    spared: BTreeMap<&'static str, usize>,
}

/// By which look-ups rows find a filter, if there is but one way.
fn words(access: &Access) -> String {
    match access {
        Access::Nothing => "nothing".to_owned(),
        Access::All => "every row".to_owned(),
        Access::Any(list) => match list.as_slice() {
            [only] => {
                let words: BTreeSet<&str> =
                    only.probes.iter().map(|probe| probe.want.word()).collect();
                words.into_iter().collect::<Vec<_>>().join(" or ")
            }
            _ => "one of several".to_owned(),
        },
    }
}

impl World {
    fn add(&mut self, rng: &mut Rng, table: &Arc<TableSchema>) {
        self.next += 1;
        let all =
            || KINDS.iter().flat_map(|kind| kind.templates.iter().map(move |one| (kind, *one)));
        let (kind, template) = all().nth(rng.below(all().count())).unwrap();
        let text = filter(rng, template);
        let predicate = compile(&text, &[], table).unwrap_or_else(|e| panic!("{text}: {e}"));
        let path = (kind.name, words(&predicate.access()));
        let selection = Arc::new(Selection {
            table: Arc::clone(table),
            columns: [0].into(),
            key: [0].into(),
            listed: false,
        });
        let plan = ShapePlan { id: ShapeId(self.next), selection, predicate: Some(predicate) };
        let plan = Arc::new(plan);
        let live = Live { plan: Arc::clone(&plan), template, path };
        self.live.insert(plan.id, live);
        self.index.add(plan);
    }

    fn remove(&mut self, rng: &mut Rng) {
        let shape = ShapeId(1 + rng.below(self.next.max(1) as usize) as u64);
        let Some(live) = self.live.remove(&shape) else { return };
        assert!(self.index.remove(&live.plan));
        assert!(!self.index.remove(&live.plan), "it is gone");
    }

    fn ask(&mut self, table: u32, rows: [Option<&Row>; 2], tally: &mut Tally) {
        self.index.candidates(table, rows, &mut self.found);
        let found = &self.found;
        assert!(found.is_sorted_by(|one, other| one.id < other.id), "sorted, each once");
        for plan in found {
            assert!(self.live.contains_key(&plan.id) && plan.table().oid == table);
        }
        for live in self.live.values().filter(|live| live.plan.table().oid == table) {
            let predicate = live.plan.predicate.as_ref().unwrap();
            let truths = rows.map(|row| row.map(|row| predicate.matches(row)));
            let is_named = found.binary_search_by_key(&live.plan.id, |plan| plan.id).is_ok();
            let holds = truths.contains(&Some(Truth::True));
            assert!(is_named || !holds, "{} misses {rows:?}", predicate.sql());
            tally.note(live, truths, is_named);
        }
    }

    /// Nothing is left of shapes that are gone.
    fn end(mut self, rng: &mut Rng) {
        for live in self.live.values() {
            assert!(self.index.remove(&live.plan));
        }
        for table in [1, 2] {
            self.index.candidates(table, [Some(&row(rng)), None], &mut self.found);
            assert!(self.found.is_empty(), "what is gone is found");
        }
        assert!(self.index.view().tables.is_empty(), "something is left over");
    }
}

impl Tally {
    fn note(&mut self, live: &Live, truths: [Option<Truth>; 2], is_named: bool) {
        self.asked += 1;
        self.named += usize::from(is_named);
        self.held += usize::from(truths.contains(&Some(Truth::True)));
        let kind = live.path.0;
        *self.spared.entry(kind).or_default() += usize::from(!is_named);
        let [Some(old), Some(new)] = truths else { return };
        let path = self.paths.entry(live.path.clone()).or_default();
        let template = self.templates.entry(live.template).or_default();
        for sides in [path, template, self.kinds.entry(kind).or_default()] {
            for (side, truth) in sides.iter_mut().zip([old, new]) {
                let at = OUTCOMES.iter().position(|one| *one == truth).unwrap();
                side[at] += 1;
            }
        }
    }

    /// What was met too seldom to say that it was tried.
    fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for kind in KINDS {
            for template in kind.templates {
                let sides = self.templates.get(template).copied().unwrap_or_default();
                let holds = NEVER_TRUE.contains(template) || sides.iter().all(|met| met[0] > 0);
                let spares =
                    NEVER_FALSE.contains(template) || sides.iter().all(|met| met[1] + met[2] > 0);
                if !holds || !spares {
                    gaps.push(format!("{template}: {sides:?} {OUTCOMES:?}"));
                }
            }
            let (all, path) = match kind.name {
                "nothing" => ([0, 50, 0, 0], [0, 5, 0, 0]),
                _ => ([20, 20, 1, 20], [5, 5, 0, 0]),
            };
            gaps.extend(gap(kind.name, self.kinds.get(kind.name), all));
            for word in kind.words {
                let met = self.paths.get(&(kind.name, (*word).to_owned()));
                gaps.extend(gap(&format!("{}, {word}", kind.name), met, path));
            }
            let spared = self.spared.get(kind.name).copied().unwrap_or(0);
            if spared < 50 && kind.name != "no path" {
                gaps.push(format!("{} spares {spared}", kind.name));
            }
        }
        gaps
    }
}

/// Says what was met too seldom, of the old or of the new row.
fn gap(what: &str, sides: Option<&Sides>, least: [usize; 4]) -> Option<String> {
    let sides = sides.copied().unwrap_or_default();
    let enough = |side: &[usize; 4]| side.iter().zip(least).all(|(met, least)| *met >= least);
    let said = || format!("{what}: {sides:?} of {least:?} {OUTCOMES:?}");
    (!sides.iter().all(enough)).then(said)
}

#[test]
fn no_row_misses_a_shape_whose_filter_it_satisfies() {
    let mut tally = Tally::default();
    for seed in 0..60 {
        println!("seed {seed}");
        let mut rng = Rng(seed);
        let tables = [table(1), table(2)];
        let mut world = World::default();
        for _ in 0..60 {
            for _ in 0..rng.below(12) {
                let table = &tables[rng.below(2)];
                world.add(&mut rng, table);
            }
            for _ in 0..rng.below(8) {
                world.remove(&mut rng);
            }
            let (old, new) = (row(&mut rng), row(&mut rng));
            let rows = match rng.below(8) {
                0 => [None, Some(&new)],
                1 => [Some(&old), None],
                2 => [Some(&old), Some(&old)],
                _ => [Some(&old), Some(&new)],
            };
            world.ask(1 + rng.below(2) as u32, rows, &mut tally);
        }
        world.end(&mut rng);
    }
    let Tally { asked, named, held, .. } = tally;
    for (path, sides) in &tally.paths {
        println!("{path:?}: {sides:?}");
    }
    // It is an index only if it leaves most of those out that do not match.
    assert!(named * 10 < asked * 6, "{named} of {asked} named, {held} of which match");
    let gaps = tally.gaps();
    assert!(gaps.is_empty(), "{}", gaps.join("\n"));
}
