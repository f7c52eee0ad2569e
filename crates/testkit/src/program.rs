//! The built programs, tried from outside: how they are started, and what they say at their end.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The program at this path (`env!("CARGO_BIN_EXE_…")`) with nothing of this process's environment but what a program
/// needs.
#[must_use]
pub fn bare(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command
}

/// Exit code and summary of a pass that was asked for JSON.
///
/// # Panics
/// When there is not exactly one line on standard output, whatever happened, or it does not say the exit code.
#[must_use]
pub fn ended(output: &Output) -> (i32, Value) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), 1, "{text}\n{errors}");
    let summary: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{errors}"));
    let code = output.status.code().unwrap_or_else(|| panic!("ended by a signal: {}\n{errors}", output.status));
    assert_eq!(summary["exit_code"], code, "{summary}\n{errors}");
    (code, summary)
}

/// Runs it to its end; see [`ended`].
///
/// # Panics
/// When it cannot be started, and as [`ended`] does.
#[must_use]
pub fn run(mut command: Command) -> (i32, Value) {
    ended(&command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

/// The names of an object's members.
///
/// # Panics
/// When it is no object.
#[must_use]
pub fn keys(object: &Value) -> Vec<&str> {
    let Value::Object(members) = object else { panic!("no object: {object}") };
    members.keys().map(String::as_str).collect()
}
