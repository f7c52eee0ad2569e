//! `write-pages FOLDER`: writes man pages and shell completions there.

use std::path::PathBuf;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let folder: PathBuf = std::env::args_os().nth(1).context("usage: write-pages FOLDER")?.into();
    perennial_deploy::write(&folder)
}
