//! From the catalogue's records back to questions.
//!
//! *Invariant*: a template is made and a filter compiled once, however many shapes have it; of a
//! shape only its constants are read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use brooklet_sql::{Form, Predicate, TableSchema, Tables, compile_printed};

use super::catalog::{ShapeRecord, StoredForm, StoredTemplate};
use super::definition::{Defined, key_columns};
use super::template::{Template, Templates};

/// What the shapes of a catalogue have in common.
pub struct Stored {
    templates: HashMap<u32, Arc<Template>>,
    forms: HashMap<u32, Arc<Form>>,
}

impl Stored {
    /// Compiles what is found. A filter that cannot be had again is left out, and so are its shapes.
    #[must_use]
    pub fn compile(
        found: &BTreeMap<u32, StoredTemplate>,
        forms: &BTreeMap<u32, StoredForm>,
        shared: &Templates,
    ) -> Stored {
        let template = |(number, stored): (&u32, &StoredTemplate)| {
            let key = key_columns(&stored.table).into();
            let table = Arc::clone(&stored.table);
            let template = Arc::new(Template::new(stored.definition.clone(), table, key));
            let mut defined = Defined { template, predicate: None, visible: None };
            shared.share(&mut defined);
            (*number, defined.template)
        };
        let templates: HashMap<u32, Arc<Template>> = found.iter().map(template).collect();
        let form = |(number, record): (&u32, &StoredForm)| {
            let template = Arc::clone(templates.get(&record.template)?);
            let tables = record.tables.iter().map(|table| (table.name.clone(), Arc::clone(table)));
            let mut tables: Tables = tables.collect();
            tables.zones.clone_from(&record.zones);
            let predicate = match compile_printed(&record.example, template.table(), &tables) {
                Ok(predicate) if predicate.form().text() == record.text => predicate,
                compiled => {
                    let error = compiled.err().map(|error| error.to_string());
                    tracing::warn!(filter = record.text, error, "a stored filter is left out");
                    return None;
                }
            };
            let mut defined = Defined { template, predicate: Some(predicate), visible: None };
            shared.share(&mut defined);
            Some((*number, Arc::clone(defined.predicate?.form())))
        };
        let forms = forms.iter().filter_map(form).collect();
        Stored { templates, forms }
    }

    /// A shape's question; `None` if it cannot be had again.
    #[must_use]
    pub fn question(&self, record: &ShapeRecord) -> Option<Defined> {
        let template = Arc::clone(self.templates.get(&record.template)?);
        let bind = |filter: &super::catalog::FilterRecord| {
            Predicate::bind(self.forms.get(&filter.form)?, &filter.constants)
        };
        let predicate = match &record.filter {
            None => None,
            Some(filter) => Some(bind(filter)?),
        };
        Some(Defined { template, predicate, visible: None })
    }

    /// How many filters were compiled.
    #[must_use]
    pub fn compiled(&self) -> usize {
        self.forms.len()
    }

    /// The tables of their subqueries, some more than once.
    #[must_use]
    pub fn subquery_tables(&self) -> Vec<Arc<TableSchema>> {
        let mut tables = Vec::new();
        let memberships = self.forms.values().flat_map(|form| form.memberships());
        memberships.for_each(|membership| membership.subquery.tables(&mut tables));
        tables
    }

    /// The templates.
    pub fn templates(&self) -> impl Iterator<Item = &Arc<Template>> {
        self.templates.values()
    }
}
