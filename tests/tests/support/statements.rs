//! The repository's statements, read from its source: a list beside them could forget one.
//!
//! A statement is a `const NAME: &str = "-- name …"`; the types of its parameters stand where it is sent:
//! `query(NAME, &[(…, Type::INT8), …])`, in the same file or, imported by name, in
//! the module whose `statements.rs` it is. Where they cannot be seen, the server has to find them out.

use std::fs;
use std::path::{Path, PathBuf};

/// A statement that the product sends.
#[derive(Debug)]
pub struct Statement {
    /// The name it gives itself in its first line.
    pub name: String,
    /// Its text.
    pub sql: String,
    /// Its parameters' types, as PostgreSQL calls them; none when they cannot be seen.
    pub types: Option<Vec<String>>,
}

impl Statement {
    /// `PREPARE name (types) AS …`.
    pub fn prepare(&self) -> String {
        format!("PREPARE \"{}\" {} AS {}", self.name, in_brackets(self.types.as_deref().unwrap_or_default()), self.sql)
    }

    /// Its plan in JSON, the same for all values of the parameters.
    pub fn explain(&self) -> String {
        let values = vec!["NULL".to_owned(); self.types.as_ref().map_or(0, Vec::len)];
        format!("EXPLAIN (FORMAT JSON) EXECUTE \"{}\" {}", self.name, in_brackets(&values))
    }
}

fn in_brackets(list: &[String]) -> String {
    if list.is_empty() { String::new() } else { format!("({})", list.join(", ")) }
}

/// All statements of the core.
pub fn all() -> Vec<Statement> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/core/src"), &mut files);
    files.iter().flat_map(|file| of_file(&fs::read_to_string(file).unwrap(), &sender(file))).collect()
}

/// The one with this name.
pub fn named(name: &str) -> Statement {
    all().into_iter().find(|statement| statement.name == name).unwrap_or_else(|| panic!("there is no statement {name}"))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

/// The module that sends what stands in its `statements.rs`; of other files nothing.
fn sender(file: &Path) -> String {
    if !file.ends_with("statements.rs") {
        return String::new();
    }
    fs::read_to_string(file.parent().unwrap().with_extension("rs")).unwrap()
}

fn of_file(source: &str, sender: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices(": &str = \"-- ") {
        let constant = source[..at].rsplit("const ").next().unwrap();
        let sql = literal(&source[at + ": &str = \"".len()..]);
        let name = sql.lines().next().unwrap().trim_start_matches("-- ").to_owned();
        found.push(Statement {
            name,
            sql,
            types: sent_types(source, constant).or_else(|| sent_types(sender, constant)),
        });
    }
    found
}

/// The value of a string literal, from behind its opening quote.
fn literal(source: &str) -> String {
    let mut value = String::new();
    let mut letters = source.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return value,
            '\\' => match letters.next() {
                Some('\n') => letters = letters.as_str().trim_start().chars(),
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                other => panic!("an escape this reader does not know: {other:?}"),
            },
            letter => value.push(letter),
        }
    }
    panic!("a string literal without an end")
}

/// The types in the array that follows the constant where it is sent, or in the variable that does.
fn sent_types(source: &str, constant: &str) -> Option<Vec<String>> {
    let call = format!("{constant},");
    let parameters = source.match_indices(&call).find_map(|(at, _)| {
        let begins_a_word = source[..at].ends_with(|before: char| !before.is_alphanumeric() && !"_:".contains(before));
        let rest = source[at + call.len()..].trim_start().strip_prefix('&').filter(|_| begins_a_word)?;
        rest.strip_prefix('[').or_else(|| {
            let variable = &rest[..rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?];
            let (_, declared) = source[..at].rsplit_once(&format!("let {variable}"))?;
            declared.split_once("= [").map(|(_, elements)| elements)
        })
    })?;
    let mut depth = 1;
    let end = parameters.find(|letter| {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        depth == 0
    })?;
    let types = parameters[..end].split("Type::").skip(1).map(|rest| {
        let name: String = rest.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
        let name = name.to_lowercase();
        name.strip_suffix("_array").map_or(name.clone(), |element| format!("{element}[]"))
    });
    Some(types.collect())
}
