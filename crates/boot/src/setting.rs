//! What is wrong with a setting, said so that it can be put right without reading the source.

use std::fmt;
use std::path::{Path, PathBuf};

/// A setting that cannot be used; the program exits with 78 before it has touched anything.
///
/// Prints as `FILE, line N: KEY = VALUE: what is wrong: what to do`. A value that may be a secret is never taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError(Box<Parts>);

// Boxed, so that the results which carry one stay small.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    file: Option<PathBuf>,
    line: Option<usize>,
    setting: String,
    value: Option<String>,
    problem: String,
    remedy: String,
}

impl SettingError {
    /// `setting` as the operator wrote it (`renew.grace`, `--workers`), its `value`, what is wrong and what to do.
    #[must_use]
    pub fn new(
        setting: impl Into<String>,
        value: impl fmt::Display,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let mut error = Self::unshown(setting, problem, remedy);
        error.0.value = Some(value.to_string());
        error
    }

    /// The same without the value: it is missing, or a secret.
    #[must_use]
    pub fn unshown(setting: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            file: None,
            line: None,
            setting: setting.into(),
            value: None,
            problem: problem.into(),
            remedy: remedy.into(),
        }))
    }

    /// Names the file, and where known the line counted from 1, that the setting stands in.
    #[must_use]
    pub fn in_file(mut self, file: &Path, line: Option<usize>) -> Self {
        self.0.file = Some(file.to_path_buf());
        self.0.line = line;
        self
    }

    /// The setting it is about.
    #[must_use]
    pub fn setting(&self) -> &str {
        &self.0.setting
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { file, line, setting, value, problem, remedy } = &*self.0;
        if let Some(file) = file {
            write!(f, "{}", file.display())?;
            if let Some(line) = line {
                write!(f, ", line {line}")?;
            }
            f.write_str(": ")?;
        }
        if !setting.is_empty() {
            f.write_str(setting)?;
            if let Some(value) = value {
                write!(f, " = {value}")?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{problem}: {remedy}")
    }
}

impl std::error::Error for SettingError {}
