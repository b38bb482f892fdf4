//! Every bound of the WHERE language, with its unit and its reason.
//!
//! *Invariant*: what is over a bound is refused with a message that names it; nothing is cut off.

/// Bytes of a clause. A larger one is no predicate but data; the shape protocol has the same bound.
pub const WHERE_BYTES_MAX: usize = 64 * 1024;

/// Levels of a clause's syntax tree; AND and OR chains of any length are one level. Keeps every
/// recursive walk far below the smallest thread stack (2 MiB).
pub const WHERE_NESTING_MAX: usize = 128;

/// Elements of one IN list: more than 64 KiB of text can hold in useful form.
pub const IN_LIST_ELEMENTS_MAX: usize = 16_384;

/// Bytes of one parameter's value: values for comparison, not documents.
pub const PARAMETER_BYTES_MAX: usize = 256 * 1024;

/// Digits of a numeric constant before and after the point together. Postgres allows 147,455, but
/// `1e131071` is eight characters of text and 128 KiB of digits.
pub const NUMERIC_CONSTANT_DIGITS_MAX: usize = 1_000;

/// Probes of one predicate. IN lists over several columns multiply; above this, fewer columns are
/// probed instead.
pub const PROBES_MAX: usize = 4_096;

/// Access paths of one predicate that are weighed against one another when its shape comes and goes:
/// an AND of hundreds of parts is as well served by the best of its first ones.
pub const ALTERNATIVES_MAX: usize = 8;

/// Zones of one clause that the server is asked for: each takes it a second, once.
pub const ZONES_MAX: usize = 8;

/// Parts of one predicate that exist more than once: what BETWEEN, IN and CASE compare repeatedly is
/// copied, and nesting them multiplies.
pub const EXPRESSION_NODES_MAX: usize = 100_000;

/// Tables of one subquery that are joined: each is a level of nesting of what they become.
pub const JOINED_TABLES_MAX: usize = 16;

/// Subqueries within one another, tables that they join included: each is three levels of what is printed, which
/// has to be read after a restart, and a large frame of a recursive walk.
pub const SUBQUERY_LEVELS_MAX: usize = 24;

/// Digits of a whole power and of what is raised to it, about as many as exponentials have at most. Postgres
/// computes up to 131,072, for seconds; a row for which it takes more than this is an error here.
pub const POWER_DIGITS_MAX: usize = 4_000;

/// Columns behind one ORDER BY: each is looked for among all that is selected, and none has an effect.
pub const ORDER_MAX: usize = 64;

/// Tables that one clause names: the server is asked for each before the clause is looked at.
pub const NAMED_TABLES_MAX: usize = 256;

/// Different subqueries that one clause tests, a clause inside a subquery by itself: each is a set for each row
/// that is tested, and one more thing that every other one is compared with.
pub const SUBQUERIES_MAX: usize = 64;

/// Bytes of a value that is computed for a row, where the row itself has fewer: what `repeat`, `lpad`, `replace` and
/// nested calls make, on the thread that all rows go through. Postgres' bound is a gigabyte.
pub const MADE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How many times the bytes of its row such a value may have, if that is more: what a row holds may be escaped or
/// encoded, whatever its size.
pub const GROWTH_MAX: usize = 8;

/// Bytes by which a constant may be larger than those it is made of, and the width to which one is filled up: it is kept
/// as long as its shape, and thousands fit into a clause.
pub const MADE_CONSTANT_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the parameters of a clause, each as often as it is named, and of what a clause becomes once all that is
/// constant has been computed: it is kept several times over as long as its shape.
pub const CLAUSE_CONSTANTS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Steps of a LIKE whose pattern has `_`, each a character of the pattern against one of the text: a text of a megabyte
/// and a pattern of a few kilobytes that are the same letter over and over would take billions. A row for which it
/// takes more is an error here.
pub const LIKE_STEPS_MAX: usize = 1 << 26;

/// The same for a byte of a text that is so long that this is more: texts of words take about one.
pub const LIKE_STEPS_FOR_BYTE_MAX: usize = 16;

/// Pairs that conjunctions of one predicate make of the values of several columns, all together: each is a map. A
/// conjunction that would need more is looked for by fewer columns.
pub const PAIRS_MAX: usize = 16 * PROBES_MAX;
