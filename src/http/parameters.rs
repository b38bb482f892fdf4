//! The parameters of a shape request as they arrive: from the query string, and from a JSON body.
//!
//! Nothing is judged here but the form. What is read is also what `/openapi.json` describes: the
//! description is derived from these structs.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::query::Query;

/// A value of a query string (always text) or of a JSON body.
pub type Field = Option<Value>;

/// Parameters of `/v1/shape`.
#[derive(Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Parameters {
    /// The table, `[schema.]name`; names with capitals or special characters in double quotes.
    #[param(value_type = String, required = true, example = "issues")]
    #[schema(value_type = String)]
    pub table: Field,
    /// Where to go on: `-1` from the beginning, `now` from the end, else the last answer's
    /// `electric-offset`.
    #[param(value_type = String, required = true, example = "-1")]
    #[schema(value_type = String)]
    pub offset: Field,
    /// The last answer's `electric-handle`; required unless `offset` is `-1` or `now`.
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    pub handle: Field,
    /// Wait for changes instead of answering that there are none.
    #[param(value_type = Option<bool>)]
    #[schema(value_type = Option<bool>)]
    pub live: Field,
    /// With `live`: answer as server-sent events.
    #[param(value_type = Option<bool>)]
    #[schema(value_type = Option<bool>)]
    pub live_sse: Field,
    /// The former name of `live_sse`.
    #[param(value_type = Option<bool>)]
    #[schema(value_type = Option<bool>)]
    pub experimental_live_sse: Field,
    /// The last answer's `electric-cursor`.
    #[param(value_type = Option<u64>)]
    #[schema(value_type = Option<u64>)]
    pub cursor: Field,
    /// Which rows: a SQL expression, with `$1` … for `params`.
    #[serde(rename = "where")]
    #[param(value_type = Option<String>, example = "project_id = $1")]
    #[schema(value_type = Option<String>)]
    pub filter: Field,
    /// Values for `$1` …, as `params[1]=a&params[2]=b`.
    #[param(value_type = Option<Object>, style = DeepObject, explode)]
    #[schema(value_type = Option<Object>)]
    pub params: Field,
    /// Which columns, separated by commas; the primary key's must be among them.
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    pub columns: Field,
    /// Which columns may be asked for and searched; the primary key's must be among them.
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    pub queryable_columns: Field,
    /// `default`: updates show the key and what changed. `full`: updates and deletes show every
    /// column, and what changed columns held before.
    #[param(value_type = Option<String>, example = "default")]
    #[schema(value_type = Option<String>)]
    pub replica: Field,
    /// `full`: begins with every row. `changes_only`: no rows but changes.
    #[param(value_type = Option<String>, example = "full")]
    #[schema(value_type = Option<String>)]
    pub log: Field,
    /// The server's secret.
    #[param(value_type = Option<String>)]
    #[schema(ignore)]
    pub secret: Field,
    /// The former name of `secret`.
    #[param(value_type = Option<String>)]
    #[schema(ignore)]
    pub api_secret: Field,
    /// A storage hint of Electric's; accepted and without effect.
    #[param(value_type = Option<bool>)]
    #[schema(value_type = Option<bool>)]
    pub experimental_compaction: Field,
    /// A part of the shape's rows, as they are now.
    #[param(ignore)]
    #[schema(value_type = Option<Subset>)]
    pub subset: Field,
}

/// What a subset request asks of a shape's rows.
#[derive(Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Subset {
    /// Which of the shape's rows: a SQL expression.
    #[param(value_type = Option<String>, rename = "subset__where")]
    #[schema(value_type = Option<String>)]
    pub r#where: Field,
    /// Values for `$1` …: an object, in a query string as JSON text.
    #[param(value_type = Option<String>, rename = "subset__params")]
    #[schema(value_type = Option<Object>)]
    pub params: Field,
    /// Column names with `ASC`, `DESC`, `NULLS FIRST`, `NULLS LAST`; required with `limit` and
    /// `offset`.
    #[param(value_type = Option<String>, rename = "subset__order_by")]
    #[schema(value_type = Option<String>)]
    pub order_by: Field,
    /// At most so many rows.
    #[param(value_type = Option<u64>, rename = "subset__limit")]
    #[schema(value_type = Option<u64>)]
    pub limit: Field,
    /// Rows to leave out at the beginning.
    #[param(value_type = Option<u64>, rename = "subset__offset")]
    #[schema(value_type = Option<u64>)]
    pub offset: Field,
}

/// Members of a body that belong to the subset, where the body has no `subset`.
const SUBSET_MEMBERS: [&str; 7] =
    ["where", "order_by", "limit", "offset", "params", "where_expr", "order_by_expr"];

impl Parameters {
    /// Those of a query string, and of a body that overrides them.
    #[must_use]
    pub fn new(query: &Query, body: Map<String, Value>) -> Parameters {
        let mut fields = Map::new();
        for (name, value) in query.pairs() {
            match name.strip_prefix("subset__").filter(|member| !member.is_empty()) {
                Some(member) => with_object(&mut fields, "subset", |subset| {
                    put(subset, member, value);
                }),
                None => put(&mut fields, name, value),
            }
        }
        merge(&mut fields, body);
        // Every member takes any value, so this cannot fail.
        serde_json::from_value(Value::Object(fields)).unwrap_or_default()
    }
}

/// A name and its text; `name[key]` is a member of the object `name`.
fn put(fields: &mut Map<String, Value>, name: &str, value: &str) {
    let keyed = name.strip_suffix(']').and_then(|name| name.split_once('['));
    let Some((name, key)) = keyed else {
        fields.insert(name.to_owned(), value.into());
        return;
    };
    with_object(fields, name, |object| _ = object.insert(key.to_owned(), value.into()));
}

