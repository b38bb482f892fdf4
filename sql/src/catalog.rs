//! Postgres' own catalogue of built-in types, casts, operators and functions.
//!
//! *Enters*: six tables beside the source, taken from the system catalogues of Postgres 15 with
//! everything that shapes cannot hold left out (`reg*`, geometry's input, pseudo-types of servers).
//! *Leaves*: the candidates among which names are resolved.
//! *Invariant*: overloads are complete for every name that is listed, so that resolution chooses as
//! Postgres does, even where what it chooses is then refused.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::oid::Oid;

/// A row of `pg_type`.
#[derive(Debug)]
pub(crate) struct TypeEntry {
    pub(crate) oid: Oid,
    pub(crate) name: &'static str,
    /// `pg_type.typcategory`.
    pub(crate) category: char,
    pub(crate) preferred: bool,
    /// The element type of an array.
    pub(crate) element: Option<Oid>,
    /// The array type over this one.
    pub(crate) array: Option<Oid>,
}

/// An overload of a function or an operator.
#[derive(Debug)]
pub(crate) struct Routine {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<Oid>,
    /// The element type of the last argument, where it takes any number of them.
    pub(crate) variadic: Option<Oid>,
    pub(crate) result: Oid,
    /// NULL in, NULL out.
    pub(crate) strict: bool,
    /// Depends on settings to Postgres: not computed before there is a row.
    pub(crate) stable: bool,
    /// Postgres' name of the code, the same for everything that does the same.
    pub(crate) code: &'static str,
}

impl Routine {
    /// Whether it can be called with so many arguments.
    pub(crate) fn takes(&self, count: usize) -> bool {
        match self.variadic {
            None => self.arguments.len() == count,
            Some(_) => self.arguments.len() <= count,
        }
    }
}

/// The names that a function's arguments have.
#[derive(Debug)]
pub(crate) struct ArgumentNames {
    pub(crate) types: Vec<Oid>,
    pub(crate) names: Vec<&'static str>,
    /// Text of the values of the last ones, which may be left out.
    pub(crate) defaults: Vec<&'static str>,
}

/// When a cast applies (`pg_cast.castcontext`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CastContext {
    Implicit,
    Assignment,
    Explicit,
}

/// A row of `pg_cast`.
#[derive(Debug)]
pub(crate) struct Cast {
    pub(crate) context: CastContext,
    /// Through the types' text forms.
    pub(crate) through_text: bool,
}

/// A row of `pg_range`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RangeEntry {
    pub(crate) range: Oid,
    /// The type of its bounds.
    pub(crate) element: Oid,
    pub(crate) multirange: Oid,
}

/// Everything that is known.
pub(crate) struct Catalog {
    types: HashMap<Oid, TypeEntry>,
    named: HashMap<&'static str, Oid>,
    casts: HashMap<(Oid, Oid), Cast>,
    /// Prefix operators, then those between two operands.
    operators: [HashMap<&'static str, Vec<Routine>>; 2],
    functions: HashMap<&'static str, Vec<Routine>>,
    argument_names: HashMap<&'static str, Vec<ArgumentNames>>,
    ranges: Vec<RangeEntry>,
}

/// The one catalogue.
pub(crate) fn catalog() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::read);
    &CATALOG
}

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().map(|line| line.split('\t').collect())
}

fn oid(text: &str) -> Oid {
    // The tables are part of the program; a broken one fails its test.
    Oid(text.parse().unwrap_or_default())
}

fn known(oid: Oid) -> Option<Oid> {
    (oid.0 != 0).then_some(oid)
}

fn argument_names() -> HashMap<&'static str, Vec<ArgumentNames>> {
    let mut names: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows(include_str!("../catalog/arguments.tsv")) {
        names.entry(row[0]).or_default().push(ArgumentNames {
            types: row[1].split(' ').map(oid).collect(),
            names: row[2].split(' ').collect(),
            defaults: row[3].split(' ').filter(|text| !text.is_empty()).collect(),
        });
    }
    names
}

