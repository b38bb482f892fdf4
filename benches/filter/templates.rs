//! Templates of filters over `issues`: but for those without a path, shape `k` wants the rows of project `k`.

/// A name, a filter for a number, how many shapes at most, how many of them want the same.
pub struct Template {
    pub name: &'static str,
    pub filter: fn(usize) -> String,
    pub shapes_max: usize,
    pub alike: usize,
}

pub const TEMPLATES: &[Template] = &[
    Template {
        name: "equality",
        filter: |k| format!("project_id = {k}"),
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "equality, 100 alike",
        filter: |k| format!("project_id = {}", k / 100),
        shapes_max: 1_000_000,
        alike: 100,
    },
    Template {
        name: "equality, 10,000 alike",
        filter: |k| format!("project_id = {}", k / 10_000),
        shapes_max: 1_000_000,
        alike: 10_000,
    },
    Template {
        name: "IN of 5",
        filter: |k| {
            let list: Vec<String> = (0..5).map(|n| (k + n * 1_000_000).to_string()).collect();
            format!("project_id IN ({})", list.join(", "))
        },
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "range",
        filter: |k| format!("n BETWEEN {} AND {}", 10 * k, 10 * k + 9),
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "LIKE prefix",
        filter: |k| format!("title LIKE 'issue {k:07}%'"),
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "ILIKE substring",
        filter: |k| format!("title ILIKE '%word{k:07}%'"),
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "array",
        filter: |k| format!("tags @> ARRAY['tag{k}']"),
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "jsonb",
        filter: |k| format!("meta @> '{{\"team\": {k}}}'"),
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "jsonb paths",
        filter: |k| format!("meta ->> 'key{k}' = 'x'"),
        shapes_max: 100_000,
        alike: 1,
    },
    Template {
        name: "computed",
        filter: |k| format!("lower(title) = 'issue {k:07}: a word{k:07} in it'"),
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "OR",
        filter: |k| format!("project_id = {k} OR title LIKE 'issue {k:07}%'"),
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "AND",
        filter: |k| format!("status = 'open' AND n BETWEEN {} AND {}", 10 * k, 10 * k + 9),
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "NOT",
        filter: |k| format!("NOT closed AND status <> 'done' AND n = {}", 10 * k + 5),
        shapes_max: 1_000_000,
        alike: 1,
    },
    Template {
        name: "no path",
        filter: |k| format!("title NOT LIKE 'x{k}%' AND n = project_id - 7"),
        shapes_max: 1_000,
        alike: 1,
    },
    // The same filter for all, of which each change is asked once.
    Template {
        name: "no path, shared",
        filter: |_| "n = project_id - 7".into(),
        shapes_max: 10_000,
        alike: 1,
    },
];

/// Found in memory rather than in the index: user `k` is a member of project `k`.
pub const SUBQUERY: Template = Template {
    name: "subquery",
    filter: |k| format!("project_id IN (SELECT project_id FROM memberships WHERE user_id = {k})"),
    shapes_max: 100_000,
    alike: 1,
};
