//! What goes into the Debian package, with stand-ins for the programs; `make deb-test` installs the real one.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use perennial_deploy::{PRIVATE_FOLDER, programs};
use support::{files, name, project, read, succeed, tool};

/// Where each file of `deploy/` is in the package; those without a place are what makes the package.
fn place(file: &str) -> Option<String> {
    let doc = "usr/share/doc/perennial/examples";
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let place = match (folder, name) {
        ("", "perennial.toml") => "etc/perennial/perennial.toml".to_owned(),
        ("", "crontab") => format!("{doc}/crontab"),
        ("", "logrotate") => "etc/logrotate.d/perennial".to_owned(),
        ("hooks", "run-pass") => format!("{}/run-pass", PRIVATE_FOLDER.trim_start_matches('/')),
        ("hooks", "alert") => "etc/perennial/hooks/alert".to_owned(),
        ("hooks", hook) => format!("{doc}/hooks/{hook}"),
        ("systemd", "perennial.sysusers.conf") => "usr/lib/sysusers.d/perennial.conf".to_owned(),
        ("prometheus" | "grafana", _) => format!("{doc}/{file}"),
        (systemd, _) if systemd.starts_with("systemd") => file.replacen("systemd", "usr/lib/systemd/system", 1),
        _ => return None,
    };
    Some(place)
}

fn walk(folder: &str, found: &mut Vec<String>) {
    for file in files(&format!("deploy/{folder}")) {
        let path = if folder.is_empty() { name(&file).to_owned() } else { format!("{folder}/{}", name(&file)) };
        if file.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// A package made from small programs of this machine under the names of ours.
fn package(folder: &Path) -> Option<String> {
    for needed in ["dpkg-deb", "dpkg-shlibdeps", "strip"] {
        tool(needed, None)?;
    }
    let built = folder.join("built");
    fs::create_dir(&built).unwrap();
    for program in programs() {
        let called = if program.is_pass { program.called } else { "admin" };
        fs::copy("/usr/bin/true", built.join(called)).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_write-pages"), built.join("write-pages")).unwrap();
    let mut make = Command::new(project("scripts/make-deb.sh"));
    let out = succeed(make.arg(&built).arg(folder.join("out")).arg("7.8.9").env("DEB_COMPRESSION", "0"));
    Some(out.trim().to_owned())
}

#[test]
fn everything_of_deploy_is_in_the_package_with_programs_pages_documents_and_settings_that_upgrades_keep() {
    let folder = tempfile::tempdir().unwrap();
    let Some(package) = package(folder.path()) else { return };
    assert!(package.contains("perennial_7.8.9_"), "{package}");
    let listed = succeed(Command::new("dpkg-deb").arg("--contents").arg(&package));
    let contents: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
    let holds = |file: &str| contents.contains(&format!("./{}", file.trim_start_matches('/')).as_str());
    for line in listed.lines() {
        assert!(line.contains(" root/root "), "{line}");
    }

    let mut shipped = Vec::new();
    walk("", &mut shipped);
    for place in shipped.iter().filter_map(|file| place(file)) {
        assert!(holds(&place), "{place} is not in the package");
    }
    for program in programs() {
        let path = if program.is_pass {
            format!("{PRIVATE_FOLDER}/{}", program.called)
        } else {
            "/usr/bin/perennial".to_owned()
        };
        assert!(holds(&path) && holds(&format!("/usr/share/man/man8/{}.8.gz", program.page)), "{path}");
    }
    assert!(holds("/usr/share/perennial/roles.sql") && holds("/usr/share/doc/perennial/install.md"));

    // A file below /etc that is no conffile would be overwritten by each upgrade.
    let conffiles = read("deploy/debian/conffiles");
    let below_etc: Vec<&str> = contents
        .iter()
        .filter(|file| file.starts_with("./etc/") && !file.ends_with('/'))
        .map(|file| &file[1..])
        .collect();
    assert_eq!(below_etc.len(), conffiles.lines().count());
    assert!(below_etc.iter().all(|file| conffiles.lines().any(|line| line == *file)), "{below_etc:?}");

    let depends = succeed(Command::new("dpkg-deb").args(["--field", &package, "Depends"]));
    assert!(depends.contains("libc6 (>= "), "{depends}");
}

#[test]
fn maintainer_scripts_are_right_for_the_shell() {
    for script in ["postinst", "prerm", "postrm"] {
        let text = read(&format!("deploy/debian/{script}"));
        assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{script}");
        succeed(Command::new("sh").arg("-n").arg(project(&format!("deploy/debian/{script}"))));
    }
}
