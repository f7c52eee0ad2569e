//! Files that others read while they are written.

use std::fs;
use std::io;
use std::path::Path;

/// Puts a file in its place: `write` writes it beside, then it is renamed. Who reads it sees the old one or the new one
/// whole; when it cannot be written, the old one stays and nothing is left beside it.
///
/// # Errors
/// The path names no file, or its folder cannot be written to; those of `write`.
pub fn put_whole(file: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let name = file.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    // Copies of a program write at the same time, each its own. Not *.prom, which the collector of metrics would read.
    let beside = file.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let written = write(&beside).and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        // The error that matters is the one above.
        drop(fs::remove_file(&beside));
    }
    written
}
