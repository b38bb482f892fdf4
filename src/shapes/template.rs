//! What shapes have in common that differ in their filter's constants only.
//!
//! *Invariant*: there is one template of a definition and table, and in it one form of a filter, as
//! long as a shape has it; so memory for a million shapes of one kind is their constants and logs.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use brooklet_dataflows::Selection;
use brooklet_sql::{Form, Predicate, TableSchema};

use super::definition::{Defined, Definition};
use super::schema_header::schema_header;
use super::together::Together;
use crate::shape_log::{TypedView, View};

/// What is shown of which table, and how.
pub struct Template {
    /// What is asked but for the filter.
    pub definition: Definition,
    /// The same for the dataflow, with the table.
    pub selection: Arc<Selection>,
    schema: OnceLock<String>,
    view: OnceLock<View>,
    typed: OnceLock<TypedView>,
    /// What the filters of its shapes look like. Held for a look-up only.
    forms: Mutex<Kept<Form>>,
    /// How its new shapes come by their snapshots.
    pub together: Together,
}

impl Template {
    /// A template of a definition that has been checked against the table.
    #[must_use]
    pub fn new(definition: Definition, table: Arc<TableSchema>, key: Arc<[usize]>) -> Template {
        let (columns, listed) = (definition.columns.as_slice().into(), definition.listed);
        Template {
            selection: Arc::new(Selection { table, columns, key, listed }),
            definition,
            schema: OnceLock::new(),
            view: OnceLock::new(),
            typed: OnceLock::new(),
            forms: Mutex::default(),
            together: Together::default(),
        }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<TableSchema> {
        &self.selection.table
    }

    /// The `electric-schema` header.
    #[must_use]
    pub fn schema(&self) -> &str {
        self.schema.get_or_init(|| schema_header(self.table(), &self.definition.columns))
    }

    /// How rows look.
    #[must_use]
    pub fn view(&self) -> &View {
        let Definition { columns, replica, .. } = &self.definition;
        self.view.get_or_init(|| View::new(self.table(), columns, &self.selection.key, *replica))
    }

    /// How rows look with types. An error is a table that has none for Arrow: a bug.
    pub fn typed(&self) -> io::Result<&TypedView> {
        if let Some(typed) = self.typed.get() {
            return Ok(typed);
        }
        let Definition { columns, replica, .. } = &self.definition;
        let typed = TypedView::new(self.view(), self.table(), columns, *replica);
        let typed = typed.map_err(io::Error::other)?;
        Ok(self.typed.get_or_init(|| typed))
    }

    /// What the filters of its shapes look like; `None` stands for those without one, of which there
    /// may be none.
    #[must_use]
    pub fn forms(&self) -> Vec<Option<Arc<Form>>> {
        std::iter::once(None).chain(self.kept().iter().map(Some)).collect()
    }

    /// Lets a filter share its form with the template's other shapes.
    fn share(&self, predicate: &mut Predicate) {
        let form = self.kept().share(predicate.form());
        predicate.share(&form);
    }

    fn kept(&self) -> MutexGuard<'_, Kept<Form>> {
        self.forms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The templates of all shapes.
#[derive(Default)]
pub struct Templates {
    /// By definition; the few that there may be of one are of different schemas of its table. Held
    /// for a look-up only.
    known: Mutex<HashMap<Definition, Vec<Arc<Template>>>>,
}

impl Templates {
    /// Lets a new shape share all that others have already.
    pub fn share(&self, defined: &mut Defined) {
        defined.template = self.template(&defined.template);
        if let Some(predicate) = &mut defined.predicate {
            defined.template.share(predicate);
        }
    }

    /// The one template that is equal to this one.
    #[must_use]
    pub fn template(&self, template: &Arc<Template>) -> Arc<Template> {
        let mut known = self.known();
        let same = |one: &&Arc<Template>| {
            Arc::ptr_eq(one.table(), template.table()) || one.table() == template.table()
        };
        let equal = known.get(&template.definition).and_then(|list| list.iter().find(same));
        if let Some(equal) = equal {
            return Arc::clone(equal);
        }
        // Rare enough to look at all of them.
        known.retain(|_, list| {
            list.retain(|one| Arc::strong_count(one) > 1);
            !list.is_empty()
        });
        known.entry(template.definition.clone()).or_default().push(Arc::clone(template));
        Arc::clone(template)
    }

    /// All of them; shapes of some may be gone.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Template>> {
        self.known().values().flatten().cloned().collect()
    }

    /// The tables that shapes are about, also those in creation.
    #[must_use]
    pub fn tables(&self) -> HashSet<u32> {
        let known = self.known();
        let used = known.values().flatten().filter(|one| Arc::strong_count(one) > 1);
        used.map(|template| template.definition.table).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Definition, Vec<Arc<Template>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Equal values kept once. Those that nobody else has any more go when there are twice as many as
/// after the last time.
struct Kept<T> {
    known: HashSet<Arc<T>>,
    pruned_at: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept { known: HashSet::new(), pruned_at: 16 }
    }
}

impl<T: std::hash::Hash + Eq> Kept<T> {
    fn share(&mut self, value: &Arc<T>) -> Arc<T> {
        if let Some(known) = self.known.get(value) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.pruned_at {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.pruned_at = 16.max(2 * self.known.len());
        }
        self.known.insert(Arc::clone(value));
        Arc::clone(value)
    }

    fn iter(&self) -> impl Iterator<Item = Arc<T>> {
        self.known.iter().filter(|known| Arc::strong_count(known) > 1).cloned()
    }
}
