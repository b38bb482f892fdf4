//! Users, their projects and the issues of these, with shapes that have subqueries: counted is what they cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_dataflows::members::{Costs, Counts, Members, needs};
use brooklet_dataflows::{Change, Selection, ShapeId, ShapePlan};
use brooklet_sql::{Collation, Column, RelationName, Row, TableSchema, Tables, compile_with};

fn table(oid: u32, name: &str, columns: &[(&str, u32)]) -> Arc<TableSchema> {
    let column = |(at, (name, oid)): (usize, &(&str, u32))| Column {
        name: (*name).into(),
        type_oid: *oid,
        base_type_oid: *oid,
        type_name: "x".into(),
        key_position: (at == 0).then_some(0),
        collation: (*oid == 25).then(Collation::c),
        dropped: false,
        ..Column::gone()
    };
    let columns = columns.iter().enumerate().map(column).collect();
    let name = RelationName { schema: "public".into(), table: name.into() };
    Arc::new(TableSchema { oid, name, columns, partitioned: false, unique: Vec::new() })
}

pub const PROJECTS: u32 = 1;
pub const MEMBERSHIPS: u32 = 2;
pub const ISSUES: u32 = 3;

/// Projects that each user is a member of, nobody else but for the first.
const PROJECTS_EACH: u64 = 10;

/// Users of the first project.
const SHARING: u64 = 5;

pub struct World {
    tables: Tables,
    pub rows: BTreeMap<(u32, u64), Row>,
    pub members: Members,
    pub template: &'static str,
    /// What stands for a user in it.
    user: fn(u64) -> String,
    selection: Arc<Selection>,
    seq: u64,
}

pub fn row(values: &[&str]) -> Row {
    Row::new(values.iter().map(|value| Some(*value))).unwrap()
}

pub fn issue(id: u64, project: u64) -> Row {
    row(&[&id.to_string(), &project.to_string(), "abc", &(id / 30).to_string()])
}

pub fn membership(id: u64, user: u64, project: u64) -> Row {
    row(&[&id.to_string(), &user.to_string(), &project.to_string()])
}

impl World {
    /// Tables without rows, whose users and projects are of these types.
    pub fn empty(
        template: &'static str,
        user: fn(u64) -> String,
        (users, projects): (u32, u32),
    ) -> World {
        let memberships = [("id", 23), ("user_id", users), ("project_id", projects)];
        let issues = [("id", 23), ("project_id", projects), ("title", 25), ("owner", users)];
        let tables = [
            table(PROJECTS, "projects", &[("id", projects), ("active", 16)]),
            table(MEMBERSHIPS, "memberships", &memberships),
            table(ISSUES, "issues", &issues),
        ];
        let issues = Arc::clone(&tables[2]);
        let (columns, key) = ([0, 1, 2, 3].into(), [0].into());
        let selection = Arc::new(Selection { table: issues, columns, key, listed: true });
        let tables: Tables = tables.map(|table| (table.name.clone(), table)).into();
        let (rows, members) = (BTreeMap::new(), Members::default());
        World { tables, rows, members, template, user, selection, seq: 0 }
    }

    /// So many users, each with a shape.
    pub fn new(template: &'static str, users: u64) -> World {
        let mut world = World::empty(template, |user| user.to_string(), (23, 20));
        // Some users have no shape.
        for user in 0..users + 10 {
            for number in 0..PROJECTS_EACH {
                let project = user * PROJECTS_EACH + number;
                let active = row(&[&project.to_string(), "t"]);
                world.rows.insert((PROJECTS, project), active);
                world.rows.insert((MEMBERSHIPS, project), membership(project, user, project));
                for at in 0..3 {
                    let id = 3 * project + at;
                    world.rows.insert((ISSUES, id), issue(id, project));
                }
            }
            if (1..SHARING).contains(&user) {
                let id = 1_000_000 + user;
                world.rows.insert((MEMBERSHIPS, id), membership(id, user, 0));
            }
        }
        for user in 0..users {
            world.add(user);
            assert!(world.members.rows(ShapeId(user)).count() >= 3);
        }
        world
    }

    pub fn plan(&self, user: u64) -> Arc<ShapePlan> {
        let filter = self.template.replace("{user}", &(self.user)(user));
        let table = &self.selection.table;
        let predicate = Some(compile_with(&filter, &[], table, &self.tables).unwrap());
        let selection = Arc::clone(&self.selection);
        Arc::new(ShapePlan { id: ShapeId(user), selection, predicate })
    }

    pub fn add(&mut self, user: u64) {
        self.begin(user);
        assert!(self.members.rows(ShapeId(user)).count() >= 3);
    }

    pub fn begin(&mut self, user: u64) {
        let plan = self.plan(user);
        for (name, _) in needs(&plan) {
            if !self.members.keeps(&name) {
                let rows = self.rows.range((name.table, 0)..(name.table + 1, 0));
                let mut counts = Counts::new(&name);
                rows.for_each(|(_, row)| counts.add(&name.project(row).unwrap(), 1));
                self.members.keep(name, counts).unwrap();
            }
        }
        self.members.add(plan);
    }

    /// A transaction of one change; told how many shapes it concerns.
    pub fn change(&mut self, table: u32, id: u64, new: Option<Row>) -> usize {
        let old = self.rows.remove(&(table, id));
        self.rows.extend(new.clone().map(|row| ((table, id), row)));
        self.seq += 1;
        let change = Change { seq: self.seq, op_position: 0, table, old, new };
        self.members.transaction(&[change], 0).unwrap().len()
    }

    /// What something costs.
    pub fn measure(&mut self, act: impl FnOnce(&mut World)) -> [u64; 5] {
        let before = self.members.costs();
        act(self);
        let after = self.members.costs();
        let numbers =
            |costs: Costs| [costs.evaluated, costs.sets, costs.shapes, costs.rows, costs.entries];
        let (before, after) = (numbers(before), numbers(after));
        std::array::from_fn(|at| after[at] - before[at])
    }
}
