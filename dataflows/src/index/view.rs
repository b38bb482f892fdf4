//! What the index looks like from outside.
//!
//! *Enters*: the index. *Leaves*: a [`View`] of it, made when somebody asks.
//! *Invariant*: no value of a row is in it, and no constant that a filter looks for; those that a value is
//! computed with (a path, an argument of a function) are.

use std::collections::BTreeMap;

use serde::Serialize;

use super::timed::Timed;
use super::{ShapeIndex, TableShapes};

/// Templates of one table that are listed: a page for people, not an export.
const TEMPLATES_MAX: usize = 500;

/// Forms of one table that are looked at: a tenth of a second, for which changes wait.
const FORMS_MAX: usize = 100_000;

/// All tables that shapes are about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct View {
    /// By name.
    pub tables: Vec<TableView>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableView {
    /// Its name in SQL.
    pub table: String,
    /// How many shapes it has.
    pub shapes: usize,
    /// Changes of it that were matched while it had shapes.
    pub changes: u64,
    /// What one of them took, candidates found and asked, in nanoseconds: the mean of one in 64.
    pub change_ns: Option<u64>,
    #[serde(skip)]
    timed: Timed,
    /// Its filters, those with most shapes first.
    pub templates: Vec<TemplateView>,
    /// How many more there are.
    pub templates_left_out: usize,
    /// How many forms (a filter with its constants, but for those of equalities) were not looked at, because
    /// there are so many; their shapes are counted, and in no template.
    pub forms_left_out: usize,
}

/// Filters that differ in constants only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TemplateView {
    /// In SQL, with `?` in the place of constants; empty where every row is let in.
    pub filter: String,
    /// How candidates are found.
    pub path: String,
    /// How many shapes have such a filter.
    pub shapes: usize,
    /// How often one of them had to be asked.
    pub candidates: u64,
    /// How often it was concerned.
    pub matches: u64,
    /// What it took to ask one of them about a change, in nanoseconds: the mean over one change in 64.
    pub candidate_ns: Option<u64>,
    #[serde(skip)]
    timed: Timed,
}

impl ShapeIndex {
    /// How it stands.
    #[must_use]
    pub fn view(&self) -> View {
        View::of([self])
    }
}

impl View {
    /// Of several indexes.
    pub(crate) fn of<'a>(indexes: impl IntoIterator<Item = &'a ShapeIndex>) -> View {
        let tables = indexes.into_iter().flat_map(|index| index.tables.values());
        let mut view = View { tables: tables.filter_map(view_table).collect() };
        view.tidy();
        view
    }

    /// This, and what another one has.
    #[must_use]
    pub fn with(mut self, other: View) -> View {
        self.tables.extend(other.tables);
        self.tidy();
        self
    }

    /// Makes one of all that is about one table.
    fn tidy(&mut self) {
        self.tables.sort_by(|one, other| one.table.cmp(&other.table));
        self.tables.dedup_by(|later, kept| {
            let same = later.table == kept.table;
            if same {
                kept.merge(later);
            }
            same
        });
    }
}

impl TableView {
    fn merge(&mut self, other: &mut TableView) {
        for template in other.templates.drain(..) {
            let same = self
                .templates
                .iter_mut()
                .find(|one| one.filter == template.filter && one.path == template.path);
            match same {
                Some(one) => {
                    one.shapes += template.shapes;
                    one.candidates += template.candidates;
                    one.matches += template.matches;
                    one.add(template.timed);
                }
                None => self.templates.push(template),
            }
        }
        self.templates.sort_by_key(|template| std::cmp::Reverse(template.shapes));
        self.templates_left_out +=
            other.templates_left_out + self.templates.len().saturating_sub(TEMPLATES_MAX);
        self.templates.truncate(TEMPLATES_MAX);
        self.shapes += other.shapes;
        // Both look at the changes of a table while they have shapes of it.
        self.changes = self.changes.max(other.changes);
        self.timed.merge(other.timed);
        self.change_ns = self.timed.mean();
        self.forms_left_out += other.forms_left_out;
    }
}

impl TemplateView {
    fn add(&mut self, timed: Timed) {
        self.timed.merge(timed);
        self.candidate_ns = self.timed.mean();
    }
}

fn view_table(table: &TableShapes) -> Option<TableView> {
    let name = table.kinds.values().next()?.selection.table.name.to_string();
    let mut templates: BTreeMap<(String, &str), TemplateView> = BTreeMap::new();
    for kind in table.kinds.values().take(FORMS_MAX) {
        let filter = kind.form.as_ref().map_or_else(String::new, |form| form.template());
        let entry = templates.entry((filter, &kind.path));
        let template = entry.or_insert_with_key(|(filter, path)| TemplateView {
            filter: filter.clone(),
            path: (*path).to_owned(),
            shapes: 0,
            candidates: 0,
            matches: 0,
            candidate_ns: None,
            timed: Timed::default(),
        });
        template.shapes += kind.shapes;
        template.candidates += kind.candidates;
        template.matches += kind.matches;
        template.add(kind.timed);
    }
    let mut templates: Vec<TemplateView> = templates.into_values().collect();
    templates.sort_by_key(|template| std::cmp::Reverse(template.shapes));
    let shapes = table.kinds.values().map(|kind| kind.shapes).sum();
    let forms_left_out = table.kinds.len().saturating_sub(FORMS_MAX);
    let templates_left_out = templates.len().saturating_sub(TEMPLATES_MAX);
    templates.truncate(TEMPLATES_MAX);
    Some(TableView {
        table: name,
        shapes,
        changes: table.changes,
        change_ns: table.timed.mean(),
        timed: table.timed,
        templates,
        templates_left_out,
        forms_left_out,
    })
}
