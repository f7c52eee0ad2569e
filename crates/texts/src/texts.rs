//! All texts: the shipped ones and an operator's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fluent_bundle::FluentResource;
use perennial_core::operator;
use unic_langid::LanguageIdentifier;

use crate::arguments;
use crate::error::{LoadError, TextError};
use crate::format;
use crate::kinds::{self, Is, Kind};
use crate::layer::{Layer, Origin};
use crate::params::{Params, Value};
use crate::problem::Problem;
use crate::render::{Rendered, Rendering};

/// The language that is always there.
pub const LAST_RESORT: &str = "en";

const SHIPPED: [(&str, &str); 2] = [("en", include_str!("../ftl/en.ftl")), ("ru", include_str!("../ftl/ru.ftl"))];

/// The texts of all languages.
pub struct Texts {
    /// By canonical tag; in each the operator's layer before the shipped one.
    pub(crate) languages: BTreeMap<String, Vec<Layer>>,
    pub(crate) default: String,
    /// What was wrong with the files themselves.
    pub(crate) problems: Vec<Problem>,
    warned: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let languages: Vec<_> = self.languages.keys().collect();
        f.debug_struct("Texts").field("languages", &languages).field("default", &self.default).finish_non_exhaustive()
    }
}

/// What names a tariff, and where that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unnamed {
    /// The message, such as `tariff-basic_1m`.
    pub message: String,
    /// Languages without it; none: it is named in all of them.
    pub languages: Vec<String>,
}

impl Texts {
    /// Reads the operator's folder, if there is one, over the shipped texts. `default_language` is for who has none;
    /// without it English. Files that are not named `<language>.ftl` and messages with syntax errors are left away;
    /// [`check`](crate::check) names them.
    ///
    /// # Errors
    /// Folder or file cannot be read, or the default language is no language tag.
    pub fn load(folder: Option<&Path>, default_language: Option<&str>) -> Result<Self, LoadError> {
        let default = default_language.unwrap_or(LAST_RESORT);
        let default = canonical(default).ok_or_else(|| LoadError::DefaultLanguage(default.to_owned()))?;
        let mut texts = Self { languages: BTreeMap::new(), default, problems: Vec::new(), warned: Mutex::default() };
        for (language, source) in SHIPPED {
            texts.add(language, Origin::Shipped, source);
        }
        if let Some(folder) = folder {
            texts.add_folder(folder)?;
        }
        if !narrowing(&texts.default).iter().any(|tag| texts.languages.contains_key(tag)) {
            let what = format!("there are no texts in the default language {}: add {0}.ftl", texts.default);
            texts.problems.push(Problem::wrong("default_language", "", what));
        }
        Ok(texts)
    }

    /// The shipped texts with a file of this language over them, for fuzz targets.
    #[cfg(feature = "fuzzing")]
    #[must_use]
    pub fn with_source(language: &str, source: &str) -> Option<Self> {
        let mut texts = Self::load(None, None).ok()?;
        texts.add(language, Origin::File(format!("{language}.ftl")), source);
        Some(texts)
    }

    fn add_folder(&mut self, folder: &Path) -> Result<(), LoadError> {
        let unreadable = |path: &Path| {
            let path = path.to_path_buf();
            move |source| LoadError::Unreadable { path, source }
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
            let path = entry.map_err(unreadable(folder))?.path();
            if path.extension().is_some_and(|extension| extension == "ftl") {
                files.push(path);
            }
        }
        files.sort();
        for path in files {
            let source = fs::read_to_string(&path).map_err(unreadable(&path))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match canonical(name.trim_end_matches(".ftl")) {
                Some(language) => self.add(&language, Origin::File(name), &source),
                None => self.problems.push(Problem::wrong(&name, "", "is not named after a language, as in pt-BR.ftl")),
            }
        }
        Ok(())
    }

