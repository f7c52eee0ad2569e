//! Connection strings, URL or `key=value`: takes out what concerns TLS, because the driver knows only half of it
//! (`verify-ca`, `verify-full` and `sslrootcert` it refuses), and parses the rest.

use std::path::PathBuf;
use std::str::FromStr;

use crate::setting::SettingError;

/// How far the connection is encrypted and the server checked; the words are libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server offers it; the server is not checked.
    Prefer,
    /// Encrypted; the server's certificate is checked only if a CA is given.
    Require,
    /// Encrypted; the certificate must come from the CA.
    VerifyCa,
    /// Encrypted; the certificate must come from the CA and bear the host's name.
    VerifyFull,
}

impl FromStr for SslMode {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        Ok(match text {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err(SettingError::new(
                    "sslmode",
                    format!("{text:?}"),
                    "unknown",
                    "write disable, prefer, require, verify-ca or verify-full",
                ));
            }
        })
    }
}

/// A connection string, taken apart.
pub(crate) struct ConnInfo {
    pub(crate) driver: tokio_postgres::Config,
    pub(crate) ssl_mode: Option<SslMode>,
    pub(crate) ssl_root: Option<PathBuf>,
}

impl ConnInfo {
    /// `setting` says where the string came from. The string itself, with its password, is in no error.
    pub(crate) fn parse(text: &str, setting: &str) -> Result<Self, SettingError> {
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if !is_url && text.contains("://") {
            return Err(SettingError::unshown(setting, "no address of PostgreSQL", "begin it with postgresql://"));
        }
        let (rest, taken) = if is_url { take_from_url(text) } else { take_from_pairs(text) }
            .ok_or_else(|| SettingError::unshown(setting, "cannot be parsed", REMEDY))?;
        let mut ssl_mode = None;
        let mut ssl_root = None;
        for (key, value) in taken {
            match key {
                Taken::Mode => ssl_mode = Some(value.parse()?),
                Taken::Root => ssl_root = Some(PathBuf::from(value)),
            }
        }
        let driver = rest.parse().map_err(|error| unparsable(setting, &error))?;
        Ok(Self { driver, ssl_mode, ssl_root })
    }
}

const REMEDY: &str = "write postgresql://USER:PASSWORD@HOST/DATABASE, special characters percent-encoded";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Mode,
    Root,
}

impl Taken {
    fn of(key: &str) -> Option<Self> {
        match key {
            "sslmode" => Some(Self::Mode),
            "sslrootcert" => Some(Self::Root),
            _ => None,
        }
    }
}

type Rest = (String, Vec<(Taken, String)>);

fn take_from_url(text: &str) -> Option<Rest> {
    // The driver looks for the credentials first: a question mark before the `@` belongs to a password.
    let after_credentials = text.find('@').map_or(0, |at| at + 1);
    let Some(mark) = text[after_credentials..].find('?').map(|mark| mark + after_credentials) else {
        return Some((text.to_owned(), Vec::new()));
    };
    let mut kept = Vec::new();
    let mut taken = Vec::new();
    for pair in text[mark + 1..].split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match Taken::of(key) {
            Some(key) => taken.push((key, percent_decoded(value)?)),
            None => kept.push(pair),
        }
    }
    let query = kept.join("&");
    let mark = if query.is_empty() { mark } else { mark + 1 };
    Some((format!("{}{query}", &text[..mark]), taken))
}

fn percent_decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// `key=value` pairs as libpq writes them: blanks around, values in single quotes where needed, backslash escapes.
fn take_from_pairs(text: &str) -> Option<Rest> {
    let mut kept = String::new();
    let mut taken = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after_key) = rest.split_once('=')?;
        let after_key = after_key.trim_start();
        let (value, length) = pair_value(after_key)?;
        match Taken::of(key.trim()) {
            Some(key) => taken.push((key, value)),
            // As written: the driver reads the same quoting.
            None => kept.push_str(&format!("{}={} ", key.trim(), &after_key[..length])),
        }
        rest = after_key[length..].trim_start();
    }
    Some((kept, taken))
}

/// The value at the start of `text`, and how many bytes it takes there.
fn pair_value(text: &str) -> Option<(String, usize)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            '\'' if quoted => return Some((value, at + 1)),
            blank if !quoted && blank.is_whitespace() => return Some((value, at)),
            other => value.push(other),
        }
    }
    if quoted { None } else { Some((value, text.len())) }
}

