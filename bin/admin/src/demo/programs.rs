//! The real passes, as programs of their own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use perennial_boot::Output;
use perennial_core::pass::Pass;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::Stage;
use crate::failure::Failure;
use crate::session::Session;

/// Variables that reach them; everything else of ours could make them write to somebody.
const KEPT_VARIABLES: [&str; 4] = ["PATH", "HOME", "RUST_BACKTRACE", "PERENNIAL_XRAY"];
/// Exit codes of a pass that did its work: some of the made-up subscriptions have tariffs that have to be parked.
const DONE: [i32; 2] = [0, 3];

/// How to run them.
pub(super) struct Programs {
    folder: PathBuf,
    database_url: SecretString,
    settings: NamedTempFile,
    output: Output,
}

/// One run of one of them.
pub(super) struct Run {
    exit_code: i32,
    stdout: String,
}

impl Programs {
    /// Looks for these in the folder of this one, and where an installation keeps them.
    ///
    /// # Errors
    /// Exit code 2 without a database URL to hand on, 78 without a program.
    pub(super) fn beside_this_program(session: &Session, passes: &[Pass]) -> Result<Self, Failure> {
        let database_url = session.options.database_url.clone().ok_or_else(|| {
            Failure::usage("the demo needs the database on its command line")
                .with_hint("set DATABASE_URL or --database-url")
        })?;
        let this = std::env::current_exe()
            .map_err(|error| Failure::unforeseen(format!("cannot tell where this program is: {error}")))?;
        let folder = folder_of(&this, passes).ok_or_else(|| {
            let names: Vec<&str> = passes.iter().map(|pass| pass.name()).collect();
            Failure::configuration(format!("{} are not beside {}", names.join(", "), this.display()))
                .with_hint("build or install all programs")
        })?;
        let settings = settings(session)
            .map_err(|error| Failure::unforeseen(format!("cannot write the demo's settings: {error}")))?;
        Ok(Self { folder, database_url, settings, output: session.output })
    }

    /// Runs one pass and waits for its end.
    ///
    /// # Errors
    /// It could not be run or did not do its work.
    pub(super) fn run(&self, stage: &Stage, pass: Pass) -> Result<Run, Failure> {
        let program = in_folder(&self.folder, pass);
        let form = if self.output == Output::Json { "json" } else { "text" };
        let mut command = Command::new(&program);
        if pass != Pass::ReconcileXray {
            command.arg("--no-deliver");
        }
        command
            .args(["-qq", "--output", form, "--config"])
            .arg(self.settings.path())
            .env_clear()
            .envs(KEPT_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            // Not on the command line, where everybody on this host could read it.
            .env("DATABASE_URL", self.database_url.expose_secret())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        let output = command
            .output()
            .map_err(|error| Failure::unforeseen(format!("cannot run {}: {error}", program.display())))?;
        let run = Run {
            exit_code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        };
        stage.say(&run.stdout)?;
        if DONE.contains(&run.exit_code) {
            return Ok(run);
        }
        Err(Failure::unforeseen(format!("{pass} ended with exit code {}: {}", run.exit_code, run.stdout.trim_end())))
    }
}

impl Run {
    /// Its summary as an object.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| json!({ "exit_code": self.exit_code }))
    }
}

fn in_folder(folder: &Path, pass: Pass) -> PathBuf {
    folder.join(format!("{pass}{}", std::env::consts::EXE_SUFFIX))
}

/// The folder of this program where all of these are in it, as cargo builds them, else the private one of an
/// installation: `/usr/lib/perennial` beside `/usr/bin`.
fn folder_of(this_program: &Path, passes: &[Pass]) -> Option<PathBuf> {
    let folder = this_program.parent()?;
    let candidates = [folder.to_path_buf(), folder.parent()?.join("lib/perennial")];
    candidates.into_iter().find(|folder| passes.iter().all(|pass| in_folder(folder, *pass).is_file()))
}

/// Settings of the demo's own: what the host is set up with must not reach made-up people, nor their messages it.
fn settings(session: &Session) -> std::io::Result<NamedTempFile> {
    let mut file = NamedTempFile::with_prefix("perennial-demo-")?;
    // Debug of a text that the schema's rule lets through is TOML, too.
    writeln!(file, "owner_prefix = {:?}", session.config.owner_prefix)?;
    writeln!(file, "[renew]\ncharge_notice = \"1d\"")?;
    if let Some(ca_file) = &session.config.database.ca_file {
        writeln!(file, "[database]\nca_file = {ca_file:?}")?;
    }
    file.flush()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_found_beside_this_program_and_where_an_installation_has_them() {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("bin/perennial");
        let private = root.path().join("lib/perennial");
        for folder in [program.parent().unwrap(), private.as_path()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let passes = [Pass::Renew, Pass::ExpireFast];
        assert_eq!(folder_of(&program, &passes), None);
        for pass in passes {
            std::fs::write(in_folder(&private, pass), "").unwrap();
        }
        assert_eq!(folder_of(&program, &passes), Some(private));
        std::fs::write(in_folder(program.parent().unwrap(), Pass::Renew), "").unwrap();
        assert_ne!(folder_of(&program, &passes).as_deref(), program.parent(), "one of them is missing there");
        std::fs::write(in_folder(program.parent().unwrap(), Pass::ExpireFast), "").unwrap();
        assert_eq!(folder_of(&program, &passes).as_deref(), program.parent());
    }
}
