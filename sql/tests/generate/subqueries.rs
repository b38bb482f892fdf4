//! Random filters with subqueries, in every form that is supported, over tables of equal columns. The black-box tests
//! follow shapes of them, those of this package compare what they are rewritten to.

/// What every table has.
pub const COLUMNS: &str =
    "(id int PRIMARY KEY, a int, b int8, c numeric, name text, active bool, tags int[], ci citext)";

/// Columns that may be compared with one another.
const NUMBERS: [&str; 4] = ["id", "a", "b", "c"];

/// Makes filters.
pub struct Filters<'a> {
    tables: &'a [&'a str],
    /// A random number below another one.
    below: &'a mut dyn FnMut(usize) -> usize,
    /// Tables that have been given a name.
    named: usize,
    /// The column of text that is compared.
    text: &'static str,
}

/// A table inside, how it is called, and whether it is alone there, so that its columns need no table's name.
struct Inside {
    name: String,
    alone: bool,
}

impl Inside {
    fn column(&self, column: &str) -> String {
        if self.alone { column.to_owned() } else { format!("{}.{column}", self.name) }
    }
}

impl<'a> Filters<'a> {
    /// Of these tables, by these numbers.
    pub fn new(tables: &'a [&'a str], below: &'a mut dyn FnMut(usize) -> usize) -> Filters<'a> {
        Filters { tables, below, named: 0, text: "name" }
    }

    /// A filter over a table with at least one subquery.
    pub fn filter(&mut self, table: &str) -> String {
        self.tree(3, true, &Inside { name: table.to_owned(), alone: true })
    }

