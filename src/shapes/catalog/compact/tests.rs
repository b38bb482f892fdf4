//! What goes on while the catalogue is looked through, and for how much of that everybody waits.

use std::collections::BTreeMap;

use brooklet_sql::{TableSchema, Zone};

use super::super::tests::{finished, table};
use super::super::{FilterRecord, Recovered, ShapeRecord, StoredForm, Template};
use super::*;
use crate::storage::Directory;
use crate::storage::tests::rng::Rng;

/// A catalogue of shapes of many forms.
struct Many {
    /// So many forms share a template, the table of a subquery and a zone.
    share: u32,
    catalog: Catalog,
    dir: tempfile::TempDir,
    /// The forms of the shapes.
    shapes: BTreeMap<ShapeId, u32>,
    next: u64,
}

fn table_of(oid: u32) -> Arc<TableSchema> {
    Arc::new(TableSchema { oid, ..TableSchema::clone(&table()) })
}

/// `group` is that of those with which it shares.
fn stored(template: u32, form: u32, group: u32) -> StoredForm {
    let name = format!("zone{group}");
    let zone = Arc::new(Zone::new(name, 3_600, &[(1_234_567, 3_600, 7_200)]).unwrap());
    StoredForm {
        template,
        text: format!("form {form}"),
        example: String::new(),
        tables: vec![table_of(100_000 + group)],
        zones: [(zone.key(), zone)].into_iter().collect(),
    }
}

impl Many {
    fn new(share: u32) -> Many {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.log");
        let (catalog, _) = Catalog::open(&Directory::handle(), &path, &HashSet::new()).unwrap();
        Many { share, catalog, dir, shapes: BTreeMap::new(), next: 1 }
    }

    /// A shape of a form is made.
    fn make(&mut self, form: u32) {
        let id = ShapeId(self.next);
        self.next += 1;
        let shape = finished(id.0, &table());
        let group = form / self.share;
        let outer = table_of(100 + group);
        let mut definition = shape.template.definition.clone();
        definition.table = outer.oid;
        let template = Template::new(definition, outer, [0].into());
        self.catalog.append(|state, file| {
            let template = state.template(&template, file);
            let stored = stored(template, form, group);
            let number = state.forms.number(template, &stored.text).unwrap_or_else(|| {
                state.next_form += 1;
                state.known_form(state.next_form - 1, &stored, file);
                state.next_form - 1
            });
            let record = ShapeRecord {
                id,
                template,
                filter: Some(FilterRecord { form: number, constants: Vec::new() }),
                chunk_bytes: shape.chunk_bytes,
                visibility: shape.visibility,
                until: shape.until,
                bases: shape.bases,
                retired: shape.retired,
                generation: shape.generation,
            };
            file.append(kind::SHAPE, &[&json(&record)]);
        });
        self.shapes.insert(id, form);
    }

    fn end(&mut self, id: ShapeId) {
        self.catalog.append(|_, file| _ = file.append(kind::REMOVED, &[&json(&id)]));
        self.shapes.remove(&id);
    }

    /// What is unused of it is known.
    fn looked_through(&self) -> Survey {
        let (file, path, end) = self.catalog.due().unwrap().unwrap();
        let mut survey = Survey::new(file, path);
        survey.read_to(end).unwrap();
        survey.find_unused();
        survey
    }

    /// All shapes are there, with what they refer to.
    fn check(&self) {
        let copy = self.dir.path().join("copy");
        self.catalog.state().file.as_mut().unwrap().flush().unwrap();
        std::fs::copy(self.dir.path().join("catalog.log"), &copy).unwrap();
        let found: Recovered = Catalog::read(&Directory::handle(), &copy).unwrap();
        assert_eq!(found.next_id, self.next);
        let forms = found.shapes.iter().map(|shape| {
            let form = &found.forms[&shape.filter.as_ref().unwrap().form];
            let number: u32 = form.text.trim_start_matches("form ").parse().unwrap();
            let group = number / self.share;
            let expected = stored(shape.template, number, group);
            assert_eq!((form.template, &form.zones), (shape.template, &expected.zones));
            assert_eq!(form.tables, expected.tables);
            assert_eq!(found.templates[&shape.template].definition.table, 100 + group);
            (shape.id, number)
        });
        assert_eq!(forms.collect::<BTreeMap<_, _>>(), self.shapes);
    }
}

#[test]
fn what_is_used_anew_while_the_unused_is_forgotten_stays() {
    let mut again = [0; 3];
    for seed in 0..10 {
        let (mut rng, mut many) = (Rng::new(seed), Many::new(300));
        (0..3_000).for_each(|form| many.make(form));
        // Of half of the templates nothing is left.
        for (id, form) in many.shapes.clone() {
            if form % 20 != 0 || form >= 1_500 {
                many.end(id);
            }
        }
        let mut survey = many.looked_through();
        let unused = |survey: &Survey| {
            [&survey.unused.forms, &survey.unused.templates, &survey.unused.zones].map(HashSet::len)
        };
        let before = unused(&survey);
        assert_eq!(before, [2_925, 5, 5]);
        loop {
            // A few are read while everybody waits, more of them before.
            let most = if rng.percent(50) { 6 } else { 40 };
            for _ in 0..rng.below(most) {
                // Some were forgotten already, some will not be.
                let below = if rng.percent(90) { 1_800 } else { 3_000 };
                many.make(rng.below(below) as u32);
                if rng.percent(30) {
                    many.end(*many.shapes.keys().nth(rng.below(many.shapes.len())).unwrap());
                }
            }
            if !many.catalog.forget_some(&mut survey).unwrap().unwrap() {
                break;
            }
        }
        let after = unused(&survey);
        (0..3).for_each(|at| again[at] += before[at] - after[at]);
        let begun = many.catalog.copy(&survey).unwrap();
        (0..50).for_each(|_| many.make(rng.below(3_000) as u32));
        many.catalog.replace(begun).map_err(|_| "failed").unwrap();
        many.check();
        // The next one leaves out what was used for that while only.
        let bytes = many.catalog.bytes();
        many.catalog.state().look_at = 0;
        let mut survey = many.looked_through();
        loop {
            if !many.catalog.forget_some(&mut survey).unwrap().unwrap() {
                break;
            }
        }
        let begun = many.catalog.copy(&survey).unwrap();
        many.catalog.replace(begun).map_err(|_| "failed").unwrap();
        many.check();
        assert!(many.catalog.bytes() <= bytes);
    }
    assert!(again[0] > 50 && again[1] > 4 && again[2] > 4, "{again:?}");
}

#[test]
fn nobody_waits_longer_among_many_than_among_few() {
    let held = |forms: u32, share: u32| {
        let mut many = Many::new(share);
        (0..forms).for_each(|form| many.make(form));
        (1..=u64::from(forms)).filter(|id| id % 10 != 0).for_each(|id| many.end(ShapeId(id)));
        let mut survey = many.looked_through();
        // As many come while it is looked through.
        (0..forms).for_each(|form| many.make(form));
        loop {
            if !many.catalog.forget_some(&mut survey).unwrap().unwrap() {
                break;
            }
        }
        let begun = many.catalog.copy(&survey).unwrap();
        many.catalog.replace(begun).map_err(|_| "failed").unwrap();
        many.check();
        survey.longest_hold
    };
    let [few, many] = [1_500, 12_000].map(|forms| held(forms, 300));
    assert!(few > 100 && many < 2_500, "{few} among few, {many} among many");
    // Each has a template, tables and a zone of its own.
    let lone = held(3_000, 1);
    assert!(lone < 2_500, "{lone} of templates, tables and zones");
}
