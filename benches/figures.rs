//! Figures as JSON, a file for each part, where `BENCH_JSON` says: plots are drawn from them.

use std::path::PathBuf;

use serde_json::Value;

/// The folder, if figures are wanted.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("BENCH_JSON").map(PathBuf::from)
}

/// Writes a part's figures.
pub fn write(part: &str, figures: &Value) {
    let Some(folder) = folder() else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let text = serde_json::to_string_pretty(figures).unwrap();
    std::fs::write(folder.join(format!("{part}.json")), text + "\n").unwrap();
}
