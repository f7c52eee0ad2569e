//! Secrets that no setting names: a service manager's credential, else a file beside the settings file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A file that holds one secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SecretFile {
    pub(crate) file: PathBuf,
    /// What it is called in errors and in `--check-config`.
    pub(crate) source: String,
}

/// The first file named `name` that is there and not empty: in `credentials` (systemd's `$CREDENTIALS_DIRECTORY`), then
/// in `beside`, the folder of the settings file. A package may lay down an empty file: that is no secret yet.
pub(crate) fn find(name: &str, credentials: Option<OsString>, beside: Option<&Path>) -> Option<SecretFile> {
    let credential = credentials
        .filter(|folder| !folder.is_empty())
        .map(|folder| SecretFile { file: PathBuf::from(folder).join(name), source: format!("credential {name}") });
    let beside = beside.map(|folder| {
        let file = folder.join(name);
        SecretFile { source: file.display().to_string(), file }
    });
    credential
        .into_iter()
        .chain(beside)
        .find(|secret| std::fs::metadata(&secret.file).is_ok_and(|found| found.is_file() && found.len() > 0))
}

/// Where systemd puts the credentials of a unit.
pub(crate) fn credentials() -> Option<OsString> {
    std::env::var_os("CREDENTIALS_DIRECTORY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_comes_before_the_file_beside_the_settings_and_empty_files_are_none() {
        let [credentials, beside] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let found = || find("token", Some(credentials.path().into()), Some(beside.path())).map(|secret| secret.file);
        assert_eq!(found(), None);
        for folder in [&beside, &credentials] {
            std::fs::write(folder.path().join("token"), "").unwrap();
        }
        assert_eq!(found(), None);
        std::fs::write(beside.path().join("token"), "b").unwrap();
        assert_eq!(found(), Some(beside.path().join("token")));
        std::fs::write(credentials.path().join("token"), "c").unwrap();
        assert_eq!(found(), Some(credentials.path().join("token")));
        assert_eq!(find("token", Some(OsString::new()), None), None);
    }
}
