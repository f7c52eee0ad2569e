//! How messages name the operator's own program: `perennial`, as which every way of installing puts it on the PATH, and
//! `admin`, as cargo builds it, in the messages of a program that was started under that name.

use std::path::Path;
use std::sync::LazyLock;

const INSTALLED: &str = "perennial";
const BUILT: &str = "admin";

static PROGRAM: LazyLock<&str> = LazyLock::new(|| {
    let started_as = std::env::args_os().next();
    started_as.map_or(INSTALLED, |path| named(Path::new(&path)))
});

fn named(started_as: &Path) -> &'static str {
    if started_as.file_name().is_some_and(|name| name == BUILT) { BUILT } else { INSTALLED }
}

/// What the operator's program is called.
#[must_use]
pub fn program() -> &'static str {
    *PROGRAM
}

/// A command for the operator to type, in backticks: `migrate` becomes `` `perennial migrate` ``.
#[must_use]
pub fn command(words: &str) -> String {
    format!("`{} {words}`", program())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_called_as_it_was_started_and_else_as_it_is_installed() {
        for (started_as, name) in [
            ("admin", "admin"),
            ("target/release/admin", "admin"),
            ("/usr/bin/perennial", "perennial"),
            ("/usr/lib/perennial/renew", "perennial"),
            ("", "perennial"),
        ] {
            assert_eq!(named(Path::new(started_as)), name, "{started_as}");
        }
        assert_eq!(command("migrate"), "`perennial migrate`", "a test is started under another name");
    }
}
