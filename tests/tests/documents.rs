//! Documents that name tests name tests that exist.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Names in `code` in the last column of a table row whose first column is a number of a defect.
fn named_tests(document: &str) -> Vec<(String, String)> {
    let rows = document.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let is_defect = cells[0].split_once('-').is_some_and(|(letter, number)| letter.len() == 1 && number.len() == 2);
        is_defect.then(|| (cells[0].to_owned(), (*cells.last().unwrap()).to_owned()))
    });
    rows.collect()
}

/// How many rows each letter has: a row that is lost is missed.
const ROWS: &[(&str, usize)] = &[("A", 38), ("T", 28)];

#[test]
fn every_known_defect_names_a_test_that_is_there() {
    let mut code = String::new();
    for folder in ["crates", "bin", "tests"] {
        sources(&root().join(folder), &mut code);
    }
    let document = fs::read_to_string(root().join("docs/known-defects.md")).unwrap();
    let rows = named_tests(&document);
    for (letter, last) in ROWS {
        for number in 1..=*last {
            let number = format!("{letter}-{number:02}");
            assert_eq!(rows.iter().filter(|(row, _)| *row == number).count(), 1, "{number}");
        }
    }
    let known = |number: &str| ROWS.iter().any(|(letter, _)| number.starts_with(&format!("{letter}-")));
    assert!(rows.iter().all(|(number, _)| known(number)), "a letter is missing in ROWS");
    for (number, tests) in rows {
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{number} names no test");
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "{number}: there is no test {name}");
        }
    }
}
