//! The generated code is what the files in `proto/` give.
//!
//! After a change of theirs: `PERENNIAL_WRITE_WIRE=1 cargo test -p perennial-xray --test wire`.

#![allow(clippy::unwrap_used)] // a test stops at the first surprise

use std::fs;
use std::path::{Path, PathBuf};

use tonic_prost_build::{Builder, Config};

const FILES: [&str; 5] = ["handler.proto", "serial.proto", "stats.proto", "user.proto", "vless.proto"];

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn generate(builder: Builder, folder: &Path) {
    let descriptors = protox::compile(FILES, [here().join("proto")]).unwrap();
    let mut config = Config::new();
    // Messages hold UUIDs: none of them can be printed.
    config.enable_type_names().skip_debug(["."]);
    builder.build_transport(false).out_dir(folder).compile_fds_with_config(descriptors, config).unwrap();
}

fn compare(builder: Builder, checked_in: &Path) {
    let fresh = tempfile::tempdir().unwrap();
    generate(builder, fresh.path());
    if std::env::var_os("PERENNIAL_WRITE_WIRE").is_some() {
        generate_over(fresh.path(), checked_in);
    }
    assert_eq!(read_all(fresh.path()), read_all(checked_in), "{} is not up to date", checked_in.display());
}

fn generate_over(fresh: &Path, checked_in: &Path) {
    for (name, text) in read_all(fresh) {
        fs::write(checked_in.join(name), text).unwrap();
    }
}

fn read_all(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn the_client_is_what_the_proto_files_give() {
    compare(tonic_prost_build::configure().build_server(false), &here().join("src/wire"));
}

#[test]
fn the_server_of_the_fake_is_what_the_proto_files_give() {
    let folder = here().join("../testkit/src/fake_xray/wire");
    compare(tonic_prost_build::configure().build_client(false), &folder);
}
