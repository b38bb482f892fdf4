//! The house in order: sizes, module docs, who may use whom, and words that must not stay.
//!
//! Enters: the sources as they lie here. Leaves: every breach with file and line, so that one run shows them all.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const SOURCES: &[&str] =
    &["src", "sql/src", "dataflows/src", "tests", "benches", "sql/tests", "dataflows/tests"];

/// What a part of the house must not know.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("sql/src", &["timely", "differential_dataflow", "tokio", "arrow", "axum"]),
    ("dataflows/src", &["tokio", "arrow", "axum", "std::fs", "std::net", "SystemTime"]),
    ("src/decode", &["tokio", "async fn", "async move", ".await"]),
    // Arrow is the crate: its name is in a media type, too.
    (
        "src/http",
        &[
            "timely",
            "brooklet_dataflows",
            "tokio_postgres",
            "use arrow",
            "arrow::array",
            "arrow::ipc",
        ],
    ),
    ("src/change_log", &["tokio_postgres", "axum", "timely"]),
    ("src/shapes", &["axum"]),
];

const BANNED_OUTSIDE_TESTS: &[&str] = &[
    ".unwrap()",
    "todo!(",
    "unimplemented!(",
    "dbg!(",
    ".unwrap_or_else(|_| panic",
    ".unwrap_or_else(|_error| panic",
    "FIXME",
    "XXX",
];

const BANNED_MODULES: &[&str] = &["types", "utils", "util", "common", "helpers", "misc"];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap_or(&self.path).display().to_string()
    }

    /// Tests and benches: a panic is their report.
    fn is_test(&self) -> bool {
        let name = self.name();
        name.contains("tests/")
            || name.starts_with("benches")
            || name.ends_with("/tests.rs")
            || name.contains("_tests.rs")
    }

    /// The lines with their numbers, without the test modules at the file's end.
    fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.iter().position(|line| line.trim_start().starts_with("#[cfg(test)]"));
        let end = tests
            .filter(|at| lines[at + 1..].iter().take(3).any(|line| line.contains("mod ")))
            .unwrap_or(lines.len());
        lines.into_iter().take(end).enumerate().map(|(at, line)| (at + 1, line))
    }

    /// The product lines that are code.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.product_lines().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in SOURCES {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 10, "the sources were not found");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.ends_with("node_modules") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push(Source { path, text });
        }
    }
}

/// Fails with everything that was found.
fn check(law: &str, breaches: Vec<String>) {
    assert!(breaches.is_empty(), "{law}:\n  {}", breaches.join("\n  "));
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let lengths =
        sources().into_iter().map(|source| (source.product_lines().count(), source.name()));
    let long = lengths
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, name)| format!("{name}: {lines} lines"));
    check("split by noun", long.collect());
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let mut long = Vec::new();
    for source in sources() {
        let mut open: Option<(usize, String, String)> = None;
        for (number, line) in source.product_lines() {
            let indent = line.len() - line.trim_start().len();
            match &open {
                None if is_function_head(line.trim_start())
                    && !line.trim_end().ends_with(['}', ';']) =>
                {
                    open = Some((number, line.trim().to_owned(), format!("{}}}", &line[..indent])));
                }
                Some((start, head, close)) if line.trim_end() == close => {
                    if number - start + 1 > FUNCTION_LINES_MAX {
                        long.push(format!(
                            "{}:{start}: {} lines: {head}",
                            source.name(),
                            number - start + 1
                        ));
                    }
                    open = None;
                }
                // A declaration without a body ends at its semicolon.
                Some((start, _, _))
                    if number - start < 6
                        && line.trim_end().ends_with(';')
                        && line.contains(')')
                        && !line.contains('{') =>
                {
                    let body = source
                        .text
                        .lines()
                        .skip(start - 1)
                        .take(number - start + 1)
                        .any(|line| line.contains('{'));
                    if !body {
                        open = None;
                    }
                }
                _ => {}
            }
        }
    }
    check("a function is one thing", long);
}

fn is_function_head(line: &str) -> bool {
    let modifiers = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "extern \"C\" "];
    let mut rest = line;
    while let Some(after) = modifiers.iter().find_map(|modifier| rest.strip_prefix(modifier)) {
        rest = after;
    }
    rest.starts_with("fn ")
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources().into_iter().filter(|source| {
        let first = source.text.lines().find(|line| !line.trim().is_empty());
        !first.is_some_and(|line| line.starts_with("//! ") && line.len() > 10)
    });
    check("a file begins with a module doc", silent.map(|source| source.name()).collect());
}

#[test]
fn no_part_knows_what_it_must_not() {
    let mut breaches = Vec::new();
    for source in sources() {
        for (folder, words) in
            FORBIDDEN.iter().filter(|(folder, _)| source.name().starts_with(folder))
        {
            for (number, line) in source.code() {
                for word in words.iter().filter(|word| has_word(line, word)) {
                    breaches.push(format!(
                        "{}:{number}: {folder} must not know {word}: {}",
                        source.name(),
                        line.trim()
                    ));
                }
            }
        }
    }
    check("who may use whom", breaches);
}

