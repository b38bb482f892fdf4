//! Which columns have other values than the stream has told.
//!
//! `ALTER TABLE … ALTER COLUMN … TYPE … USING` gives every row another value of a column, and the stream says nothing of
//! it. What it leaves behind are new files of the table *and* a new row of `pg_attribute`. Neither alone is a sign: VACUUM
//! FULL, CLUSTER, TRUNCATE and another tablespace make new files, SET NOT NULL, SET STATISTICS and the like a new row.
//! So both are noted at every look at the catalogue, and a column is another one from when both have changed at once.
//!
//! *Invariant*: what is noted, on disk, was true no earlier than the rows of any finished shape of the table, but for
//! changes that have been counted since; so a rewrite is noticed at the next look, also if it was while nobody looked.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// What is noted of tables, by number.
pub type Notes = BTreeMap<u32, Note>;

/// What the last look at a table found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its files, or those of its partitions.
    files: String,
    /// By `attnum`.
    columns: BTreeMap<i16, NotedColumn>,
}

/// What the last look at a column found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct NotedColumn {
    /// The transaction that wrote its row in `pg_attribute`. It can be read for ever: freezing leaves it in place.
    xmin: u32,
    /// See [`brooklet_sql::Column::rewritten`].
    rewritten: u32,
}

/// Where the note of a table is written, to outlive the process: before what relies on it.
type Noted = Box<dyn Fn(u32, &Note) + Send + Sync>;

/// What is noted of all tables; shared by all who look at them.
pub struct Rewrites {
    /// Held while a note is written, so that the last one stays.
    state: Mutex<State>,
    noted: Noted,
}

#[derive(Default)]
struct State {
    notes: Notes,
    /// When each table's note was compared, by `clock`.
    compared: BTreeMap<u32, u64>,
    clock: u64,
    has_news: bool,
}

/// When a look began.
#[derive(Debug, Clone, Copy)]
pub struct Begun(u64);

impl Default for Rewrites {
    /// Knows nothing, and writes nothing down.
    fn default() -> Rewrites {
        Rewrites::new(Notes::new(), |_, _| {})
    }
}

impl Rewrites {
    /// What finished shapes stand for; `noted` is told of every change.
    pub fn new(notes: Notes, noted: impl Fn(u32, &Note) + Send + Sync + 'static) -> Rewrites {
        let state = State { notes, ..State::default() };
        Rewrites { state: Mutex::new(state), noted: Box::new(noted) }
    }

    /// Whether something was noted since this was asked last.
    pub fn take_noted(&self) -> bool {
        std::mem::take(&mut self.state().has_news)
    }

    /// A look at the catalogue begins.
    pub fn begin(&self) -> Begun {
        let mut state = self.state();
        state.clock += 1;
        Begun(state.clock)
    }

    /// How often each column is known to have been rewritten.
    #[must_use]
    pub fn known(&self, table: u32, columns: &[i16]) -> Vec<u32> {
        let state = self.state();
        let of = |number: &i16| state.notes.get(&table)?.columns.get(number);
        columns.iter().map(|number| of(number).map_or(0, |column| column.rewritten)).collect()
    }