    /// Lays a file over what is shipped in its language.
    fn add(&mut self, language: &str, origin: Origin, source: &str) {
        let Some(identifier) = parse(language) else {
            return;
        };
        let layers = self.languages.entry(identifier.to_string()).or_default();
        let below = layers.first();
        if let (Origin::File(name), Some(Origin::File(other))) = (&origin, below.map(|layer| &layer.origin)) {
            self.problems.push(Problem::wrong(name, "", format!("is not used: {other} is of the same language")));
            return;
        }
        // Editors on Windows put a mark in front, which Fluent takes for a syntax error.
        let source = source.trim_start_matches('\u{FEFF}');
        if let (Origin::File(name), true) = (&origin, nesting(source) > MAX_NESTING) {
            self.problems.push(Problem::wrong(name, "", "is not used: placeholders within placeholders without end"));
            return;
        }
        let (own, errors) = match FluentResource::try_new(source.to_owned()) {
            Ok(resource) => (resource, Vec::new()),
            Err((resource, errors)) => (resource, errors),
        };
        let layer = Layer::new(identifier, origin, below.map(|layer| &layer.own), Arc::new(own));
        for error in errors {
            let line = source[..error.pos.start.min(source.len())].matches('\n').count() + 1;
            self.problems.push(Problem::wrong(&layer.name(), "", format!("line {line}: {error}")));
        }
        layers.insert(0, layer);
    }

    /// Writes the text of a notice. `language` is the receiver's, as an IETF tag; none: the default language.
    ///
    /// # Errors
    /// [`TextError`]: the notice lacks a value, or no language has a text that can be used.
    pub fn render(&self, kind: &str, language: Option<&str>, params: &Params) -> Result<Rendered, TextError> {
        let kind = kinds::find(kind)?;
        arguments::complete(kind, params)?;
        let line = self.line(language);
        let mut first = None;
        for (index, layer) in line.iter().enumerate() {
            let rendering = Rendering { kind, params, layers: &line[index..] };
            for id in message_ids(kind, params).into_iter().filter(|id| layer.has(id)) {
                match rendering.html(&id) {
                    Ok(html) => return Ok(Rendered { html, button: self.button(&rendering, layer, &id) }),
                    Err(problem) => {
                        let text = format!("{}: {id}", layer.name());
                        self.warn_once(&text, &problem);
                        first.get_or_insert(TextError::Broken { text, problem });
                    }
                }
            }
        }
        Err(first.unwrap_or_else(|| TextError::NoText(kind.name.to_owned())))
    }

    /// A button that cannot be used costs the text nothing.
    fn button(&self, rendering: &Rendering<'_>, layer: &Layer, id: &str) -> Option<perennial_core::ports::Button> {
        rendering.button(id).unwrap_or_else(|problem| {
            self.warn_once(&format!("{}: {id}", layer.name()), &problem);
            None
        })
    }

    /// A pass that sends ten thousand of them need not say it ten thousand times.
    fn warn_once(&self, text: &str, problem: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(text.to_owned()) {
            log::warn!(text, problem; "a text cannot be used as it is; {} tells more", operator::command("texts check"));
        }
    }

    /// What an operator calls a tariff in, and the languages that lack it: there customers read the code, or another
    /// language's name.
    #[must_use]
    pub fn unnamed(&self, tariff: &str) -> Unnamed {
        let message = format::tariff(tariff);
        let lacks = |layers: &&Vec<Layer>| layers.iter().all(|layer| !layer.has(&message));
        let lacking = self.languages.values().filter(lacks).filter_map(|layers| layers.first());
        Unnamed { languages: lacking.map(|layer| layer.language.to_string()).collect(), message }
    }

