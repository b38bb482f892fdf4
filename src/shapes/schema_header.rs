//! The `electric-schema` header: names, types and modifiers of a shape's columns.

use brooklet_sql::{Column, TableSchema};
use serde_json::{Map, Value, json};

/// The header's value.
#[must_use]
pub fn schema_header(table: &TableSchema, columns: &[usize]) -> String {
    let described = columns.iter().map(|at| {
        let column = &table.columns[*at];
        (column.name.clone(), Value::Object(describe(column)))
    });
    // JSON leaves it as it is, and no header may have it.
    Value::Object(described.collect()).to_string().replace('\u{7f}', "\\u007f")
}

fn describe(column: &Column) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("type".into(), json!(column.type_name));
    if column.dimensions > 0 {
        members.insert("dims".into(), json!(column.dimensions));
    }
    if let Some(position) = column.key_position {
        members.insert("pk_index".into(), json!(position));
    }
    if column.not_null {
        members.insert("not_null".into(), json!(true));
    }
    modifiers(&column.type_name, column.type_modifier, &mut members);
    members
}

/// `atttypmod` as each type packs it (Postgres' `…typmodout` functions).
fn modifiers(type_name: &str, modifier: i32, members: &mut Map<String, Value>) {
    match type_name {
        "varchar" if modifier > 0 => _ = members.insert("max_length".into(), json!(modifier - 4)),
        "bpchar" if modifier > 0 => _ = members.insert("length".into(), json!(modifier - 4)),
        "bit" | "varbit" => _ = members.insert("length".into(), json!(modifier)),
        "date" | "time" | "timetz" | "timestamp" | "timestamptz" if modifier > 0 => {
            members.insert("precision".into(), json!(modifier));
        }
        "numeric" if modifier > -1 => {
            let packed = modifier - 4;
            members.insert("precision".into(), json!((packed >> 16) & 0xFFFF));
            // The scale is signed in 11 bits since Postgres 15.
            members.insert("scale".into(), json!(((packed & 0x7FF) ^ 1024) - 1024));
        }
        "interval" if modifier > -1 => interval(modifier, members),
        "varchar" | "bpchar" => {}
        _ if modifier > -1 => _ = members.insert("type_mod".into(), json!(modifier)),
        _ => {}
    }
}

fn interval(modifier: i32, members: &mut Map<String, Value>) {
    let (fields, precision) = ((modifier >> 16) & 0x7FFF, modifier & 0xFFFF);
    let units =
        [(4, "YEAR"), (2, "MONTH"), (8, "DAY"), (1024, "HOUR"), (2048, "MINUTE"), (4096, "SECOND")];
    if fields != 0x7FFF {
        let mut set = units.iter().filter(|(bit, _)| fields & bit != 0).map(|(_, name)| *name);
        let text = match (set.next(), set.next_back()) {
            (Some(first), Some(last)) => format!("{first} TO {last}"),
            (Some(only), None) => only.to_owned(),
            _ => String::new(),
        };
        if !text.is_empty() {
            members.insert("fields".into(), json!(text));
        }
    }
    if precision != 0xFFFF {
        members.insert("precision".into(), json!(precision));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(type_name: &str, modifier: i32) -> Value {
        let mut members = Map::new();
        modifiers(type_name, modifier, &mut members);
        Value::Object(members)
    }

    #[test]
    fn modifiers_are_those_of_the_protocol() {
        assert_eq!(of("numeric", ((8 << 16) | 2) + 4), json!({"precision": 8, "scale": 2}));
        assert_eq!(of("numeric", ((3 << 16) | 0x7FE) + 4), json!({"precision": 3, "scale": -2}));
        assert_eq!(of("numeric", -1), json!({}));
        assert_eq!(of("varchar", 24), json!({"max_length": 20}));
        assert_eq!(of("bpchar", 7), json!({"length": 3}));
        assert_eq!(of("bit", 4), json!({"length": 4}));
        assert_eq!(of("varbit", -1), json!({"length": -1}));
        assert_eq!(of("timestamp", 3), json!({"precision": 3}));
        assert_eq!(of("interval", (6 << 16) | 0xFFFF), json!({"fields": "YEAR TO MONTH"}));
        assert_eq!(of("interval", (4096 << 16) | 2), json!({"fields": "SECOND", "precision": 2}));
        assert_eq!(of("geometry", 1107460), json!({"type_mod": 1107460}));
        assert_eq!(of("int8", -1), json!({}));
    }
}
