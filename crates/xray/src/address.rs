//! Where a node's API answers.

use std::fmt;
use std::path::PathBuf;

use http::Uri;

/// The port is part of every address: the API has none of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `http://HOST:PORT`: plaintext, for loopback and private networks.
    Plain(HostPort),
    /// `https://HOST:PORT`: through a TLS inbound in front of the API.
    Tls(HostPort),
    /// `unix:/PATH`.
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// A name or an address, IPv6 without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads an address; the error says what to write.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refused =
            || format!("{text:?} is no address of an API: write http://HOST:PORT, https://HOST:PORT or unix:/PATH");
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///path` is the same, as gRPC writes it.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(refused()) };
        }
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let bare = matches!(uri.path_and_query().map(|rest| rest.as_str()), None | Some("/" | ""));
        let user_given = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let (Some(scheme), Some(host), Some(port), true, false) =
            (uri.scheme_str(), uri.host(), uri.port_u16(), bare, user_given)
        else {
            return Err(refused());
        };
        let place = HostPort { host: host.trim_start_matches('[').trim_end_matches(']').to_owned(), port };
        match scheme {
            "http" => Ok(Self::Plain(place)),
            "https" => Ok(Self::Tls(place)),
            _ => Err(refused()),
        }
    }

    /// What requests name as their target.
    pub(crate) fn origin(&self) -> String {
        match self {
            Self::Plain(place) => format!("http://{place}"),
            Self::Tls(place) => format!("https://{place}"),
            Self::Unix(_) => "http://localhost".to_owned(),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str, port: u16) -> HostPort {
        HostPort { host: host.to_owned(), port }
    }

    #[test]
    fn the_three_kinds_of_address_are_read() {
        let cases = [
            ("http://10.0.0.5:10085", Address::Plain(place("10.0.0.5", 10085)), "http://10.0.0.5:10085"),
            ("http://10.0.0.5:10085/", Address::Plain(place("10.0.0.5", 10085)), "http://10.0.0.5:10085"),
            ("https://a.example:443", Address::Tls(place("a.example", 443)), "https://a.example:443"),
            ("http://[::1]:10085", Address::Plain(place("::1", 10085)), "http://[::1]:10085"),
            ("unix:/run/xray/api.sock", Address::Unix("/run/xray/api.sock".into()), "http://localhost"),
            ("unix:///run/xray/api.sock", Address::Unix("/run/xray/api.sock".into()), "http://localhost"),
        ];
        for (text, expected, origin) in cases {
            let address = Address::parse(text).unwrap();
            assert_eq!(address, expected, "{text}");
            assert_eq!(address.origin(), origin, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "10.0.0.5:10085",
            "http://a",
            "http://",
            "ftp://a:1",
            "unix:",
            "unix:run/x",
            "http://a:1/api",
            "http://u:p@a:1",
            "http://a:1?x",
            "http://a:99999",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
