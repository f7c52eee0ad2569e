//! Man pages and shell completions of all programs, made from the flags that the programs themselves parse.
//!
//! Nothing here is shipped: `make man` runs it, and the Debian package takes what it writes.

mod pages;

use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::Shell;

/// One program: what it is called where it is installed, and its flags.
#[derive(Debug)]
pub struct Program {
    /// The name of its manual page and, for a pass, of its systemd units.
    pub page: &'static str,
    /// How it is called.
    pub called: &'static str,
    /// Whether it makes one pass.
    pub is_pass: bool,
    /// Its flags.
    pub command: Command,
}

/// Section of the manual: programs for the system's administrator.
pub const SECTION: &str = "8";

/// Folder of the passes in the Debian package.
pub const PRIVATE_FOLDER: &str = "/usr/lib/perennial";

/// All programs, the operator's own first.
#[must_use]
pub fn programs() -> Vec<Program> {
    let pass = |page, called, command| Program { page, called, is_pass: true, command };
    vec![
        Program { page: "perennial", called: "perennial", is_pass: false, command: admin::cli::Cli::command() },
        pass("perennial-renew", "renew", renew::flags::Flags::command()),
        pass("perennial-notify-trials", "notify-trials", notify_trials::flags::Flags::command()),
        pass("perennial-expire-fast", "expire-fast", expire_fast::flags::Flags::command()),
        pass("perennial-reconcile-xray", "reconcile-xray", reconcile_xray::flags::Flags::command()),
    ]
}

/// Writes `man/*.8` and `completions/{bash,fish,zsh}/…` below `folder`, each file under the name it is installed as.
///
/// # Errors
/// A folder or file cannot be written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    for program in programs() {
        for (name, page) in pages::of(&program)? {
            put(&folder.join("man").join(format!("{name}.{SECTION}")), &page)?;
        }
        for (shell, folder_of_shell, file) in [
            (Shell::Bash, "bash", program.called.to_owned()),
            (Shell::Fish, "fish", format!("{}.fish", program.called)),
            (Shell::Zsh, "zsh", format!("_{}", program.called)),
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut program.command.clone(), program.called, &mut script);
            put(&folder.join("completions").join(folder_of_shell).join(file), &script)?;
        }
    }
    Ok(())
}

fn put(file: &Path, content: &[u8]) -> anyhow::Result<()> {
    let written = match file.parent() {
        Some(folder) => std::fs::create_dir_all(folder).and_then(|()| std::fs::write(file, content)),
        None => std::fs::write(file, content),
    };
    written.with_context(|| format!("cannot write {}", file.display()))
}
