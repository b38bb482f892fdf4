//! What containment says about a `jsonb`.
//!
//! *Invariant*: as of `access`: each scalar that must be there, at a path through objects, alone or as
//! an element of the array at the path's end, is an alternative.

use crate::datum::Datum;
use crate::json::Json;
use crate::key::Key;
use crate::limits::ALTERNATIVES_MAX;
use crate::scalar::Scalar;
use crate::sort_key;

use super::source::{JsonPart, Source, is_scalar};
use super::{Probe, Says, Want};

/// `json @> part`.
pub(super) fn contains(json: &Scalar, part: &Json) -> Says {
    let mut says = Says::default();
    // A bare scalar is also found in an array.
    match is_scalar(part) {
        true => says.others.push(vec![probe(json, &[], JsonPart::Elements, part)]),
        false => walk(json, part, &mut Vec::new(), &mut says),
    }
    says
}

fn walk(json: &Scalar, part: &Json, path: &mut Vec<String>, says: &mut Says) {
    let scalars = match part {
        Json::Object(members) => {
            for (key, value) in members {
                path.push(key.clone());
                walk(json, value, path, says);
                path.pop();
            }
            return;
        }
        Json::Array(elements) => elements.as_slice(),
        scalar => {
            if says.others.len() < ALTERNATIVES_MAX {
                says.others.push(vec![probe(json, path, JsonPart::Scalar, scalar)]);
            }
            return;
        }
    };
    for scalar in scalars.iter().filter(|one| is_scalar(one)) {
        if says.others.len() < ALTERNATIVES_MAX {
            says.others.push(vec![probe(json, path, JsonPart::Elements, scalar)]);
        }
    }
}

/// `json ? key`, `json ?| keys`, `json ?& keys`.
pub(super) fn has_keys(code: &str, json: &Scalar, keys: &Datum) -> Says {
    let texts: Vec<&str> = match keys {
        Datum::Text(key) => vec![key],
        Datum::Array(array) => {
            let text = |element: &Datum| match element {
                Datum::Text(text) => Some(text.to_string()),
                _ => None,
            };
            let texts: Option<Vec<String>> = array.elements.iter().flatten().map(text).collect();
            return texts.map_or_else(Says::default, |texts| of_keys(code, json, &texts));
        }
        _ => return Says::default(),
    };
    of_keys(code, json, &texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
}

fn of_keys(code: &str, json: &Scalar, keys: &[String]) -> Says {
    let key = |key: &String| probe(json, &[], JsonPart::Keys, &Json::Text(key.clone()));
    match code {
        "jsonb_exists_all" => {
            let each = keys.iter().take(ALTERNATIVES_MAX).map(|one| vec![key(one)]);
            Says { equal: None, others: each.collect() }
        }
        _ => Says::one_of(keys.iter().map(key).collect()),
    }
}

fn probe(json: &Scalar, path: &[String], part: JsonPart, scalar: &Json) -> Probe {
    let mut bytes = Vec::new();
    sort_key::write_json(scalar, &mut bytes);
    Probe { source: Source::json(json, path, part), want: Want::Equal(Key::new(bytes)) }
}
