//! Shapes as an operator is shown them: each by what a client sends to get it.

use brooklet_sql::RelationName;
use serde::{Deserialize, Serialize};

use super::definition::{FilterSource, LogMode, Question, Replica};
use super::shape::Shape;
use crate::shape_log::Offset;

/// One shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its number: the next page begins after the last one.
    pub id: u64,
    /// The handle that new clients get.
    pub handle: String,
    /// Its table, quoted.
    pub table: String,
    /// Its filter, printed.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none", default)]
    pub filter: Option<String>,
    /// The columns that were asked for; all of them if none were.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub columns: Option<Vec<String>>,
    /// `default` or `full`.
    pub replica: String,
    /// `full` or `changes_only`.
    pub log: String,
    /// Where its log ends.
    pub offset: String,
}

impl Listed {
    /// A finished shape.
    #[must_use]
    pub fn new(shape: &Shape) -> Listed {
        let definition = &shape.template.definition;
        let name = |at: &usize| shape.table().columns.get(*at).map(|column| column.name.clone());
        let columns = definition.columns.iter().filter_map(name).collect();
        Listed {
            id: shape.id().0,
            handle: shape.handle(),
            table: definition.name.quoted(),
            filter: shape.plan.predicate.as_ref().map(|predicate| predicate.sql()),
            columns: definition.listed.then_some(columns),
            replica: match definition.replica {
                Replica::Default => "default",
                Replica::Full => "full",
            }
            .to_owned(),
            log: match definition.log {
                LogMode::Full => "full",
                LogMode::ChangesOnly => "changes_only",
            }
            .to_owned(),
            offset: shape.log.end().unwrap_or(Offset::SNAPSHOT_END).to_string(),
        }
    }

    /// The question that it answers; `table` is its table's name, read.
    #[must_use]
    pub fn question(&self, table: RelationName) -> Question {
        let source = |text: &String| FilterSource { text: text.clone(), params: Vec::new() };
        Question {
            columns: self.columns.clone(),
            replica: if self.replica == "full" { Replica::Full } else { Replica::Default },
            log: if self.log == "full" { LogMode::Full } else { LogMode::ChangesOnly },
            ..Question::all(table, self.filter.as_ref().map(source))
        }
    }

    /// The parameters that a client sends.
    #[must_use]
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = vec![
            ("table", self.table.clone()),
            ("replica", self.replica.clone()),
            ("log", self.log.clone()),
        ];
        let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
        let list = |names: &Vec<String>| names.iter().map(quoted).collect::<Vec<_>>().join(",");
        parameters.extend(self.columns.as_ref().map(|names| ("columns", list(names))));
        parameters.extend(self.filter.clone().map(|filter| ("where", filter)));
        parameters
    }
}