/// Changes the object that is the member `name`; a member of another kind is replaced.
fn with_object(
    fields: &mut Map<String, Value>,
    name: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) {
    let member = fields.entry(name).or_insert(Value::Null);
    let mut object = match member.take() {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    change(&mut object);
    *member = Value::Object(object);
}

/// What a body says wins over the query, of a subset member by member: what it does not name is still asked for, most
/// of all a filter. A null says nothing.
fn merge(fields: &mut Map<String, Value>, mut body: Map<String, Value>) {
    let subset = match body.remove("subset") {
        Some(Value::Object(subset)) => Some(subset),
        None | Some(Value::Null) => {
            let members = SUBSET_MEMBERS.iter();
            let subset: Map<String, Value> = members
                .filter_map(|name| Some(((*name).to_owned(), body.remove(*name)?)))
                .collect();
            (!subset.is_empty()).then_some(subset)
        }
        // Refused later, so that what stands beside it does not take its place.
        Some(other) => {
            body.insert("subset".to_owned(), other);
            None
        }
    };
    let said =
        |members: Map<String, Value>| members.into_iter().filter(|(_, value)| !value.is_null());
    fields.extend(said(body));
    if let Some(subset) = subset {
        with_object(fields, "subset", |fields| fields.extend(said(subset)));
    }
}

/// A value that should be text: numbers and booleans of a body count as their text.
pub fn text(field: &Field) -> Result<Option<String>, NotText> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
        Some(Value::Array(_) | Value::Object(_)) => Err(NotText),
    }
}

/// [`text`], unless it is empty or blank.
pub fn filled(field: &Field) -> Result<Option<String>, NotText> {
    Ok(text(field)?.filter(|text| !text.trim().is_empty()))
}

/// Present means true, unless it says `false`.
#[must_use]
pub fn flag(field: &Field) -> bool {
    text(field).is_ok_and(|text| text.is_some_and(|text| text != "false"))
}

/// A list or an object where text is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotText;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(query: &str, body: Value) -> Parameters {
        let Value::Object(body) = body else { panic!("an object") };
        Parameters::new(&Query::parse(query).unwrap(), body)
    }

    #[test]
    fn flat_members_of_a_body_are_the_subsets() {
        let parameters =
            of("table=a&where=x&offset=0_0", json!({"where": "y", "limit": 3, "handle": "h"}));
        assert_eq!(parameters.filter, Some(json!("x")));
        assert_eq!(parameters.offset, Some(json!("0_0")));
        assert_eq!(parameters.handle, Some(json!("h")));
        assert_eq!(parameters.subset, Some(json!({"where": "y", "limit": 3})));
    }

    #[test]
    fn beside_a_subset_they_are_the_shapes() {
        let body = json!({"where": "y", "subset": {"where": "z"}});
        let parameters = of("table=a&where=x", body);
        assert_eq!(parameters.filter, Some(json!("y")));
        assert_eq!(parameters.subset, Some(json!({"where": "z"})));
        assert!(of("table=a", json!({})).subset.is_none());
    }

    #[test]
    fn a_body_overrides_the_members_of_a_subset_that_it_names() {
        let query = "subset__where=owner&subset__params[1]=7&subset__limit=9&where=x";
        let members = json!({"order_by": "id", "limit": 3, "where": null});
        let expected =
            json!({"where": "owner", "params": {"1": "7"}, "order_by": "id", "limit": 3});
        for body in [members.clone(), json!({ "subset": members })] {
            assert_eq!(of(query, body).subset, Some(expected.clone()));
        }
        let other = json!({"where": "id < 3", "params": {"2": "8"}});
        let both = json!({"where": "id < 3", "params": {"2": "8"}, "limit": "9"});
        for body in [other.clone(), json!({ "subset": other })] {
            assert_eq!(of(query, body).subset, Some(both.clone()));
        }
    }

    #[test]
    fn a_body_that_says_nothing_takes_nothing_away() {
        let query = "where=x&subset__where=owner";
        for body in [
            json!({}),
            json!({"subset": null}),
            json!({"subset": {}}),
            json!({"where": null}),
            json!({"subset": {"where": null}, "where": null, "params": null}),
        ] {
            let parameters = of(query, body.clone());
            assert_eq!(parameters.filter, Some(json!("x")), "{body}");
            assert_eq!(parameters.subset, Some(json!({"where": "owner"})), "{body}");
        }
        // What is no subset is refused, whatever stands beside it.
        let wrong = of(query, json!({"subset": "owner", "limit": 3}));
        assert_eq!(wrong.subset, Some(json!("owner")));
        // All rows are a subset, too.
        assert_eq!(of("", json!({"subset": {}})).subset, Some(json!({})));
        assert_eq!(of("", json!({"where": null})).subset, Some(json!({})));
    }

    #[test]
    fn query_strings_spell_maps_and_subsets() {
        let query = "params[2]=b&params[1]=a&subset__where=w&subset__params[1]=p&subset__=&live";
        let parameters = of(query, json!({}));
        assert_eq!(parameters.params, Some(json!({"1": "a", "2": "b"})));
        assert_eq!(parameters.subset, Some(json!({"where": "w", "params": {"1": "p"}})));
        assert!(flag(&parameters.live) && !flag(&parameters.live_sse));
        assert_eq!(text(&Some(json!(7))), Ok(Some("7".into())));
        assert_eq!(text(&Some(json!([7]))), Err(NotText));
        assert_eq!(filled(&Some(json!(" "))), Ok(None));
    }
}
