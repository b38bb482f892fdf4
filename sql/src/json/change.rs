//! `jsonb` made of others: `||`, `-`, `#-`, `jsonb_strip_nulls`.
//!
//! *Invariant*: what is made is in Postgres' normal form, as everything that is read.

use std::collections::HashSet;

use super::{Json, step};
use crate::evaluation_error::EvaluationError;

/// So many keys are looked for one by one.
const KEYS_FEW: usize = 16;

const NO_SCALAR: EvaluationError = EvaluationError::Other("cannot delete from scalar");

impl Json {
    /// `||`: objects are merged, the right one's members being the ones that stay; everything else is arrays,
    /// what is none being an array of itself.
    #[must_use]
    pub(crate) fn joined(&self, other: &Json) -> Json {
        let (Json::Object(left), Json::Object(right)) = (self, other) else {
            let elements = |json: &Json| match json {
                Json::Array(elements) => elements.clone(),
                alone => vec![alone.clone()],
            };
            return Json::Array([elements(self), elements(other)].concat());
        };
        let stays = |(key, _): &&(String, Json)| other.member(key).is_none();
        let mut members: Vec<(String, Json)> =
            left.iter().filter(stays).chain(right).cloned().collect();
        let place = |key: &str| (key.len(), key.to_owned());
        members.sort_by_key(|(key, _)| place(key));
        Json::Object(members)
    }

    /// `-` with keys: members of these names, elements that are these strings.
    pub(crate) fn without(&self, keys: &[&str]) -> Result<Json, EvaluationError> {
        let many: Option<HashSet<&str>> =
            (keys.len() > KEYS_FEW).then(|| keys.iter().copied().collect());
        let goes = |key: &str| {
            many.as_ref().map_or_else(|| keys.contains(&key), |many| many.contains(key))
        };
        match self {
            Json::Object(members) => {
                Ok(Json::Object(members.iter().filter(|(key, _)| !goes(key)).cloned().collect()))
            }
            Json::Array(elements) => {
                let stays = |one: &&Json| match one {
                    Json::Text(text) => !goes(text),
                    _ => true,
                };
                Ok(Json::Array(elements.iter().filter(stays).cloned().collect()))
            }
            _ => Err(NO_SCALAR),
        }
    }

    /// `-` with a number, from the end where it is negative.
    pub(crate) fn without_element(&self, index: i64) -> Result<Json, EvaluationError> {
        match self {
            Json::Object(_) => {
                Err(EvaluationError::Other("cannot delete from object using integer index"))
            }
            Json::Array(elements) => Ok(Json::Array(removed(elements, index))),
            _ => Err(NO_SCALAR),
        }
    }

    /// `#-`; a step that is NULL is an error as soon as it is come to.
    pub(crate) fn without_path(&self, path: &[Option<&str>]) -> Result<Json, EvaluationError> {
        match self {
            Json::Object(members) if !members.is_empty() => self.cut(path),
            Json::Array(elements) if !elements.is_empty() => self.cut(path),
            Json::Object(_) | Json::Array(_) => Ok(self.clone()),
            _ => Err(EvaluationError::Other("cannot delete path in scalar")),
        }
    }

    fn cut(&self, path: &[Option<&str>]) -> Result<Json, EvaluationError> {
        let Some((first, rest)) = path.split_first() else { return Ok(self.clone()) };
        let key = first.ok_or(EvaluationError::Other("path element is null"))?;
        match self {
            Json::Object(members) => {
                let mut kept = Vec::with_capacity(members.len());
                for (name, value) in members {
                    match (name == key, rest.is_empty()) {
                        (true, true) => {}
                        (true, false) => kept.push((name.clone(), value.cut(rest)?)),
                        (false, _) => kept.push((name.clone(), value.clone())),
                    }
                }
                Ok(Json::Object(kept))
            }
            Json::Array(elements) => {
                let not_one = EvaluationError::Other("path element is not an integer");
                let index = i64::from(step(key).ok_or(not_one)?);
                if rest.is_empty() {
                    return Ok(Json::Array(removed(elements, index)));
                }
                let mut kept = elements.clone();
                if let Some(at) = place(elements, index) {
                    kept[at] = kept[at].cut(rest)?;
                }
                Ok(Json::Array(kept))
            }
            scalar => Ok(scalar.clone()),
        }
    }

    /// Without members whose value is null, at every depth.
    #[must_use]
    pub(crate) fn stripped(&self) -> Json {
        match self {
            Json::Object(members) => {
                let kept = members.iter().filter(|(_, value)| !matches!(value, Json::Null));
                Json::Object(kept.map(|(key, value)| (key.clone(), value.stripped())).collect())
            }
            Json::Array(elements) => Json::Array(elements.iter().map(Json::stripped).collect()),
            scalar => scalar.clone(),
        }
    }
}

/// The place of an element that may be counted from the end.
fn place(elements: &[Json], index: i64) -> Option<usize> {
    let index = if index < 0 { index + elements.len() as i64 } else { index };
    usize::try_from(index).ok().filter(|at| *at < elements.len())
}

fn removed(elements: &[Json], index: i64) -> Vec<Json> {
    let mut kept = elements.to_vec();
    if let Some(at) = place(elements, index) {
        kept.remove(at);
    }
    kept
}
