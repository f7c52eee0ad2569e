//! `texts check`: what is missing or broken in the texts of notices, before a notice finds out. Needs no database; where
//! there is one, its tariffs are looked for, too.

use std::path::Path;

use perennial_boot::{BaseOptions, Config, Exit};
use perennial_texts::{Problem, Severity, Texts, Unnamed, check};
use serde_json::{Value, json};

use crate::cli::TextsCheck;
use crate::failure::Failure;
use crate::output::{Answer, counted};

/// The codes of the tariffs that are sold, as far as they could be read.
pub type Sold = Result<Vec<String>, Failure>;

/// Checks the shipped texts and those of a folder over them: the given one, else the settings'. `sold` is none where no
/// database is named.
///
/// # Errors
/// Exit code 78: settings, folder or a file cannot be read. A broken text is an answer, with exit code 78, too.
pub fn run(options: &BaseOptions, call: TextsCheck, sold: Option<Sold>) -> Result<Answer, Failure> {
    let (config, _) = Config::load(options.config.as_deref())?;
    let folder = call.folder.or(config.texts.folder);
    let texts = Texts::load(folder.as_deref(), config.texts.default_language.as_deref());
    let texts = texts.map_err(|error| Failure::configuration(error.to_string()))?;
    let problems = check(&texts);
    let wrong = problems.iter().filter(|problem| problem.severity == Severity::Wrong).count();
    let mut text: String = problems.iter().map(line).collect();
    let checked = folder.as_ref().map_or_else(|| "the shipped texts".to_owned(), |path| path.display().to_string());
    let verdict = match (wrong, problems.len() - wrong) {
        (0, 0) => format!("{checked}: all texts are there and can be used\n"),
        (0, missing) => format!("{checked}: {} missing; others stand in\n", counted(missing as u64, "text")),
        (wrong, _) => {
            format!(
                "{checked}: {}; until they are mended, the texts below them are used\n",
                counted(wrong as u64, "problem")
            )
        }
    };
    text.push_str(&verdict);
    let codes = match &sold {
        Some(Ok(codes)) => codes.as_slice(),
        Some(Err(failure)) => {
            text.push_str(&format!("names of tariffs were not looked for: {}\n", failure.message));
            &[]
        }
        None => &[],
    };
    let unnamed: Vec<(&String, Unnamed)> = codes.iter().map(|code| (code, texts.unnamed(code))).collect();
    text.extend(unnamed.iter().filter_map(|(code, unnamed)| advice(code, unnamed, folder.as_deref())));
    let without_name = unnamed.iter().filter(|(_, unnamed)| !unnamed.languages.is_empty());
    let without_name = without_name.map(|(code, unnamed)| json!({ "tariff": code, "languages": unnamed.languages }));
    let json = json!({
        "folder": folder,
        "tariffs_without_name": without_name.collect::<Vec<_>>(),
        "problems": problems.iter().map(as_json).collect::<Vec<_>>(),
        "wrong": wrong,
    });
    let exit = if wrong == 0 { Exit::Done } else { Exit::Configuration };
    Ok(Answer { exit, ..Answer::new(text, json) })
}

/// What to write, so that customers read a tariff's name and not its code; none: it is written.
pub(crate) fn advice(code: &str, unnamed: &Unnamed, folder: Option<&Path>) -> Option<String> {
    let files: Vec<String> = unnamed.languages.iter().map(|language| format!("{language}.ftl")).collect();
    (!files.is_empty()).then(|| {
        format!(
            "tariff {code} has no name in {}: customers read {code}; write `{} = …` into {} in {}\n",
            unnamed.languages.join(" and "),
            unnamed.message,
            files.join(" and "),
            folder.map_or_else(|| "the folder that [texts] folder names".to_owned(), |path| path.display().to_string()),
        )
    })
}

fn word(problem: &Problem) -> &'static str {
    match problem.severity {
        Severity::Wrong => "wrong",
        Severity::Incomplete => "missing",
    }
}

fn line(problem: &Problem) -> String {
    format!("{:<7} {}\n", word(problem), problem.to_string().replace('\n', " "))
}

fn as_json(problem: &Problem) -> Value {
    json!({ "severity": word(problem), "place": problem.place, "message": problem.message, "what": problem.what })
}
