//! What a catalogue says, read one record after the other.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use brooklet_dataflows::ShapeId;
use brooklet_sql::{TableSchema, Zone};

use super::super::partitions::KnownPartitions;
use super::super::visibility::Visibility;
use super::{
    FormRecord, PartitionsRecord, ShapeRecord, StoredForm, StoredTemplate, TableRecord,
    TemplateRecord, ZoneRecord, kind,
};
use crate::replication::rewrites::Notes;

/// What was found at a start.
pub struct Recovered {
    /// The finished shapes.
    pub shapes: Vec<ShapeRecord>,
    /// What they show, by number.
    pub templates: BTreeMap<u32, StoredTemplate>,
    /// What their filters look like, by number.
    pub forms: BTreeMap<u32, StoredForm>,
    /// A number above every shape's.
    pub next_id: u64,
    /// Partitions whose rows shapes may hold, by partitioned table.
    pub partitions: BTreeMap<u32, KnownPartitions>,
    /// How the tables of shapes were found last.
    pub notes: Notes,
}

impl Recovered {
    /// Leaves out the other shapes, and what nobody refers to any more.
    pub fn keep(&mut self, wanted: impl Fn(&ShapeRecord) -> bool) {
        self.shapes.retain(wanted);
        let (mut templates, mut forms) = (HashSet::new(), HashSet::new());
        for shape in &self.shapes {
            templates.insert(shape.template);
            forms.extend(shape.filter.as_ref().map(|filter| filter.form));
        }
        self.templates.retain(|number, _| templates.contains(number));
        self.forms.retain(|number, _| forms.contains(number));
        let tables: HashSet<u32> = self.templates.values().map(|t| t.definition.table).collect();
        self.partitions.retain(|root, _| tables.contains(root));
        let inner = self.forms.values().flat_map(|form| &form.tables);
        let all: HashSet<u32> = tables.into_iter().chain(inner.map(|table| table.oid)).collect();
        self.notes.retain(|oid, _| all.contains(oid));
    }
}

/// What frames say, read one after the other.
#[derive(Default)]
pub(super) struct Found {
    tables: BTreeMap<u32, Arc<TableSchema>>,
    zones: BTreeMap<u32, Arc<Zone>>,
    templates: BTreeMap<u32, TemplateRecord>,
    forms: BTreeMap<u32, FormRecord>,
    shapes: BTreeMap<ShapeId, ShapeRecord>,
    partitions: BTreeMap<u32, KnownPartitions>,
    notes: Notes,
    next_id: u64,
    /// What the shape before saw.
    seen: Option<Visibility>,
}

impl Found {
    pub(super) fn new() -> Found {
        Found { next_id: 1, ..Found::default() }
    }

    /// What is left: shapes that have not ended, and what they refer to.
    pub(super) fn alive(self) -> Recovered {
        let Found {
            tables, zones, templates, forms, mut shapes, partitions, notes, next_id, ..
        } = self;
        let stored = |(number, record): (u32, TemplateRecord)| {
            let table = Arc::clone(tables.get(&record.table)?);
            Some((number, StoredTemplate { table, definition: record.definition }))
        };
        let templates: BTreeMap<u32, StoredTemplate> =
            templates.into_iter().filter_map(stored).collect();
        let stored = |(number, record): (u32, FormRecord)| {
            let FormRecord { template, text, example, .. } = record;
            let table = |number: &u32| tables.get(number).cloned();
            let zone = |number: &u32| zones.get(number).map(|zone| (zone.key(), zone.clone()));
            let tables = record.tables.iter().map(table).collect::<Option<_>>()?;
            let zones = record.zones.iter().map(zone).collect::<Option<_>>()?;
            Some((number, StoredForm { template, text, example, tables, zones }))
        };
        let forms: BTreeMap<u32, StoredForm> = forms.into_iter().filter_map(stored).collect();
        // One of an earlier generation was about to end when the process did.
        let current = |shape: &ShapeRecord, template: &StoredTemplate| {
            let known = partitions.get(&template.definition.table);
            known.is_none_or(|known| shape.generation >= known.generation)
        };
        shapes.retain(|_, shape| {
            let form = shape.filter.as_ref().map(|filter| filter.form);
            templates.get(&shape.template).is_some_and(|template| current(shape, template))
                && form.is_none_or(|form| forms.contains_key(&form))
        });
        let shapes = shapes.into_values().collect();
        let mut recovered = Recovered { shapes, templates, forms, next_id, partitions, notes };
        recovered.keep(|_| true);
        recovered
    }

    /// There may be a million, all at once. What a shape's snapshot saw, its base claims; and many were
    /// taken while nobody wrote.
    fn tighten(&mut self, shape: &mut ShapeRecord) {
        self.seen.iter().for_each(|seen| shape.visibility.share(seen));
        shape.bases.iter_mut().for_each(|base| base.visibility.share(&shape.visibility));
        self.seen = Some(shape.visibility.clone());
        shape.bases.shrink_to_fit();
    }

    pub(super) fn read(&mut self, kind: u8, payload: &[u8]) -> Option<()> {
        let mut seen = |id: ShapeId| self.next_id = self.next_id.max(id.0 + 1);
        match kind {
            kind::TABLE => {
                let table: TableRecord = serde_json::from_slice(payload).ok()?;
                self.tables.insert(table.number, Arc::new(table.schema));
            }
            kind::ZONE => {
                let zone: ZoneRecord = serde_json::from_slice(payload).ok()?;
                self.zones.insert(zone.number, Arc::new(zone.zone));
            }
            kind::TEMPLATE => {
                let template: TemplateRecord = serde_json::from_slice(payload).ok()?;
                self.templates.insert(template.number, template);
            }
            kind::FORM => {
                let form: FormRecord = serde_json::from_slice(payload).ok()?;
                self.forms.insert(form.number, form);
            }
            kind::SHAPE => {
                let mut shape: ShapeRecord = serde_json::from_slice(payload).ok()?;
                seen(shape.id);
                self.tighten(&mut shape);
                self.shapes.insert(shape.id, shape);
            }
            kind::REMOVED => {
                let shape: ShapeId = serde_json::from_slice(payload).ok()?;
                seen(shape);
                self.shapes.remove(&shape);
            }
            kind::PARTITIONS => {
                let found: PartitionsRecord = serde_json::from_slice(payload).ok()?;
                self.partitions.insert(found.root, found.known);
            }
            kind::NO_PARTITIONS => {
                let root: u32 = serde_json::from_slice(payload).ok()?;
                self.partitions.remove(&root);
            }
            kind::FOUND => {
                let (oid, note) = serde_json::from_slice(payload).ok()?;
                self.notes.insert(oid, note);
            }
            _ => return None,
        }
        Some(())
    }
}