impl Catalog {
    fn read() -> Catalog {
        let mut catalog = Catalog {
            types: HashMap::new(),
            named: HashMap::new(),
            casts: HashMap::new(),
            operators: [HashMap::new(), HashMap::new()],
            functions: HashMap::new(),
            argument_names: argument_names(),
            ranges: rows(include_str!("../catalog/ranges.tsv"))
                .map(|row| RangeEntry {
                    range: oid(row[0]),
                    element: oid(row[1]),
                    multirange: oid(row[2]),
                })
                .collect(),
        };
        for row in rows(include_str!("../catalog/types.tsv")) {
            let entry = TypeEntry {
                oid: oid(row[0]),
                name: row[1],
                category: row[2].chars().next().unwrap_or('X'),
                preferred: row[3] == "1",
                element: known(oid(row[4])),
                array: known(oid(row[5])),
            };
            catalog.named.insert(entry.name, entry.oid);
            catalog.types.insert(entry.oid, entry);
        }
        for row in rows(include_str!("../catalog/casts.tsv")) {
            let context = match row[2] {
                "i" => CastContext::Implicit,
                "a" => CastContext::Assignment,
                _ => CastContext::Explicit,
            };
            let cast = Cast { context, through_text: row[3] == "i" };
            catalog.casts.insert((oid(row[0]), oid(row[1])), cast);
        }
        for row in rows(include_str!("../catalog/operators.tsv")) {
            let arguments: Vec<Oid> =
                [oid(row[1]), oid(row[2])].into_iter().filter_map(known).collect();
            let code = row[4];
            // The operators that take NULL.
            let strict = !matches!(code, "array_append" | "array_prepend" | "array_cat");
            let infix = usize::from(arguments.len() == 2);
            catalog.operators[infix].entry(row[0]).or_default().push(Routine {
                name: row[0],
                arguments,
                variadic: None,
                result: oid(row[3]),
                strict,
                stable: false,
                code,
            });
        }
        for row in rows(include_str!("../catalog/functions.tsv")) {
            catalog.functions.entry(row[0]).or_default().push(Routine {
                name: row[0],
                arguments: row[1].split(' ').filter(|part| !part.is_empty()).map(oid).collect(),
                variadic: known(oid(row[2])),
                result: oid(row[3]),
                // NULL among the ranges is an error, though the array they make up is not NULL.
                strict: row[4] == "1" && row[6] != "multirange_constructor2",
                stable: row[5] == "s",
                code: row[6],
            });
        }
        catalog
    }

    pub(crate) fn type_of(&self, oid: Oid) -> Option<&TypeEntry> {
        self.types.get(&oid)
    }

    /// A type by `pg_type.typname`.
    pub(crate) fn named(&self, name: &str) -> Option<Oid> {
        self.named.get(name).copied()
    }

    pub(crate) fn cast(&self, from: Oid, to: Oid) -> Option<&Cast> {
        self.casts.get(&(from, to))
    }

    /// The overloads of an operator.
    pub(crate) fn operators(&self, symbol: &str, operands: usize) -> &[Routine] {
        self.operators[usize::from(operands == 2)].get(symbol).map_or(&[], Vec::as_slice)
    }

    /// A range type.
    pub(crate) fn range(&self, oid: Oid) -> Option<RangeEntry> {
        self.ranges.iter().find(|entry| entry.range == oid).copied()
    }

    /// The range type that a multirange type is made of.
    pub(crate) fn multirange(&self, oid: Oid) -> Option<RangeEntry> {
        self.ranges.iter().find(|entry| entry.multirange == oid).copied()
    }

    /// The names of the arguments of a function's overloads.
    pub(crate) fn argument_names(&self, name: &str) -> &[ArgumentNames] {
        self.argument_names.get(name).map_or(&[], Vec::as_slice)
    }

    /// The overloads of a function.
    pub(crate) fn functions(&self, name: &str) -> &[Routine] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_whole() {
        let catalog = catalog();
        assert!(catalog.types.len() > 100 && catalog.casts.len() > 100);
        assert_eq!(catalog.named("int4"), Some(Oid(23)));
        let routines = (catalog.operators.iter().chain([&catalog.functions]))
            .flat_map(|by_name| by_name.values().flatten());
        for routine in routines {
            for oid in routine.arguments.iter().chain([&routine.result]) {
                assert!(catalog.types.contains_key(oid), "{routine:?}");
            }
        }
        for (name, overloads) in &catalog.argument_names {
            for one in overloads {
                assert_eq!(one.types.len(), one.names.len());
                assert!(catalog.functions(name).iter().any(|known| known.arguments == one.types));
            }
        }
        assert!(catalog.types.values().all(|entry| entry.oid.0 > 0));
    }
}