#[test]
fn unsafe_code_is_where_a_function_of_c_is_declared_and_nowhere_else() {
    let home = "sql/src/c_library.rs";
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test() && source.name() != home) {
        for (number, line) in source.code().filter(|(_, line)| has_word(line, "unsafe_code")) {
            breaches.push(format!("{}:{number}: {}", source.name(), line.trim()));
        }
    }
    for manifest in ["Cargo.toml", "dataflows/Cargo.toml", "sql/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let strict = match manifest {
            "Cargo.toml" => "unsafe_code = \"forbid\"",
            "sql/Cargo.toml" => "unsafe_code = \"deny\"",
            _ => "[lints]\nworkspace = true",
        };
        if !text.contains(strict) {
            breaches.push(format!("{manifest}: without {strict}"));
        }
    }
    check("unsafe code", breaches);
}

/// Whether a path or phrase occurs as itself, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before =
            code[..at].chars().next_back().is_some_and(is_name) && word.starts_with(is_name);
        let after = code[at + word.len()..].chars().next().is_some_and(is_name);
        !before && !after
    })
}

#[test]
fn nothing_unfinished_or_careless_is_left_in_the_product() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (number, line) in source.product_lines() {
            for word in BANNED_OUTSIDE_TESTS.iter().filter(|word| line.contains(*word)) {
                let is_doc_example =
                    line.trim_start().starts_with("///") || line.trim_start().starts_with("//!");
                if !is_doc_example {
                    breaches.push(format!("{}:{number}: {word}", source.name()));
                }
            }
        }
    }
    check("not outside tests", breaches);
}

#[test]
fn no_module_is_named_after_nothing() {
    let named = sources().into_iter().filter(|source| {
        let name = if source.path.ends_with("mod.rs") {
            source.path.parent().unwrap()
        } else {
            &source.path
        };
        name.file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| BANNED_MODULES.contains(&stem))
    });
    check("modules are nouns of the domain", named.map(|source| source.name()).collect());
}

#[test]
fn every_module_of_the_root_is_in_the_architecture() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let modules = fs::read_dir(root().join("src")).unwrap().flatten().filter_map(|entry| {
        let path = entry.path();
        let name = path.file_stem()?.to_str()?.to_owned();
        (!["lib", "main"].contains(&name.as_str())).then_some(name)
    });
    let mut modules: Vec<String> = modules.collect();
    modules.dedup();
    assert!(modules.len() > 10, "no modules: {modules:?}");
    let unnamed = modules.into_iter().filter(|name| !map.lines().any(|line| has_word(line, name)));
    check("modules that ARCHITECTURE.md does not name", unnamed.collect());
}

#[test]
fn every_flag_of_serve_is_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_brooklet"))
        .args(["serve", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.lines().filter_map(|line| {
        let flag = line.trim_start().split([' ', ',', '=']).find(|word| word.starts_with("--"))?;
        (flag != "--help" && line.trim_start().starts_with('-')).then(|| flag.to_owned())
    });
    let flags: Vec<String> = flags.collect();
    assert!(flags.len() > 5, "no flags in:\n{help}");
    check(
        "flags that the README does not name",
        flags.into_iter().filter(|flag| !readme.contains(flag.as_str())).collect(),
    );
}

#[test]
fn every_test_that_a_promise_names_exists() {
    let promises = fs::read_to_string(root().join("tests/README.md")).expect("tests/README.md");
    let rows = promises.lines().filter(|line| line.starts_with("| ")).skip(1);
    let (mut named, mut breaches) = (0, Vec::new());
    for row in rows {
        let before = named;
        // What stands between backticks.
        for name in row.split('`').skip(1).step_by(2) {
            named += 1;
            if !is_test(name) {
                breaches.push(format!("no test {name}"));
            }
        }
        if named == before {
            breaches.push(format!("nothing holds: {row}"));
        }
    }
    assert!(named > 50, "{named} tests named");
    check("promises in tests/README.md", breaches);
}

/// Whether `file::test` is one, in the suite or from the root.
fn is_test(name: &str) -> bool {
    let Some((file, test)) = name.split_once("::") else { return false };
    let texts = ["tests/suite", ""].map(|folder| root().join(folder).join(format!("{file}.rs")));
    let mut texts = texts.into_iter().filter_map(|path| fs::read_to_string(path).ok());
    texts.any(|text| {
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        lines.iter().enumerate().any(|(at, line)| {
            let is_its = line.split_once("fn ").is_some_and(|(_, rest)| {
                rest.strip_prefix(test).is_some_and(|rest| rest.starts_with('('))
            });
            let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
            is_its && above.into_iter().any(|line| line.contains("test"))
        })
    })
}

#[test]
fn no_test_sleeps_a_fixed_time() {
    let mut breaches = Vec::new();
    for source in
        sources().iter().filter(|source| source.is_test() && !source.name().ends_with("tidy.rs"))
    {
        for (number, line) in source.text.lines().enumerate() {
            let sleeps = line.contains("sleep(") && line.contains("from_secs")
                || line.contains("thread::sleep(Duration::from_millis(1");
            if sleeps && !line.contains("from_millis(10)") {
                breaches.push(format!("{}:{}: {}", source.name(), number + 1, line.trim()));
            }
        }
    }
    check("tests wait on events", breaches);
}
