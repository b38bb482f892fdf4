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

/// Paths of one template that are listed.
const PATHS_MAX: usize = 16;

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
    /// What a transaction took that concerned shapes with subqueries, in nanoseconds: the mean of all.
    pub transaction_ns: Option<u64>,
    #[serde(skip)]
    transactions: Timed,
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
    /// How most of its shapes are found.
    pub path: String,
    /// How its shapes are found, the path of most of them first: a shape leaves a crowded one for another.
    pub paths: Vec<PathView>,
    /// How many more there are.
    pub paths_left_out: usize,
    /// How many shapes have such a filter.
    pub shapes: usize,
    /// How often one of them had to be asked.
    pub candidates: u64,
    /// How often it was concerned.
    pub matches: u64,
    /// What it took to ask one of them about a change, in nanoseconds: the mean over one change in 64. With subqueries,
    /// about a transaction: the mean over all.
    pub candidate_ns: Option<u64>,
    #[serde(skip)]
    timed: Timed,
}

/// One way to find shapes of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathView {
    /// In words.
    pub path: String,
    /// How many are found by it.
    pub shapes: usize,
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
            match self.templates.iter_mut().find(|one| one.filter == template.filter) {
                Some(one) => one.merge(template),
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
        self.transactions.merge(other.transactions);
        self.transaction_ns = self.transactions.mean();
        self.forms_left_out += other.forms_left_out;
    }
}

impl TemplateView {
    fn new(filter: String) -> TemplateView {
        TemplateView {
            filter,
            path: String::new(),
            paths: Vec::new(),
            paths_left_out: 0,
            shapes: 0,
            candidates: 0,
            matches: 0,
            candidate_ns: None,
            timed: Timed::default(),
        }
    }

    fn merge(&mut self, other: TemplateView) {
        self.shapes += other.shapes;
        self.candidates += other.candidates;
        self.matches += other.matches;
        self.add(other.timed);
        self.paths_left_out += other.paths_left_out;
        for PathView { path, shapes } in other.paths {
            match self.paths.iter_mut().find(|one| one.path == path) {
                Some(one) => one.shapes += shapes,
                None => self.paths.push(PathView { path, shapes }),
            }
        }
        self.sort();
    }

    fn add(&mut self, timed: Timed) {
        self.timed.merge(timed);
        self.candidate_ns = self.timed.mean();
    }

    /// Those of most shapes first, and no more than a page for people has room for.
    fn sort(&mut self) {
        self.paths.sort_by(|one, other| {
            other.shapes.cmp(&one.shapes).then_with(|| one.path.cmp(&other.path))
        });
        self.paths_left_out += self.paths.len().saturating_sub(PATHS_MAX);
        self.paths.truncate(PATHS_MAX);
        self.path = self.paths.first().map_or_else(String::new, |most| most.path.clone());
    }
}

fn view_table(table: &TableShapes) -> Option<TableView> {
    let name = table.kinds.iter().next()?.selection.table.name.to_string();
    let mut templates: BTreeMap<String, (TemplateView, BTreeMap<&str, usize>)> = BTreeMap::new();
    for kind in table.kinds.iter().take(FORMS_MAX) {
        let filter = kind.form.as_ref().map_or_else(String::new, |form| form.template());
        let (template, paths) = templates
            .entry(filter)
            .or_insert_with_key(|filter| (TemplateView::new(filter.clone()), BTreeMap::new()));
        let mut first = kind.shapes;
        for (path, shapes) in table.elsewhere.paths(kind.key()) {
            first -= shapes;
            *paths.entry(path).or_default() += shapes;
        }
        if first > 0 {
            *paths.entry(&kind.path.1).or_default() += first;
        }
        template.shapes += kind.shapes;
        template.candidates += kind.candidates;
        template.matches += kind.matches;
        template.add(kind.timed);
    }
    let templates = templates.into_values().map(|(mut template, paths)| {
        let paths = paths.into_iter();
        template.paths =
            paths.map(|(path, shapes)| PathView { path: path.to_owned(), shapes }).collect();
        template.sort();
        template
    });
    let mut templates: Vec<TemplateView> = templates.collect();
    templates.sort_by_key(|template| std::cmp::Reverse(template.shapes));
    let shapes = table.kinds.iter().map(|kind| kind.shapes).sum();
    let forms_left_out = table.kinds.len().saturating_sub(FORMS_MAX);
    let templates_left_out = templates.len().saturating_sub(TEMPLATES_MAX);
    templates.truncate(TEMPLATES_MAX);
    Some(TableView {
        table: name,
        shapes,
        changes: table.changes,
        change_ns: table.timed.mean(),
        timed: table.timed,
        transaction_ns: table.transactions.mean(),
        transactions: table.transactions,
        templates,
        templates_left_out,
        forms_left_out,
    })
}