    fn pick<'b>(&mut self, list: &[&'b str]) -> &'b str {
        list[(self.below)(list.len())]
    }

    fn percent(&mut self, percent: usize) -> bool {
        (self.below)(100) < percent
    }

    /// A predicate over rows of a table.
    fn tree(&mut self, depth: usize, subquery: bool, of: &Inside) -> String {
        if depth == 0 {
            return if subquery { self.membership(0, of) } else { self.leaf(of) };
        }
        if subquery && self.percent(50) || self.percent(25) {
            return self.membership(depth - 1, of);
        }
        match (self.below)(if subquery { 3 } else { 5 }) {
            0 => format!("NOT ({})", self.tree(depth - 1, subquery, of)),
            1 => {
                let first = self.membership(depth - 1, of);
                format!("({first}) AND ({})", self.tree(depth - 1, false, of))
            }
            2 => {
                let first = self.tree(depth - 1, false, of);
                format!("({first}) OR ({})", self.membership(depth - 1, of))
            }
            3 => format!("({}) IS NOT TRUE", self.tree(depth - 1, false, of)),
            _ => self.leaf(of),
        }
    }

    fn leaf(&mut self, of: &Inside) -> String {
        let number = (self.below)(5);
        match (self.below)(8) {
            // So that filters differ in a constant only.
            6..=7 => format!("{} = {number}", of.column("a")),
            0 => of.column("active"),
            1 => format!("{} = 'a'", of.column("name")),
            2 => format!("{} > {number}", of.column("a")),
            3 => format!("{} IS NULL", of.column("b")),
            4 => format!("{} = {}", of.column("a"), of.column("b")),
            _ => format!("{} IN (1, 2.5, {number})", of.column("c")),
        }
    }

    /// A test of the rows of a table.
    fn membership(&mut self, depth: usize, of: &Inside) -> String {
        let text = std::mem::replace(&mut self.text, ["name", "name", "ci"][(self.below)(3)]);
        let found = self.test(depth, of);
        self.text = text;
        found
    }

    fn test(&mut self, depth: usize, of: &Inside) -> String {
        let (left, other) = (self.pick(&NUMBERS), self.pick(&NUMBERS));
        let (x, y) = (self.computed(of.column(left), of), of.column(other));
        let name = self.computed_name(of);
        match (self.below)(14) {
            11..=13 => self.single(depth, of),
            0..=2 => format!("{x} IN ({})", self.query(1, false, depth, of)),
            3..=4 => format!("{x} NOT IN ({})", self.query(1, false, depth, of)),
            5 => format!("({x}, {name}) IN ({})", self.query(1, true, depth, of)),
            6 => format!("({x}, {y}) NOT IN ({})", self.query(2, false, depth, of)),
            7 => format!("({x} IN ({})) IS UNKNOWN", self.query(1, false, depth, of)),
            8 => format!("{name} = ANY ({})", self.query(0, true, depth, of)),
            9 => format!("{x} <> ALL ({})", self.query(1, false, depth, of)),
            _ => {
                let not = self.pick(&["", "NOT "]);
                format!("{not}EXISTS ({})", self.query(0, false, depth, of))
            }
        }
    }

    /// A condition on the value of a subquery that has one row at most.
    fn single(&mut self, depth: usize, of: &Inside) -> String {
        let column = of.column(self.pick(&NUMBERS));
        let x = self.computed(column, of);
        let name = self.computed_name(of);
        let (equal, not) = (self.pick(&["=", "=", "<>"]), self.pick(&["", "NOT "]));
        match (self.below)(9) {
            0..=1 => format!("{x} {equal} ({})", self.one_row(1, false, depth, of)),
            2 => format!("({}) {equal} {x}", self.one_row(1, false, depth, of)),
            3 => format!("{name} {equal} ({})", self.one_row(0, true, depth, of)),
            4 => format!("({x}, {name}) {equal} ({})", self.one_row(1, true, depth, of)),
            5 => format!("{x} IS {not}DISTINCT FROM ({})", self.one_row(1, false, depth, of)),
            6 => format!("({}) IS {not}NULL", self.one_row(1, false, depth, of)),
            7 => format!("({x} {equal} ({})) IS UNKNOWN", self.one_row(1, false, depth, of)),
            _ => {
                let query = self.one_row(0, false, depth, of);
                format!("({})", query.replacen("SELECT 1", "SELECT active", 1))
            }
        }
    }

    /// A subquery that pins its table's key.
    fn one_row(&mut self, numbers: usize, name: bool, depth: usize, of: &Inside) -> String {
        let (from, inner) = self.table();
        let one = Inside { name: inner, alone: true };
        let mut items: Vec<String> = (0..numbers).map(|_| self.number(&one)).collect();
        items.extend(name.then(|| self.computed_name(&one)));
        if items.is_empty() {
            items.push("1".to_owned());
        }
        let pinned = match self.percent(50) {
            true => format!("{}.{}", of.name, self.pick(&NUMBERS)),
            false => (self.below)(6).to_string(),
        };
        let mut filter = format!("{}.id = {pinned}", one.name);
        if self.percent(40) {
            filter = format!("{filter} AND ({})", self.tree(depth.min(1), false, &one));
        }
        format!("SELECT {} FROM {from} WHERE {filter}", items.join(", "))
    }

    fn number(&mut self, of: &Inside) -> String {
        let column = of.column(self.pick(&NUMBERS));
        self.computed(column, of)
    }

    /// A number, or what is computed from it; never what could fail.
    fn computed(&mut self, number: String, of: &Inside) -> String {
        match (self.below)(24) {
            0 => format!("{number} + 1"),
            1 => format!("coalesce({number}, 1)"),
            2 => format!("CASE WHEN {} THEN {number} ELSE 2 END", of.column("active")),
            3 => format!("abs({number} - 2)"),
            4 => format!("({number})::numeric"),
            5 => "2".to_owned(),
            _ => number,
        }
    }

    fn computed_name(&mut self, of: &Inside) -> String {
        let name = of.column(self.text);
        if self.text == "ci" {
            // What else is computed of it is text.
            return if self.percent(20) { format!("coalesce({name}, 'B')") } else { name };
        }
        match (self.below)(8) {
            0 => format!("upper({name})"),
            1 => format!("{name} || ''"),
            2 => format!("nullif({name}, '')"),
            _ => name,
        }
    }

    /// What is selected: some numbers, and a name or not.
    fn query(&mut self, numbers: usize, name: bool, depth: usize, of: &Inside) -> String {
        if self.percent(80) {
            let query = self.select(numbers, name, depth, of);
            let bare = numbers == 0 && !name && self.percent(40);
            return if bare { query.replacen("1", "*", 1) } else { query };
        }
        let first = self.select(numbers, name, depth.min(1), of);
        let union = self.pick(&["UNION", "UNION ALL", "UNION DISTINCT"]);
        // Of constants beside `citext` the type would be text.
        let text = name && self.text == "ci";
        if numbers + usize::from(name) > 0 && !text && self.percent(40) {
            let row = |filters: &mut Self| {
                let mut fields: Vec<&str> = Vec::new();
                fields.extend((0..numbers).map(|_| filters.pick(&["1", "2.5", "4", "NULL::int"])));
                fields.extend(name.then(|| filters.pick(&["'a'", "'b'", "NULL"])));
                format!("({})", fields.join(", "))
            };
            let (one, other) = (row(self), row(self));
            let other = if self.percent(50) { format!(", {other}") } else { String::new() };
            return format!("{first} {union} VALUES {one}{other}");
        }
        let second = self.select(numbers, name, depth.min(1), of);
        match (self.below)(3) {
            0 => format!("({first}) {union} ({second})"),
            _ => format!("{first} {union} {second}"),
        }
    }

    fn table(&mut self) -> (String, String) {
        self.named += 1;
        let (table, name) = (self.pick(self.tables), format!("t{}", self.named));
        (format!("{table}{}{name}", self.pick(&[" ", " AS "])), name)
    }

    fn select(&mut self, numbers: usize, name: bool, depth: usize, of: &Inside) -> String {
        let (from, one, mut conditions) = self.from(depth);
        let mut items: Vec<String> = (0..numbers).map(|_| self.number(&one)).collect();
        items.extend(name.then(|| self.computed_name(&one)));
        if numbers > 0 && self.percent(15) {
            items[0] = format!("unnest({})", one.column("tags"));
        }
        if items.is_empty() {
            items.push("1".to_owned());
        }
        if self.percent(25) {
            let (inner, outer) = (self.pick(&NUMBERS), self.pick(&NUMBERS));
            conditions.push(format!("{}.{inner} = {}.{outer}", one.name, of.name));
        }
        if self.percent(5) {
            conditions.push(format!("{}.ci = {}.ci", of.name, one.name));
        }
        if self.percent(8) {
            conditions.push(format!("{}.active", of.name));
        }
        let filter = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let distinct = self.pick(&["", "", "", "DISTINCT "]);
        format!("SELECT {distinct}{} FROM {from}{filter}", items.join(", "))
    }

    /// Tables that are joined; the one that is selected from; conditions.
    fn from(&mut self, depth: usize) -> (String, Inside, Vec<String>) {
        let (first, name) = self.table();
        let one = Inside { name, alone: false };
        let (x, y) = (self.pick(&NUMBERS), self.pick(&NUMBERS));
        let mut conditions = Vec::new();
        if self.percent(60) {
            let one = Inside { alone: self.percent(50), ..one };
            if self.percent(70) {
                conditions.push(format!("({})", self.tree(depth, false, &one)));
            }
            return (first, one, conditions);
        }
        let (second, name) = self.table();
        let two = Inside { name, alone: false };
        let equal = format!("{} = {}", one.column(x), two.column(y));
        let local = |filters: &mut Self, inside| match filters.percent(50) {
            true => format!(" AND {}", filters.leaf(inside)),
            false => String::new(),
        };
        let from = match (self.below)(7) {
            0 => {
                conditions.extend([equal, format!("({})", self.tree(depth, false, &two))]);
                format!("{first}, {second}")
            }
            1 => {
                conditions.push(self.leaf(&one));
                format!("{first} JOIN {second} ON {equal}{}", local(self, &two))
            }
            2 => {
                let text = self.text;
                let more = format!(" AND {} = {}", two.column(text), one.column(text));
                format!("{second} INNER JOIN {first} ON {equal}{more}{}", local(self, &one))
            }
            3 => {
                conditions.push(format!("{} IS NULL", two.column(self.pick(&["id", "id", "a"]))));
                format!("{first} LEFT JOIN {second} ON {equal}{}", local(self, &two))
            }
            4 => {
                conditions.push(format!("{} > 1", two.column("a")));
                format!("{first} LEFT OUTER JOIN {second} ON {equal}{}", local(self, &one))
            }
            5 => {
                conditions.push(format!("({})", self.tree(depth.min(1), false, &one)));
                conditions.push(self.leaf(&two));
                let column = self.pick(&["a", "b", "name", "ci"]);
                format!("{first} JOIN {second} USING ({column})")
            }
            _ => {
                let (third, name) = self.table();
                let three = Inside { name, alone: false };
                let other = self.pick(&[one.name.as_str(), two.name.as_str()]);
                let link = format!("{} = {other}.{x}", three.column(y));
                conditions.push(self.leaf(&three));
                match self.percent(70) {
                    true => format!("{first} JOIN {second} ON {equal} JOIN {third} ON {link}"),
                    false => format!("{first} JOIN {second} ON {equal} CROSS JOIN {third}"),
                }
            }
        };
        (from, one, conditions)
    }
}
