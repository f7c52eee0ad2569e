//! What the tests of `deploy/` share: its files, and tools that a machine may not have.
#![allow(clippy::unwrap_used, dead_code)] // helpers of tests; not each test file needs all of them

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A path below the project's folder.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The content of a file of the project.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of a folder of the project, in order of name.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(project(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The last part of a path.
pub(crate) fn name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap()
}

/// Where a tool is: on the PATH or among what the scripts installed. None where it is missing, which is said on stderr.
/// In CI that is a failure if `installer --can` says that the script could have installed it.
pub(crate) fn tool(tool: &str, installer: Option<&str>) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let ours = cache.map(|cache| cache.join("perennial/tools/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = ours.into_iter().chain(std::env::split_paths(&path)).map(|folder| folder.join(tool));
    if let Some(found) = found.into_iter().find(|file| file.is_file()) {
        return Some(found);
    }
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    if let (true, Some(installer)) = (in_ci, installer) {
        let could = Command::new(project(installer)).arg("--can").status().is_ok_and(|status| status.success());
        assert!(!could, "{tool} is not installed: run {installer}");
    }
    // Not by `eprintln`, which the test harness keeps to itself while a test passes.
    std::io::stderr().write_all(format!("SKIPPED: {tool} is not on this machine\n").as_bytes()).unwrap();
    None
}

/// Runs a command that must succeed, and gives what it wrote to standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out
}
