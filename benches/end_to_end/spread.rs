//! A figure that was taken more than once.

use std::fmt;

use serde_json::{Value, json};

/// The middle one, and how far the others lie.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let [lowest, .., highest] = *values else {
            return Spread { median: values[0], lowest: values[0], highest: values[0] };
        };
        Spread { median: values[values.len() / 2], lowest, highest }
    }

    pub fn json(&self) -> Value {
        json!({"median": self.median, "lowest": self.lowest, "highest": self.highest})
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Spread { median, lowest, highest }, places) = (self, f.precision().unwrap_or(0));
        let text = format!("{median:.places$} ({lowest:.places$} to {highest:.places$})");
        // Not `pad`, to which the precision is a length.
        write!(f, "{text:>0$}", f.width().unwrap_or(0))
    }
}
