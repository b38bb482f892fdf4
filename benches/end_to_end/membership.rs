//! What shapes with subqueries cost: how soon a membership that comes or goes is in the log of its user's
//! shape, and the memory that the rows of both tables take.
//!
//! Every user has a shape of the issues in the user's projects. All users are members of old projects, whose
//! issues are gone, and join and leave new ones, each with a few issues, one membership at a time. So the rows
//! that are kept are told from what is in logs. The time is beside that of a bare replication connection, see
//! `latency.rs`.
//!
//! Sizes: `BENCH_USERS`, `BENCH_MEMBERSHIPS` of each, `BENCH_ISSUES`.

use serde_json::json;

use super::harness::{Shape, World, size};
use super::latency::{Write, turns, world};
use super::making::make;
use super::templates::SUBQUERY;
use super::{figures, resident, settled};

/// Issues of a new project: what a membership brings.
const ISSUES_OF_A_PROJECT: usize = 10;
/// Rows in a transaction while tables are filled.
const FILLING: usize = 1_000;
/// Shapes that are compared with Postgres at the end.
const COMPARED: usize = 10;

/// An answer has all rows of a move as long as no chunk ends in it: the log stays small.
const WRITES_MAX: usize = 100;

pub async fn membership() {
    let (users, each) = (size("BENCH_USERS", 20), size("BENCH_MEMBERSHIPS", 10));
    let projects = size("BENCH_ISSUES", 400).div_ceil(ISSUES_OF_A_PROJECT);
    let (memberships, issues) = (users * each, projects * ISSUES_OF_A_PROJECT);
    // More than enough: what it counts is not what is measured.
    let budget = ["--subquery-memory", "64GiB"].map(str::to_owned);
    let (world, metrics) = world(&["fsync=off"], |options| options.arguments.extend(budget)).await;
    world.sql("CREATE TABLE issues (id int PRIMARY KEY, project_id int NOT NULL, title text NOT NULL)").await;
    world.sql("CREATE TABLE memberships (user_id int, project_id int, PRIMARY KEY (user_id, project_id))").await;
    let made = make(&world, 0..users, shape).await.took;
    settled(&world, &shape(0)).await;
    let idle = resident(&world, "VmRSS");

    let old = users.max(each);
    let member = format!("n / {each}, {projects} + n % {old}");
    fill(&world, "memberships", &member, memberships).await;
    let with_memberships = resident(&world, "VmRSS");
    let issue = format!("n, n / {ISSUES_OF_A_PROJECT}, 'issue number ' || n || ' of some length'");
    fill(&world, "issues", &issue, issues).await;
    let with_issues = resident(&world, "VmRSS");
    let bytes = |before: u64, after: u64, rows: usize| {
        after.saturating_sub(before) as f64 * 1024.0 / rows as f64
    };
    let a_membership = bytes(idle, with_memberships, memberships);
    let an_issue = bytes(with_memberships, with_issues, issues);

    let (user, mut moves) = (users / 2, 0);
    let write = || {
        let (project, joins) = (moves / 2 % projects, moves % 2 == 0);
        moves += 1;
        let sql = match joins {
            true => format!("INSERT INTO memberships VALUES ({user}, {project})"),
            false => {
                format!("DELETE FROM memberships WHERE user_id = {user} AND project_id = {project}")
            }
        };
        Write { sql, operations: ISSUES_OF_A_PROJECT }
    };
    let turns = turns(&world, metrics, &shape(user), WRITES_MAX, write).await;
    println!("membership: {users} users with {each} memberships and a shape each, {issues} issues");
    println!("  shapes made           {:>9.0} /s", users as f64 / made.as_secs_f64());
    println!(
        "  a membership          {a_membership:>9.0} bytes of resident memory ({:.0} MiB with shapes before)",
        idle as f64 / 1024.0
    );
    println!("  an issue              {an_issue:>9.0} bytes");
    println!("  one membership comes or goes, with {ISSUES_OF_A_PROJECT} issues:");
    turns.print();
    check(&world, users, user).await;
    figures::write(
        "membership",
        &json!({
            "users": users,
            "memberships": memberships,
            "issues": issues,
            "shapes_made_per_second": users as f64 / made.as_secs_f64(),
            "bytes_per_membership": a_membership,
            "bytes_per_issue": an_issue,
            "turns": turns.json(),
        }),
    );
}

fn shape(user: usize) -> Shape {
    Shape::of("issues").filter(&(SUBQUERY.filter)(user))
}

/// Inserts rows 0 to `count`, and waits until the server has them.
async fn fill(world: &World, table: &str, row: &str, count: usize) {
    world
        .sql(&format!(
            "DO $$ BEGIN
               FOR at IN 0..{} BY {FILLING} LOOP
                 INSERT INTO {table} SELECT {row} FROM generate_series(at, least(at + {FILLING}, {count}) - 1) n;
                 COMMIT;
               END LOOP;
             END $$",
            count - 1
        ))
        .await;
    settled(world, &shape(0)).await;
}

/// Compares some shapes with Postgres, once somebody is a member of something.
async fn check(world: &World, users: usize, user: usize) {
    world.sql(&format!("INSERT INTO memberships VALUES ({user}, 0)")).await;
    let some = (0..users).step_by(users.div_ceil(COMPARED)).chain([user]);
    let mut followers: Vec<_> = some.map(|user| world.client(shape(user))).collect();
    world.compare_all(&mut followers).await;
    let rows = followers.last().unwrap().rows().len();
    assert_eq!(rows, ISSUES_OF_A_PROJECT);
    println!("  checked               {} shapes equal Postgres' answer", followers.len());
}