    /// The same, after what a look has found is compared with what is noted and noted itself. Of two looks at the same
    /// time nobody knows which is older: the second is left alone, which at worst has the next one find too much.
    pub fn compare(
        &self,
        begun: Begun,
        table: u32,
        files: &str,
        columns: &[(i16, u32)],
    ) -> Vec<u32> {
        let mut state = self.state();
        let State { notes, compared, clock, has_news } = &mut *state;
        let numbers = || columns.iter().map(|(number, _)| *number);
        if compared.get(&table).is_some_and(|at| *at > begun.0) {
            let note = notes.get(&table).cloned().unwrap_or_default();
            let of = |number| note.columns.get(&number).map_or(0, |column| column.rewritten);
            return numbers().map(of).collect();
        }
        *clock += 1;
        compared.insert(table, *clock);
        let before = notes.get(&table);
        let moved = before.is_some_and(|before| before.files != files);
        let found = columns.iter().map(|(number, xmin)| {
            let known = before.and_then(|before| before.columns.get(number)).copied();
            // One that is new began with the values that it has.
            let mut column = known.unwrap_or(NotedColumn { xmin: *xmin, rewritten: 0 });
            if moved && column.xmin != *xmin {
                column.rewritten = column.rewritten.wrapping_add(1);
            }
            column.xmin = *xmin;
            (*number, column)
        });
        let now = Note { files: files.to_owned(), columns: found.collect() };
        let rewritten = numbers().map(|number| now.columns[&number].rewritten).collect();
        if before != Some(&now) {
            (self.noted)(table, &now);
            notes.insert(table, now);
            *has_news = true;
        }
        rewritten
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Looks at a table of two columns.
    fn look(rewrites: &Rewrites, files: &str, xmins: [u32; 2]) -> Vec<u32> {
        let begun = rewrites.begin();
        rewrites.compare(begun, 1, files, &[(1, xmins[0]), (2, xmins[1])])
    }

    #[test]
    fn a_column_is_rewritten_once_its_files_and_its_row_have_changed() {
        let rewrites = Rewrites::default();
        assert_eq!(look(&rewrites, "a", [5, 5]), [0, 0]);
        assert_eq!(look(&rewrites, "b", [5, 5]), [0, 0], "VACUUM FULL");
        assert_eq!(look(&rewrites, "b", [5, 6]), [0, 0], "SET NOT NULL");
        assert_eq!(look(&rewrites, "c", [5, 6]), [0, 0], "VACUUM FULL after SET NOT NULL");
        assert_eq!(look(&rewrites, "d", [5, 7]), [0, 1], "ALTER COLUMN TYPE USING");
        assert_eq!(look(&rewrites, "d", [5, 7]), [0, 1]);
        assert_eq!(look(&rewrites, "e", [8, 8]), [1, 2]);
        assert_eq!(rewrites.known(1, &[2, 1, 3]), [2, 1, 0]);
        assert_eq!(rewrites.known(2, &[1]), [0]);
    }

    #[test]
    fn a_column_that_came_with_new_files_is_not_rewritten() {
        let rewrites = Rewrites::default();
        look(&rewrites, "a", [5, 5]);
        let begun = rewrites.begin();
        assert_eq!(rewrites.compare(begun, 1, "b", &[(1, 5), (3, 6)]), [0, 0]);
    }

    #[test]
    fn what_is_noted_outlives_the_process() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let noted = {
            let written = Arc::clone(&written);
            move |table, note: &Note| written.lock().unwrap().push((table, note.clone()))
        };
        let rewrites = Rewrites::new(Notes::new(), noted);
        look(&rewrites, "a", [5, 5]);
        assert!(rewrites.take_noted());
        look(&rewrites, "a", [5, 5]);
        assert!(!rewrites.take_noted());
        look(&rewrites, "b", [5, 6]);
        assert_eq!(written.lock().unwrap().len(), 2, "only what changes is written");
        let (table, note) = written.lock().unwrap().pop().unwrap();
        let json = serde_json::to_string(&note).unwrap();
        let notes = Notes::from([(table, serde_json::from_str(&json).unwrap())]);
        assert_eq!(look(&Rewrites::new(notes, |_, _| {}), "c", [7, 6]), [1, 1]);
    }

    #[test]
    fn a_look_that_overlaps_another_one_changes_nothing() {
        let rewrites = Rewrites::default();
        look(&rewrites, "a", [5, 5]);
        let late = rewrites.begin();
        assert_eq!(look(&rewrites, "b", [5, 6]), [0, 1]);
        assert_eq!(rewrites.compare(late, 1, "a", &[(1, 5), (2, 5)]), [0, 1]);
        assert_eq!(look(&rewrites, "b", [5, 6]), [0, 1]);
    }
}