    /// The layers to try for a language, best first.
    pub(crate) fn line(&self, language: Option<&str>) -> Vec<&Layer> {
        let mut tags: Vec<String> = Vec::new();
        for tag in language.into_iter().chain([self.default.as_str(), LAST_RESORT]) {
            for tag in narrowing(tag) {
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
        }
        tags.iter().filter_map(|tag| self.languages.get(tag)).flatten().collect()
    }
}

/// The messages that may be the text, best first: the stage's own, then the kind's.
fn message_ids(kind: &Kind, params: &Params) -> Vec<String> {
    let stage = kind.params.iter().find(|param| matches!(param.is, Is::Stage(_)));
    let stage = stage.and_then(|param| match params.values.get(param.name) {
        Some(Value::Text(stage)) => Some(format!("{}-{stage}", kind.name)),
        _ => None,
    });
    stage.into_iter().chain([kind.name.to_owned()]).collect()
}

fn parse(tag: &str) -> Option<LanguageIdentifier> {
    tag.parse::<LanguageIdentifier>().ok().filter(|identifier| !identifier.language.is_empty())
}

fn canonical(tag: &str) -> Option<String> {
    parse(tag).map(|identifier| identifier.to_string())
}

/// Placeholders within each other. The shipped texts have two; the parser takes a piece of the stack for each.
const MAX_NESTING: usize = 50;

/// How deep braces stand within each other in any entry; each entry begins a line.
fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for line in source.lines() {
        if line.starts_with(|first: char| first.is_ascii_alphabetic() || first == '-' || first == '#') {
            depth = 0;
        }
        for character in line.chars() {
            match character {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
    }
    deepest
}

/// More subtags than any language in use has.
const MAX_SUBTAGS: usize = 8;

/// A tag and what is left of it, subtag after subtag, down to the language alone; each in canonical form. It comes from a
/// client of Telegram's: how long it is decides nobody else's time.
fn narrowing(tag: &str) -> Vec<String> {
    let parts: Vec<&str> = tag.splitn(MAX_SUBTAGS + 1, ['-', '_']).take(MAX_SUBTAGS).collect();
    (1..=parts.len()).rev().filter_map(|count| canonical(&parts[..count].join("-"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_narrows_to_its_language() {
        assert_eq!(narrowing("zh-hant-tw"), ["zh-Hant-TW", "zh-Hant", "zh"]);
        assert_eq!(narrowing("RU"), ["ru"]);
        assert_eq!(narrowing("en-x-private"), ["en"]);
        assert!(narrowing("").is_empty() && narrowing("123").is_empty());
        // A megabyte of subtags: quadratic work would be hours.
        assert_eq!(narrowing(&format!("ru{}", "-a".repeat(500_000))), ["ru"]);
    }

    #[test]
    fn a_file_that_nests_without_end_is_not_used_and_costs_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ru.ftl"), format!("renewed = {}", "{ ".repeat(60_000))).unwrap();
        let texts = Texts::load(Some(folder.path()), Some("ru")).unwrap();
        assert_eq!(texts.line(None).len(), 2);
        assert!(texts.problems.iter().any(|problem| problem.to_string().contains("without end")));
        assert!(SHIPPED.iter().all(|(_, source)| (1..=2).contains(&nesting(source))));
    }

    #[test]
    fn a_language_falls_back_in_line() {
        let texts = Texts::load(None, Some("ru")).unwrap();
        let line = |language| texts.line(language).iter().map(|layer| layer.language.to_string()).collect::<Vec<_>>();
        assert_eq!(line(None), ["ru", "en"]);
        assert_eq!(line(Some("ru-RU")), ["ru", "en"]);
        assert_eq!(line(Some("en-GB")), ["en", "ru"]);
        assert_eq!(line(Some("de")), ["ru", "en"]);
        assert_eq!(line(Some("no tag at all")), ["ru", "en"]);
    }

    #[test]
    fn a_tariff_is_named_language_by_language() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ru.ftl"), "tariff-a_1 = Базовый\n").unwrap();
        let texts = Texts::load(Some(folder.path()), None).unwrap();
        let unnamed = |code| texts.unnamed(code);
        assert_eq!(unnamed("a.1"), Unnamed { message: "tariff-a_1".to_owned(), languages: vec!["en".to_owned()] });
        assert_eq!(unnamed("b").languages, ["en", "ru"]);
    }

    #[test]
    fn a_default_that_is_no_language_is_refused() {
        assert!(matches!(Texts::load(None, Some("русский")), Err(LoadError::DefaultLanguage(_))));
    }
}
