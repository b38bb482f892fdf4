//! `brooklet explain`: what a filter becomes, and how its shape is found for a changed row.
//!
//! *Enters*: a table and a clause. *Leaves*: text: the clause's normal form, its template, and the
//! access paths; or why it is refused. *Invariant*: asks the database for the table's definition and
//! changes nothing; the server is not needed, and refuses what is refused here.

use std::fmt::Write;
use std::path::PathBuf;

use brooklet_sql::{Access, Alternative, MemberWay, Predicate, RelationName, TableSchema, Want};

use crate::replication::Database;
use crate::replication::schema::Schemas;
use crate::shapes::definition::{FilterSource, predicate};

/// Settings of `brooklet explain`.
#[derive(clap::Args, Debug, Clone)]
pub struct ExplainArgs {
    /// The database that has the table.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,

    /// Certificates to check the database server against.
    #[arg(long, env = "BROOKLET_DATABASE_CA_CERTIFICATE_FILE")]
    pub database_ca_certificate_file: Option<PathBuf>,

    /// The table.
    #[arg(long)]
    pub table: String,

    /// A filter, as a client would send it.
    #[arg(long = "where")]
    pub filter: String,

    /// The values of $1, $2, …, in order.
    #[arg(long = "param")]
    pub params: Vec<String>,
}

/// Explains; `Err` inside is why the filter is refused.
pub async fn run(args: ExplainArgs) -> anyhow::Result<Result<String, String>> {
    let ca = args.database_ca_certificate_file.as_deref();
    let database = Database::new(&args.database_url, ca, 1)?;
    let table = RelationName::parse(&args.table)?;
    let schemas = Schemas::new(database, std::sync::Arc::default());
    let schema = schemas.refresh(&table, true).await?;
    let source = FilterSource { text: args.filter, params: args.params };
    let tables = schemas.of_subqueries(Some(&source), true, true).await?;
    Ok(match predicate(&source, &schema, &tables) {
        Ok(predicate) => Ok(explain(&predicate, &schema)),
        Err(refusal) => Err(refusal.to_string()),
    })
}

fn explain(predicate: &Predicate, table: &TableSchema) -> String {
    let names = predicate.columns().iter().map(|at| table.columns[*at].name.as_str());
    let mut text = format!(
        "normal form  {}\ntemplate     {}\nreads        {}\n",
        predicate.sql(),
        predicate.form().template(),
        names.collect::<Vec<_>>().join(", ")
    );
    // Writing to a string cannot fail.
    if !predicate.memberships().is_empty() {
        let tables: Vec<String> =
            predicate.subquery_tables().iter().map(|table| table.name.quoted()).collect();
        _ = writeln!(text, "subqueries   of {}", tables.join(", "));
    }
    let access = predicate.access();
    let ways = if access == Access::Nothing { Vec::new() } else { predicate.member_ways() };
    let mut paths: Vec<String> = ways.iter().map(|way| sets(way, predicate, table)).collect();
    match &access {
        Access::Nothing => paths.push("nothing: no row can match".to_owned()),
        Access::All if paths.is_empty() => paths.push("every row".to_owned()),
        Access::All => {}
        Access::Any(list) => paths.extend(list.iter().map(|one| one.describe(table))),
    }
    for (at, path) in paths.iter().enumerate() {
        _ = writeln!(text, "{:<12} {path}", if at == 0 { "found by" } else { "or by" });
    }
    _ = match &access {
        Access::Nothing => writeln!(text, "asked about  0 of all changes"),
        _ if !ways.is_empty() => writeln!(
            text,
            "candidates   per changed row, old and new: the shapes whose set has the row's value\n\
             asked about  {ASKED}"
        ),
        Access::All => {
            let sharing = match predicate.memberships() {
                [] => "; shapes of the same clause share the answer",
                _ => "",
            };
            writeln!(
                text,
                "candidates   this shape is asked about every change of its table{sharing}\n\
                 asked about  1.0 of all changes"
            )
        }
        Access::Any(list) => found(&mut text, &list[0]),
    };
    text
}

/// A path by the sets of subqueries, in words.
fn sets(way: &MemberWay, predicate: &Predicate, table: &TableSchema) -> String {
    let tests = way.tests.iter().filter_map(|at| predicate.memberships().get(*at));
    let mut names: Vec<String> =
        tests.flat_map(|test| test.left.iter().map(|side| side.sql(table))).collect();
    names.dedup();
    let or = if way.rest == Access::Nothing { "" } else { ", or what else the row says" };
    format!("sets of {}{or}", names.join(", "))
}

/// What it means to be found by an alternative.
fn found(text: &mut String, alternative: &Alternative) -> std::fmt::Result {
    let mut said: Vec<&str> = Vec::new();
    for word in alternative.probes.iter().map(|probe| candidates(&probe.want)) {
        if !said.contains(&word) {
            said.push(word);
        }
    }
    let said = said.join("; ");
    writeln!(text, "candidates   per changed row, old and new: {said}\n{}", cost(alternative))
}

/// How large a part of the changes a shape is asked about depends on the rows; a server counts it.
const ASKED: &str = "candidates / (shapes * changes), all of which GET /v1/admin/engine shows";

/// What it takes to be found by an alternative, in numbers.
fn cost(alternative: &Alternative) -> String {
    let mut sources: Vec<&str> =
        alternative.probes.iter().map(|probe| probe.source.name()).collect();
    sources.sort_unstable();
    sources.dedup();
    format!(
        "keys         {} in the index; a changed row is read {} times for all shapes that are found so\n\
         asked about  {ASKED}",
        alternative.probes.len(),
        sources.len()
    )
}

/// Which shapes of the same kind a changed row names.
fn candidates(want: &Want) -> &'static str {
    match want {
        Want::Equal(_) => "the shapes that want the row's value",
        Want::Between(Some(_), Some(_)) => "the shapes whose range holds the row's value",
        Want::Between(..) => "the shapes whose bound the row's value is beyond",
        Want::Prefix(_) => "the shapes whose prefix the row's text begins with",
        Want::Fragment(_) => "the shapes one piece of whose text is in the row's",
        Want::Within(_) => "the shapes that have the row's first element, or all if it has none",
        Want::Except(_) => "all such shapes but those that except the row's value",
        Want::Null => "all such shapes if the row has no value",
        Want::NotNull => "all such shapes if the row has a value",
    }
}
