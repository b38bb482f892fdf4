//! What shapes with subqueries cost, counted: it must not depend on how many there are of a template.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use brooklet_dataflows::members::{Counts, Members, Sizes, needs};
use brooklet_dataflows::{Change, ShapeId, ShapePlan};
use brooklet_sql::Row;

mod world;

use world::{ISSUES, MEMBERSHIPS, PROJECTS, World, issue, membership, row};

type Act = (&'static str, fn(&mut World));

const ACTS: [Act; 9] = [
    ("a row that nobody's set has", |world| {
        assert_eq!(world.change(ISSUES, 5_000_000, Some(issue(5_000_000, 7_000_000))), 0);
    }),
    ("a row of one user", |world| {
        assert_eq!(world.change(ISSUES, 5_000_001, Some(issue(5_000_001, 41))), 1);
    }),
    ("a row that changes sides", |world| {
        assert_eq!(world.change(ISSUES, 5_000_001, Some(issue(5_000_001, 52))), 2);
    }),
    ("a row that five share", |world| {
        assert_eq!(world.change(ISSUES, 5_000_002, Some(issue(5_000_002, 0))), 5);
    }),
    ("a membership that comes", |world| {
        assert_eq!(world.change(MEMBERSHIPS, 2_000_000, Some(membership(2_000_000, 3, 45))), 1);
    }),
    ("a membership that goes", |world| {
        assert_eq!(world.change(MEMBERSHIPS, 2_000_000, None), 1);
    }),
    ("a membership of who has no shape", |world| {
        let user = world.rows.len() as u64;
        assert_eq!(world.change(MEMBERSHIPS, 2_000_001, Some(membership(2_000_001, user, 45))), 0);
    }),
    ("a shape more", |world| {
        // The first of those who have none.
        let user = (0..).find(|user| !world.members.has(ShapeId(*user))).unwrap();
        world.add(user);
    }),
    ("a shape less", |world| {
        let user = world.members.all().len() as u64 - 1;
        assert!(world.members.remove(ShapeId(user)));
    }),
];

/// Costs of everything, with so many shapes.
fn costs(template: &'static str, shapes: u64) -> Vec<(&'static str, [u64; 5])> {
    let mut world = World::new(template, shapes);
    ACTS.iter().map(|(what, act)| (*what, world.measure(act))).collect()
}

#[test]
fn a_shape_a_change_and_a_move_cost_the_same_among_a_thousand() {
    const TEMPLATE: &str =
        "project_id IN (SELECT project_id FROM memberships WHERE user_id = {user})";
    let (few, many) = (costs(TEMPLATE, 10), costs(TEMPLATE, 1_000));
    for ((what, few), (_, many)) in few.iter().zip(&many) {
        println!("{what}: evaluated, sets, shapes, rows, entries: {few:?}, {many:?}");
    }
    assert_eq!(few, many);
    let most = many.iter().flat_map(|(_, costs)| costs).max();
    assert!(most < Some(&150), "{many:?}");
}

#[test]
fn other_templates_depend_on_it_no_more() {
    for template in [
        "project_id IN (SELECT project_id FROM memberships WHERE user_id = {user}) AND title LIKE 'a%'",
        "title = 'abc' AND project_id IN (SELECT project_id FROM memberships WHERE user_id = {user})",
        "project_id IN (SELECT project_id FROM memberships WHERE user_id = {user}) OR (owner = {user} AND title = 'zzz')",
        "project_id IN (SELECT project_id FROM memberships WHERE user_id = {user} AND project_id IN (SELECT id FROM projects WHERE active))",
        "project_id IN (SELECT id FROM projects WHERE active) AND project_id IN (SELECT project_id FROM memberships WHERE user_id = {user})",
        "EXISTS (SELECT 1 FROM memberships m WHERE m.project_id = issues.project_id AND m.user_id = {user})",
    ] {
        let (few, many) = (costs(template, 40), costs(template, 300));
        for ((what, few), (_, many)) in few.iter().zip(&many) {
            println!("{what}: {few:?}, {many:?}");
            for (few, many) in few.iter().zip(many) {
                // Small crowds are asked one by one.
                assert!(*many <= few + 32, "{template}: {what}: {few} among 40, {many} among 300");
            }
        }
    }
}

#[test]
fn a_move_in_a_set_that_all_ask_finds_whom_it_concerns() {
    for template in [
        "project_id IN (SELECT project_id FROM memberships WHERE user_id = {user} AND project_id IN (SELECT id FROM projects WHERE active))",
        "project_id IN (SELECT id FROM projects WHERE active) AND project_id IN (SELECT project_id FROM memberships WHERE user_id = {user})",
        "owner = {user} AND project_id IN (SELECT id FROM projects WHERE active)",
        "owner = {user} AND project_id NOT IN (SELECT id FROM projects WHERE NOT active OR id > 3060)",
    ] {
        let mut world = World::new(template, 300);
        for (project, active, concerned) in [(57, "f", 1), (57, "t", 1), (3_050, "f", 0)] {
            let costs = world.measure(|world| {
                let new = row(&[&project.to_string(), active]);
                assert_eq!(world.change(PROJECTS, project, Some(new)), concerned, "{template}");
            });
            println!("{template}: {costs:?}");
            assert!(costs.iter().all(|cost| *cost < 100), "{template}: {costs:?}");
        }
    }
}

/// Only those who heed it are asked about all their rows, here three.
#[test]
fn a_set_that_empties_fills_or_gets_a_null_finds_whom_it_concerns() {
    for (template, heeding, concerned) in [
        (
            "owner = {user} AND project_id IN (SELECT id FROM projects WHERE id = 57)",
            "owner = 5 AND id > {user} AND project_id NOT IN (SELECT id FROM projects WHERE id = 57)",
            [1, 1, 0, 0, 0, 0],
        ),
        (
            "project_id IN (SELECT project_id FROM memberships WHERE user_id = {user} AND project_id IN (SELECT id FROM projects WHERE id = 57))",
            "owner = 5 AND id > {user} AND project_id NOT IN (SELECT id FROM projects WHERE id = 57)",
            [1, 1, 1, 0, 1, 0],
        ),
        (
            "owner = {user} AND project_id IN (SELECT project_id FROM memberships WHERE id IN (57, 2000000))",
            "owner = 5 AND id > {user} AND project_id NOT IN (SELECT project_id FROM memberships WHERE id IN (57, 2000000))",
            [0, 0, 1, 0, 1, 0],
        ),
    ] {
        let costs = |shapes: u64, heeders: u64| {
            let mut world = World::new("id > 0", 0);
            world.template = template;
            (0..shapes).for_each(|user| world.begin(user));
            world.template = heeding;
            (shapes..shapes + heeders).for_each(|user| world.begin(user));
            let null = Row::new([Some("2000000"), Some("5"), None]).unwrap();
            let acts = [
                (PROJECTS, 57, None),
                (PROJECTS, 57, Some(row(&["57", "t"]))),
                (MEMBERSHIPS, 57, None),
                (MEMBERSHIPS, 2_000_000, Some(null)),
                (MEMBERSHIPS, 57, Some(membership(57, 5, 57))),
                (MEMBERSHIPS, 2_000_000, None),
            ];
            acts.into_iter()
                .zip(concerned)
                .map(|((table, id, new), concerned)| {
                    world.measure(|world| {
                        let told = world.change(table, id, new);
                        assert!(told == concerned || heeders > 0, "{template}: {told}");
                    })
                })
                .collect::<Vec<_>>()
        };
        for heeders in [0, 3] {
            let (few, many) = (costs(100, heeders), costs(3_000, heeders));
            println!("{template}, {heeders} heed it: {many:?}");
            assert_eq!(few, many, "{template}, {heeders} heed it");
        }
        let most = costs(100, 0).into_iter().flatten().max();
        assert!(most < Some(100), "{template}: {most:?}");
    }
}

/// To EXISTS and to joins NULL is false, and a NULL in a key of several columns equals nothing.
#[test]
fn a_move_concerns_no_row_with_a_null_where_false_is_as_good() {
    for (filter, shapes) in [
        (
            "NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = issues.owner AND m.project_id = issues.project_id)",
            1,
        ),
        ("(owner, project_id) IN (SELECT user_id, project_id FROM memberships)", 1),
        // So many that those whom it concerns are looked up by rows.
        (
            "NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = issues.owner AND m.project_id = issues.project_id) AND id > {user}",
            40,
        ),
    ] {
        let cost = |nulls: u64| {
            let mut world = World::new("id > 0", 0);
            for id in 0..nulls {
                let id = id + 10_000;
                let values = [Some(&*id.to_string()), Some("7"), Some("abc"), None];
                world.rows.insert((ISSUES, id), Row::new(values).unwrap());
            }
            world.template = filter;
            (0..shapes).for_each(|user| world.begin(user));
            world.measure(|world| {
                world.change(MEMBERSHIPS, 500_000, Some(membership(500_000, 3, 7)));
            })
        };
        assert_eq!(cost(1_000), cost(10), "{filter}");
        let [evaluated, ..] = cost(1_000);
        println!("{filter}: {evaluated} evaluated");
    }
}

#[test]
fn what_is_seen_says_how_shapes_are_found() {
    let template = "project_id IN (SELECT project_id FROM memberships WHERE user_id = {user})";
    let mut world = World::new(template, 20);
    world.change(ISSUES, 5_000_002, Some(issue(5_000_002, 0)));
    let view = world.members.view();
    let [table] = view.tables.as_slice() else { panic!("{view:?}") };
    let [one] = table.templates.as_slice() else { panic!("{table:?}") };
    assert_eq!((table.shapes, one.shapes, table.changes), (20, 20, 1));
    assert_eq!((world.members.kinds(), world.members.sets()), (1, 20));
    assert_eq!(world.members.of_table(MEMBERSHIPS).len(), 20);
    assert_eq!(one.path, "set \"project_id\"");
    assert_eq!((one.candidates, one.matches), (5, 5));
    assert!(one.filter.contains('?') && !one.filter.contains("19"), "{}", one.filter);
    let timed = |time: Option<u64>| time.is_some_and(|time| time > 0);
    assert!(timed(one.candidate_ns) && timed(table.transaction_ns), "{table:?}");
    assert_eq!(table.change_ns, None, "not a change at a time");
}

#[test]
fn who_is_moved_only_is_timed_too_and_templates_apart() {
    let template = "project_id IN (SELECT project_id FROM memberships WHERE user_id = {user})";
    let mut world = World::new(template, 20);
    world.template =
        "id > 0 AND project_id IN (SELECT project_id FROM memberships WHERE user_id = {user})";
    (20..24).for_each(|user| world.add(user));
    let times = |world: &World| {
        let view = world.members.view();
        let [table] = view.tables.as_slice() else { panic!("{view:?}") };
        let of = |shapes| {
            let mut found = table.templates.iter().filter(move |one| one.shapes == shapes);
            found.next().unwrap_or_else(|| panic!("{table:?}")).candidate_ns
        };
        (of(20), of(4), table.transaction_ns)
    };
    assert_eq!(times(&world), (None, None, None), "nothing yet");
    // Only the user 22 gets the rows of a project.
    let id = 3_000_000;
    assert_eq!(world.change(MEMBERSHIPS, id, Some(membership(id, 22, 1))), 1);
    let (others, moved, transaction) = times(&world);
    assert!(others.is_none() && moved.is_some_and(|time| time > 0), "{others:?} {moved:?}");
    assert!(transaction >= moved, "the whole takes no less than asking its one shape");
}

const PLAIN: &str = "project_id IN (SELECT project_id FROM memberships WHERE user_id = '{user}')";

fn number(of: u64) -> String {
    (1_000_000 + of).to_string()
}

fn uuid(of: u64) -> String {
    let random = of.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{:08x}-{:04x}-4{:03x}-8000-{of:012x}", random >> 32, random & 0xFFFF, random >> 52)
}

/// A key of the kind that is neither.
fn text(of: u64) -> String {
    format!("acme/{:05}-{of}", of * 36 % 99_991)
}

const USERS: u64 = 200;
const MEMBERSHIPS_EACH: u64 = 100;
const ALL: u64 = USERS * MEMBERSHIPS_EACH;

/// Columns of users and projects: how their values are written, and their type.
type Ids = (fn(u64) -> String, u32);

const NUMBERS: Ids = (number, 20);
const UUIDS: Ids = (uuid, 2_950);
const TEXTS: Ids = (text, 25);

/// The bytes of a membership.
struct Each {
    /// With all that are there.
    all: usize,
    /// Of these the keys in sets.
    keys: usize,
    /// The most while they became twice as many, and the mean of that time.
    most: usize,
    mean: usize,
    /// Of an issue.
    outer: usize,
}

/// What is kept for 20,000 memberships, half of which were there before the shapes and half of which come later, and
/// for four issues of each project.
fn kept(template: &'static str, (id, type_oid): Ids, projects: u64) -> Each {
    let mut world = World::empty(template, id, (type_oid, type_oid));
    let member = |number: u64| {
        let user = number % USERS;
        let project = (user * MEMBERSHIPS_EACH + number / USERS) * 7_919 % projects;
        row(&[&(9_000_000 + number).to_string(), &id(user), &id(project)])
    };
    for project in 0..projects {
        world.rows.insert((PROJECTS, project), row(&[&id(project), "t"]));
        for at in 4 * project..4 * project + 4 {
            let title = format!("issue number {at} of a project, of some length");
            let issue = row(&[&at.to_string(), &id(project), &title, &id(at % USERS)]);
            world.rows.insert((ISSUES, at), issue);
        }
    }
    (0..ALL / 2).for_each(|at| drop(world.rows.insert((MEMBERSHIPS, at), member(at))));
    (0..USERS).for_each(|user| world.add(user));
    let mut seen = Vec::new();
    for at in ALL / 2..ALL {
        let moved = world.change(MEMBERSHIPS, at, Some(member(at)));
        assert!(moved <= 1, "a membership concerns its user alone");
        if at % 100 == 99 {
            let Sizes { inner, keys, .. } = world.members.sizes();
            seen.push((inner + keys).div_ceil(at as usize + 1));
        }
    }
    let Sizes { outer, inner, keys, .. } = world.members.sizes();
    let (all, most) = (ALL as usize, seen.iter().max().copied().unwrap());
    Each {
        all: (inner + keys).div_ceil(all),
        keys: keys.div_ceil(all),
        most,
        mean: seen.iter().sum::<usize>().div_ceil(seen.len()),
        outer: outer / (4 * projects as usize),
    }
}

/// By the accounting of what is kept, which the test below compares with what the process takes. Where each membership has
/// a text of its own, some 15 characters and their length are of it.
#[test]
fn a_membership_takes_at_most_64_bytes_and_few_more_only_with_texts() {
    const NESTED: &str = "project_id IN (SELECT project_id FROM memberships WHERE user_id = '{user}' AND project_id IN (SELECT id FROM projects WHERE active))";
    const EXISTS: &str = "EXISTS (SELECT 1 FROM memberships m WHERE m.project_id = issues.project_id AND m.user_id = '{user}')";
    const JOINED: &str = "project_id IN (SELECT p.id FROM memberships m JOIN projects p ON p.id = m.project_id WHERE m.user_id = '{user}' AND p.active)";
    let shared = 2_000;
    for (what, template, ids, projects, most, most_outer) in [
        ("whole numbers", PLAIN, NUMBERS, shared, 32, 110),
        ("whole numbers, a project each", PLAIN, NUMBERS, ALL, 48, 110),
        ("UUIDs", PLAIN, UUIDS, shared, 48, 110),
        ("EXISTS, UUIDs", EXISTS, UUIDS, shared, 48, 110),
        ("UUIDs, a project each", PLAIN, UUIDS, ALL, 64, 110),
        ("short texts", PLAIN, TEXTS, shared, 48, 110),
        ("short texts, a project each", PLAIN, TEXTS, ALL, 68, 110),
        ("nested", NESTED, NUMBERS, shared, 48, 110),
        ("joined", JOINED, NUMBERS, shared, 48, 110),
    ] {
        let each = kept(template, ids, projects);
        println!(
            "{what}: {} bytes a membership, {} of them its keys; among 10,000 to 20,000 at most {}, {} in the mean; {} an issue",
            each.all, each.keys, each.most, each.mean, each.outer
        );
        assert!(each.most <= most && each.outer <= most_outer, "{what}");
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    4_096 * pages
}

/// Users and projects, and how many memberships there are of a project.
const CASES: [(&str, Ids, u64); 4] = [
    ("whole numbers", NUMBERS, 20),
    ("UUIDs", UUIDS, 20),
    ("UUIDs, a project each", UUIDS, 1),
    ("short texts, a project each", TEXTS, 1),
];

/// Names the case, in a process that has memory for it alone.
const CASE: &str = "BROOKLET_TEST_CASE";

/// Prints what the figures in DESIGN.md are: `--ignored --nocapture`, alone.
#[test]
#[ignore = "takes some hundred megabytes and minutes"]
fn what_is_kept_takes_as_much_memory_as_is_said() {
    if let Ok(case) = std::env::var(CASE) {
        let (_, ids, each) = CASES.into_iter().find(|(what, ..)| *what == case).unwrap();
        return compare_with_process(ids, each);
    }
    for (what, ..) in CASES {
        println!("{what}:");
        let mut process = std::process::Command::new(std::env::current_exe().unwrap());
        process.args(["--ignored", "--exact", "--nocapture"]);
        process.arg("what_is_kept_takes_as_much_memory_as_is_said").env(CASE, what);
        assert!(process.status().unwrap().success(), "{what}");
    }
}

fn compare_with_process((id, type_oid): Ids, of_project: u64) {
    const USERS: u64 = 3_000;
    const EACH: u64 = 100;
    let mut world = World::empty(PLAIN, id, (type_oid, type_oid));
    let bare = resident();
    let plans: Vec<Arc<ShapePlan>> = (0..USERS).map(|user| world.plan(user)).collect();
    let plan = (resident() - bare) as u64 / USERS;
    println!("  a plan, which the shape has in any case: {plan} bytes");
    for (name, _) in needs(&plans[0]) {
        let none = Counts::new(&name);
        world.members.keep(name, none).unwrap();
    }
    let (before, mut last) = (resident(), (resident(), 0));
    let mut say = |what: &str, members: &Members, per: u64| {
        let (now, said) = (resident(), members.bytes());
        let (grown, said_more) = (now as i64 - last.0 as i64, said as i64 - last.1 as i64);
        println!("  {what}: {} bytes each, {} said", grown / per as i64, said_more / per as i64);
        last = (now, said);
    };
    // Row by row, so that no list of them is left behind.
    world.members.add(Arc::clone(&plans[0]));
    for user in 0..USERS {
        let changes: Vec<Change> = (0..EACH)
            .map(|number| {
                let at = user * EACH + number;
                let project = at * 7_919 % (USERS * EACH / of_project);
                let new = Some(row(&[&at.to_string(), &id(user), &id(project)]));
                Change { seq: at, op_position: 2 * number, table: MEMBERSHIPS, old: None, new }
            })
            .collect();
        world.members.transaction(&changes, 2 * EACH).unwrap();
    }
    say("a kept row", &world.members, USERS * EACH);
    plans[1..].iter().for_each(|plan| world.members.add(Arc::clone(plan)));
    say("a set of a hundred keys, with its shape and index", &world.members, USERS);
    let (grown, said) = (resident() - before, world.members.bytes());
    let Sizes { inner, keys, .. } = world.members.sizes();
    let each = (inner + keys).div_ceil((USERS * EACH) as usize);
    println!("  in all: {grown} bytes, {said} said; {each} of a membership");
    assert!(said * 10 > grown * 9 && said * 8 < grown * 10, "{grown} bytes, {said} said");
    assert!(each <= 66, "{each}");
}