/// The driver's error names keys, but in a string it misreads a "key" may be half a password: only plain ones are shown.
fn unparsable(setting: &str, error: &tokio_postgres::Error) -> SettingError {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let key = cause.split('`').nth(1).unwrap_or_default();
    let is_plain = !key.is_empty() && key.len() <= 32 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_plain && cause.starts_with("unknown option") {
        return SettingError::unshown(setting, format!("unknown option {key}"), "remove it");
    }
    if is_plain && cause.starts_with("invalid value") {
        return SettingError::unshown(setting, format!("the value of {key} cannot be used"), "correct it");
    }
    SettingError::unshown(setting, "cannot be parsed", REMEDY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::config::Host;

    #[test]
    fn tls_settings_are_taken_out_of_urls_and_pairs() {
        for text in [
            "postgresql://u:p%40w@db.example:6432/shop?sslmode=verify-full&connect_timeout=3&sslrootcert=%2Fetc%2Fmy%20ca.pem",
            "postgres://u:p%40w@db.example:6432/shop?connect_timeout=3&sslrootcert=/etc/my%20ca.pem&sslmode=verify-full",
            "host=db.example port=6432 user = u password='p@w' dbname=shop connect_timeout=3 sslmode=verify-full sslrootcert='/etc/my ca.pem'",
            r"sslmode='verify-full' sslrootcert=/etc/my\ ca.pem user=u password=p@w host=db.example port=6432 dbname=shop connect_timeout=3",
        ] {
            let Ok(info) = ConnInfo::parse(text, "--database-url") else { panic!("{text}") };
            assert_eq!(info.ssl_mode, Some(SslMode::VerifyFull), "{text}");
            assert_eq!(info.ssl_root, Some(PathBuf::from("/etc/my ca.pem")), "{text}");
            assert_eq!(info.driver.get_hosts(), [Host::Tcp("db.example".into())]);
            assert_eq!(info.driver.get_ports(), [6432]);
            assert_eq!((info.driver.get_user(), info.driver.get_password()), (Some("u"), Some(&b"p@w"[..])));
            assert_eq!(info.driver.get_dbname(), Some("shop"));
            assert!(info.driver.get_connect_timeout().is_some());
        }
    }

    #[test]
    fn sockets_and_plain_urls_pass_through() {
        let Ok(info) = ConnInfo::parse("postgresql:///shop?host=/run/postgresql&user=u", "x") else { panic!() };
        assert_eq!(info.driver.get_hosts(), [Host::Unix("/run/postgresql".into())]);
        let Ok(info) = ConnInfo::parse("postgresql://u:a?b@h/shop", "x") else { panic!() };
        assert_eq!(info.driver.get_password(), Some(&b"a?b"[..]));
        let Ok(info) = ConnInfo::parse("postgresql://h/shop?sslmode=disable", "x") else { panic!() };
        assert_eq!((info.driver.get_dbname(), info.ssl_mode), (Some("shop"), Some(SslMode::Disable)));
    }

    #[test]
    fn errors_never_show_the_password() {
        for (text, expected) in [
            ("postgress://u:hunter2@h/db?a=b", "URL: no address of PostgreSQL: begin it with postgresql://"),
            ("postgresql://u:hunter2@h/db?gssencmode=disable", "URL: unknown option gssencmode: remove it"),
            ("postgresql://u:hunter2@h:port/db", "URL: the value of port cannot be used: correct it"),
            (
                "postgresql://u:hunter2@h/db?connect_timeout=soon",
                "URL: the value of connect_timeout cannot be used: correct it",
            ),
            ("host=h hunter2", "URL: cannot be parsed: "),
            ("host=h hunter2=x", "URL: cannot be parsed: "),
            ("host=h password='hunter2", "URL: cannot be parsed: "),
            ("postgresql://u:hunter2@h/db?sslrootcert=%zz", "URL: cannot be parsed: "),
            ("postgresql://u:hunter2@h/db?sslmode=yes", "sslmode = \"yes\": unknown: write disable, prefer, "),
        ] {
            let Err(error) = ConnInfo::parse(text, "URL") else { panic!("{text} was parsed") };
            let error = error.to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
