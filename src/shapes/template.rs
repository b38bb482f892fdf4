//! What shapes have in common that differ in their filter's constants only.
//!
//! *Invariant*: there is one template of a definition and table, and in it one form of a filter, as
//! long as a shape has it; so memory for a million shapes of one kind is their constants and logs.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use brooklet_dataflows::Selection;
use brooklet_sql::{Predicate, TableSchema};

use super::definition::{Defined, Definition};
use super::forms::{Forms, Uses};
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
    /// What the filters of its shapes look like.
    forms: Forms,
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
            forms: Forms::default(),
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

    /// What its shapes need of the world, and maybe what some needed that are gone.
    #[must_use]
    pub fn uses(&self) -> Uses {
        self.forms.uses()
    }

    /// Looks at all filters again, so that the same is not said of those that are gone.
    pub fn recount(&self) {
        self.forms.recount();
    }

    /// The same where much more is said than was so the last time.
    pub fn recount_if_grown(&self) {
        self.forms.recount_if_grown();
    }

    /// Lets a filter share its form with the template's other shapes.
    fn share(&self, predicate: &mut Predicate) {
        let form = self.forms.share(predicate.form());
        predicate.share(&form);
    }
}

/// Definitions below which is not looked for templates that no shape has.
const TEMPLATES_KEPT: usize = 16;

/// The templates of all shapes.
#[derive(Default)]
pub struct Templates {
    /// Held for a look-up only.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By definition; the few that there may be of one are of different schemas of its table.
    by_definition: HashMap<Definition, Vec<Arc<Template>>>,
    /// Of so many definitions those go that no shape has: twice as many as after the last time.
    pruned_at: usize,
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
        let same_definition = known.by_definition.get(&template.definition);
        let equal = same_definition.and_then(|list| list.iter().find(same));
        if let Some(equal) = equal {
            return Arc::clone(equal);
        }
        let Known { by_definition, pruned_at } = &mut *known;
        if by_definition.len() >= *pruned_at {
            by_definition.retain(|_, list| {
                list.retain(|one| Arc::strong_count(one) > 1);
                !list.is_empty()
            });
            *pruned_at = TEMPLATES_KEPT.max(2 * by_definition.len());
        }
        let list = by_definition.entry(template.definition.clone()).or_default();
        list.retain(|one| Arc::strong_count(one) > 1);
        list.push(Arc::clone(template));
        Arc::clone(template)
    }

    /// All of them; shapes of some may be gone.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Template>> {
        self.known().by_definition.values().flatten().cloned().collect()
    }

    /// The tables that shapes are about, also those in creation.
    #[must_use]
    pub fn tables(&self) -> HashSet<u32> {
        let known = self.known();
        let all = known.by_definition.values().flatten();
        let used = all.filter(|one| Arc::strong_count(one) > 1);
        used.map(|template| template.definition.table).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
