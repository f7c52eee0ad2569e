//! Man pages and completions name every flag, variable, command and exit code there is.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::Command;
use perennial_boot::Exit;
use perennial_deploy::{Program, SECTION, programs, write};
use support::tool;

fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path()).unwrap();
    folder
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// As it stands on the page: roff writes a dash as `\-` and a dot at the start of a line as `\&.`.
fn on_the_page(text: &str) -> String {
    text.replace('-', "\\-")
}

fn page(folder: &Path, name: &str) -> String {
    read(&folder.join("man").join(format!("{name}.{SECTION}")))
}

/// Calls `visit` with the program's command and all below it, each with the name of its page.
fn each_command(program: &Program, visit: &mut dyn FnMut(&str, &Command)) {
    fn walk(name: &str, command: &Command, visit: &mut dyn FnMut(&str, &Command)) {
        visit(name, command);
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            walk(&format!("{name}-{}", below.get_name()), below, visit);
        }
    }
    let mut command = program.command.clone();
    command.build();
    walk(program.page, &command, visit);
}

#[test]
fn every_page_names_all_flags_variables_and_exit_codes() {
    let folder = written();
    let mut pages = 0;
    for program in programs() {
        each_command(&program, &mut |name, command| {
            let page = page(folder.path(), name);
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                if let Some(long) = argument.get_long() {
                    assert!(page.contains(&on_the_page(&format!("--{long}"))), "{name}: --{long}");
                }
                if let Some(variable) = argument.get_env() {
                    assert!(page.contains(variable.to_str().unwrap()), "{name}: {variable:?}");
                }
            }
            for exit in Exit::ALL {
                let meaning = on_the_page(exit.meaning());
                assert!(page.contains(&format!("\\fB{exit}\\fR\n{meaning}")), "{name}: exit code {exit}");
            }
            pages += 1;
        });
    }
    assert_eq!(fs::read_dir(folder.path().join("man")).unwrap().count(), pages, "a page each, and no other");
}

#[test]
fn every_exit_code_is_one_of_the_interface() {
    let readme = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"));
    for exit in Exit::ALL.into_iter().filter(|exit| *exit != Exit::Panicked) {
        assert!(readme.contains(&format!("| {exit} | {}", exit.meaning())), "{exit}: {}", exit.meaning());
    }
}

#[test]
fn completions_know_every_flag_and_command() {
    let folder = written();
    let completions = folder.path().join("completions");
    for program in programs() {
        let called = program.called;
        let scripts = [
            completions.join("bash").join(called),
            completions.join("fish").join(format!("{called}.fish")),
            completions.join("zsh").join(format!("_{called}")),
        ];
        for script in scripts.map(|file| read(&file)) {
            each_command(&program, &mut |name, command| {
                if name != program.page {
                    assert!(script.contains(command.get_name()), "{called}: {name}");
                }
                for long in command.get_arguments().filter_map(|argument| argument.get_long()) {
                    assert!(script.contains(long), "{called}: {name} --{long}");
                }
            });
        }
    }
}

/// Runs `check` on each file; where the machine has no such program, says so.
fn each_file(program: &str, arguments: &[&str], files: &[PathBuf]) {
    let Some(program) = tool(program, None) else { return };
    for file in files {
        let ran = Process::new(&program).args(arguments).arg(file).env("LC_ALL", "C.UTF-8").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(
            ran.status.success() && said.is_empty(),
            "{} {}: {} {said}",
            program.display(),
            file.display(),
            ran.status
        );
    }
}

#[test]
fn shells_and_man_take_what_was_written() {
    let folder = written();
    let in_folder = |name: &str| -> Vec<PathBuf> {
        fs::read_dir(folder.path().join(name)).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    each_file("bash", &["-n"], &in_folder("completions/bash"));
    each_file("zsh", &["-n"], &in_folder("completions/zsh"));
    each_file("fish", &["-n"], &in_folder("completions/fish"));
    each_file("groff", &["-Kutf8", "-man", "-Tutf8", "-ww", "-z"], &in_folder("man"));
}
